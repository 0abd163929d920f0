//! The settings that all layers have.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    call::{Attempt, CallState, Limits, SendId, TokenCounter},
    clock,
    rejection::Provider,
    telemetry,
};

#[derive(Clone, Debug)]
pub(crate) struct CommonSettings {
    pub(crate) replay_limit: u64,
    pub(crate) limits: Limits,
    pub(crate) counter: Option<TokenCounter>,
    pub(crate) on_attempt: Option<OnAttempt>,
    /// Shared by all clones of the layer.
    pub(super) once: Arc<Once>,
}

/// What a layer does once, and not for each call.
#[derive(Debug, Default)]
pub(super) struct Once {
    has_required_timer: AtomicBool,
    has_warned_of_unread_body: AtomicBool,
}

/// Called after the decision about each attempt of a layer.
#[derive(Clone)]
pub(crate) struct OnAttempt(pub(crate) Arc<dyn Fn(&Attempt) + Send + Sync>);

// === impl CommonSettings ===

impl Default for CommonSettings {
    fn default() -> Self {
        Self {
            replay_limit: 2 * 1024 * 1024,
            limits: Limits::default(),
            counter: None,
            on_attempt: None,
            once: Arc::default(),
        }
    }
}

impl CommonSettings {
    /// Passes a copy of the attempt to the closure, because the closure may read the call.
    pub(super) fn on_attempt(&self, call: &CallState, entry: SendId) {
        let Some(OnAttempt(on_attempt)) = &self.on_attempt else {
            return;
        };
        if let Some(attempt) = call.of_entry(entry, Attempt::clone) {
            on_attempt(&attempt);
        }
    }
}

// === impl Once ===

impl Once {
    /// Panics at the first call if there is no timer, and not at the first rejection.
    pub(super) fn require_timer(&self) {
        if is_first(&self.has_required_timer) {
            clock::require_timer();
        }
    }

    /// Warns that the layers need what is in the body of a 429, and nothing has read it.
    pub(super) fn warn_of_unread_body(&self, provider: Provider) {
        if is_first(&self.has_warned_of_unread_body) {
            telemetry::unread_body(provider);
        }
    }
}

/// Sets a flag, and returns whether it was not set before.
fn is_first(flag: &AtomicBool) -> bool {
    !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed)
}

// === impl OnAttempt ===

impl fmt::Debug for OnAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnAttempt").finish_non_exhaustive()
    }
}

/// The setters of all layers. The argument is the path to the layer's [`CommonSettings`].
macro_rules! setters {
    ($($settings:ident).+) => {
        /// Sets the time from the start of a call after which the whole stack sends nothing again.
        ///
        /// The shortest deadline of the stack holds. A request can replace it by
        /// [`Call::deadline`](crate::Call::deadline), whose page says what a deadline does not cancel.
        #[must_use]
        pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
            self.$($settings).+.limits.deadline = Some(deadline);
            self
        }

        /// Sets the most sends that the whole stack may make for one call; 0 means 1.
        ///
        /// The smallest number in the stack holds. A request can replace it by
        /// [`Call::max_sends`](crate::Call::max_sends).
        #[must_use]
        pub fn max_sends(mut self, max_sends: u32) -> Self {
            self.$($settings).+.limits.max_sends = Some(max_sends);
            self
        }

        /// Sets the largest body that is kept to be sent again, in bytes; 2 MiB unless set.
        ///
        /// A larger body is sent once, even if it is already in memory. Stacked layers share one
        /// recording, and the largest limit of the stack holds.
        #[must_use]
        pub fn replay_limit(mut self, bytes: u64) -> Self {
            self.$($settings).+.replay_limit = bytes;
            self
        }

        /// Counts the tokens of requests with a closure, such as a tokenizer.
        ///
        /// It is called at most once for a call, and only if the tokens of the request matter because the
        /// provider limits them. It is not called if the request has a [`Call::cost`](crate::Call::cost), or if
        /// its body streams. If it returns `None`, the next inner layer's closure is called, and without one
        /// the layers [estimate](crate::Cost) the cost.
        ///
        /// The closure runs while the request is sent, so it delays all tasks of its thread. It must not
        /// block.
        ///
        /// ```
        /// use tower_429::{BackoffLayer, Cost};
        ///
        /// # fn tokenize(body: &[u8]) -> Option<Vec<u32>> {
        /// #     body.is_ascii().then(Vec::new)
        /// # }
        /// let layer = BackoffLayer::new().cost(|request| match request.uri.path() {
        ///     "/v1/embeddings" => Some(Cost::new(tokenize(request.body)?.len() as u64, 0)),
        ///     _ => None,
        /// });
        /// ```
        #[must_use]
        pub fn cost(
            mut self,
            count: impl Fn(crate::CostRequest<'_>) -> Option<crate::Cost> + Send + Sync + 'static,
        ) -> Self {
            self.$($settings).+.counter = Some(crate::call::TokenCounter::new(count));
            self
        }

        /// Calls a closure after each attempt of this layer, once the layer has decided about it.
        ///
        /// The attempt has the labels of key, model and target, the status or the error, and the rejection.
        /// The last of its [`steps`](crate::trail::Attempt::steps) is the decision of this layer, with the
        /// wait. A layer that does not act on the outcome adds no step.
        ///
        /// If another layer is inside, its attempts are this layer's too when they are passed on. An attempt
        /// that is dropped in flight is not reported. A second closure replaces the first.
        ///
        /// ```
        /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
        /// use http::{Request, Response};
        /// use tower::{Layer, ServiceExt, service_fn};
        /// use tower_429::{BackoffLayer, rejection::Reason};
        ///
        /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
        /// # runtime.enable_time().start_paused(true).build()?.block_on(async {
        /// let limited = Arc::new(AtomicUsize::new(0));
        /// let count = limited.clone();
        /// let layer = BackoffLayer::new().attempts(3).on_attempt(move |attempt| {
        ///     let reason = attempt.rejection.as_ref().map(|rejection| rejection.reason);
        ///     if reason == Some(Reason::RateLimited) {
        ///         count.fetch_add(1, Ordering::Relaxed);
        ///     }
        /// });
        /// let provider = service_fn(|_: Request<String>| async {
        ///     Response::builder().status(429).body(String::new())
        /// });
        /// layer.layer(provider).oneshot(Request::default()).await?;
        /// assert_eq!(limited.load(Ordering::Relaxed), 3);
        /// # Ok::<(), http::Error>(())
        /// # })?;
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Panics
        ///
        /// The layer does not catch a panic of the closure: the future of the call panics.
        #[must_use]
        pub fn on_attempt(
            mut self,
            attempt: impl Fn(&crate::trail::Attempt) + Send + Sync + 'static,
        ) -> Self {
            let attempt = crate::retry::OnAttempt(std::sync::Arc::new(attempt));
            self.$($settings).+.on_attempt = Some(attempt);
            self
        }
    };
}
pub(crate) use setters;
