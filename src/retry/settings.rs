//! The settings that all layers have.

use crate::call::{Limits, TokenCounter};

#[derive(Clone, Debug)]
pub(crate) struct CommonSettings {
    pub(crate) replay_limit: u64,
    pub(crate) limits: Limits,
    pub(crate) counter: Option<TokenCounter>,
}

// === impl CommonSettings ===

impl Default for CommonSettings {
    fn default() -> Self {
        Self {
            replay_limit: 2 * 1024 * 1024,
            limits: Limits::default(),
            counter: None,
        }
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
    };
}
pub(crate) use setters;
