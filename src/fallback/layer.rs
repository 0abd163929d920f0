use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tower::Layer;

use super::{
    AsError, Fallback, IfError, IfUnavailable, NoErrors, ResponseHead, Target, targets::Targets,
};
#[cfg(feature = "share")]
use crate::{fallback::targets::TargetSharing, share::Sharing, telemetry};
use crate::{
    quota::{Replicas, Scheduler, timing::LONGEST_GUESS},
    rejection::Reason,
    retry::{CloneService, CommonSettings, OfKind, RetryOn, setters},
};

/// Sends a rejected request to another model or another origin; see the [module page](super).
///
/// | setting | default |
/// |---|---|
/// | [`on`](Self::on) | rate limited, quota exhausted, overloaded |
/// | [`cooldown`](Self::cooldown) | 1 s, doubling to 60 s |
/// | [`replay_limit`](Self::replay_limit) | 2 MiB |
/// | deadline, sends, other responses, errors | none |
///
/// ```
/// use tower_429::fallback::{FallbackLayer, Target};
///
/// let layer = FallbackLayer::new(["gpt-4o-mini", "gpt-4.1-nano"]);
/// let across = FallbackLayer::new([
///     Target::model("gpt-4o-mini"),
///     Target::model("gemini-2.5-flash")
///         .at("https://generativelanguage.googleapis.com/v1beta/openai")?
///         .strip_prefix("/v1"),
/// ]);
/// # Ok::<(), tower_429::fallback::TargetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FallbackLayer<P = NoErrors> {
    pub(super) targets: Arc<[Target]>,
    pub(super) scheduler: Scheduler<Targets>,
    pub(super) retry_on: RetryOn<P>,
    pub(super) longest_guess: Duration,
    pub(super) max_wait: Option<Duration>,
    pub(super) settings: CommonSettings,
}

// === impl FallbackLayer ===

impl FallbackLayer {
    /// Returns a layer that falls back to these targets, in this order. A repeated target counts once.
    pub fn new<T: Into<Target>>(targets: impl IntoIterator<Item = T>) -> Self {
        let mut distinct: Vec<Target> = Vec::new();
        for target in targets.into_iter().map(Into::into) {
            if !distinct.contains(&target) {
                distinct.push(target);
            }
        }
        Self {
            targets: distinct.into(),
            scheduler: Scheduler::new(Targets::default()),
            retry_on: RetryOn::reasons([
                Reason::RateLimited,
                Reason::QuotaExhausted,
                Reason::Overloaded,
            ]),
            longest_guess: LONGEST_GUESS,
            max_wait: None,
            settings: CommonSettings::default(),
        }
    }
}

impl<P> FallbackLayer<P> {
    /// Sets the reasons after which the layer sends to the next target, in place of the default ones.
    #[must_use]
    pub fn on(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.retry_on.reasons = reasons.into_iter().collect();
        self
    }

    /// Also sends to the next target after these statuses. Such a request may have been processed.
    #[must_use]
    pub fn on_status(self, status: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.retry_if(move |response| status(response.status))
    }

    /// Also sends to the next target after these responses. Such a request may have been processed.
    ///
    /// A response counts if any of the closures given here or to [`on_status`](Self::on_status) returns
    /// `true`. Each is called at most once for a response, and may capture what it needs.
    #[must_use]
    pub fn retry_if(
        mut self,
        response: impl Fn(ResponseHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.retry_on.add_response(response);
        self
    }

    /// Also sends to the next target after these errors of the inner service. Such a request may have been
    /// processed.
    ///
    /// The log and the [trail](crate::trail::Attempt::error) then describe the error.
    pub fn on_error<F, E, K>(self, error: F) -> FallbackLayer<IfError<F, E>>
    where
        F: Fn(&E) -> bool,
        E: AsError<K>,
        P: OfKind<K>,
    {
        FallbackLayer {
            targets: self.targets,
            scheduler: self.scheduler,
            retry_on: self.retry_on.on_error(error),
            longest_guess: self.longest_guess,
            max_wait: self.max_wait,
            settings: self.settings,
        }
    }

    /// Sets the longest guess; 60 s unless set. A guess is the cooldown of a limited target if the provider
    /// gives no hint and the length of the window is not known.
    ///
    /// The first guess is 1 s. It doubles up to `cooldown` while the requests that are sent after its end are
    /// rejected, and starts again at 1 s after a success. After an overload it is a third of the time that
    /// the overload has lasted, at least 1 s and at most `cooldown`. A `cooldown` below 1 s shortens the first
    /// guess too, but not after an overload; a value below 500 ms counts as 500 ms.
    ///
    /// Once the length of the window is known, the cooldown ends with the window, even if that is later than
    /// `cooldown` allows. The layer probes an exhausted quota and a daily limit after an hour, whatever is
    /// set here.
    #[must_use]
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.longest_guess = cooldown;
        self
    }

    /// Lets a call that finds every target limited wait for the first that frees, until `max_wait` has
    /// passed.
    ///
    /// `max_wait` begins when the call first looks for a target. A call that does not wait, or has waited for
    /// as long as it may, is sent anyway, to the target that frees first.
    ///
    /// A call does not wait if the quota of every target is spent, because time alone does not end that.
    /// It waits at most 16 times after a rejection, and after each wait it is sent at most once to each
    /// target.
    #[must_use]
    pub fn wait_when_exhausted(mut self, max_wait: Duration) -> Self {
        self.max_wait = Some(max_wait);
        self
    }

    /// Sets how many processes send to these targets, this one included; the default is one. Zero counts as one.
    ///
    /// Each process takes its part of what a target reports to be left, in requests and in tokens, and at least
    /// one request. [`KeyPoolBuilder::replicas`](crate::key_rotation::KeyPoolBuilder::replicas) says more. Set it
    /// before the layer is used, because it discards what is known of the targets.
    ///
    /// ```
    /// use tower_429::FallbackLayer;
    ///
    /// // Four workers of a deployment share the account.
    /// let layer = FallbackLayer::new(["gpt-4o-mini"]).replicas(4);
    /// ```
    #[must_use]
    pub fn replicas(mut self, processes: u32) -> Self {
        let targets = self.scheduler.with(|inner| inner.candidates.unused());
        self.scheduler = targets.among(Replicas::new(processes)).into_scheduler();
        self
    }

    /// Shares with other processes what is known of the targets; see [`share`](crate::share).
    ///
    /// A target that one process has found limited is not used by the others. Each process takes its part of what
    /// is left, by how many live. [`replicas`](Self::replicas) counts while the engine is away. A target is shared
    /// from its first request on, if its origin is known. Set the [`cooldown`](Self::cooldown) before, and set
    /// both before the layer is used: it forgets what is known of the targets. Layers of one process with a target in
    /// common need [scopes](Sharing::scoped) of their own.
    ///
    /// ```
    /// use tower_429::{FallbackLayer, share::{InMemory, Name, share}};
    ///
    /// let (share, _driver) = share(InMemory::new(), Name::new("prod"));
    /// let layer = FallbackLayer::new(["gpt-4o-mini"]).shared(share);
    /// ```
    #[cfg(feature = "share")]
    #[must_use]
    pub fn shared(mut self, share: Sharing) -> Self {
        share.observe(telemetry::share);
        let sharing = TargetSharing::new(share, &self.targets, self.longest_guess);
        let targets = self.scheduler.with(|inner| inner.candidates.unused());
        self.scheduler = targets.shared(sharing).into_scheduler();
        self
    }

    setters!(settings);
}

impl FallbackLayer {
    /// Also sends to the next target while the provider is down: after the statuses 500, 502, 503, 504 and
    /// 408, and after errors that show that no connection was made.
    ///
    /// [`BackoffLayer::on_unavailable`](crate::BackoffLayer::on_unavailable) says which errors these are. A
    /// request with one of these statuses may have been processed, and then it is paid for twice. So a
    /// connection that was reset and a timeout do not count: name them in [`on_error`](Self::on_error), which
    /// can be set too, in any order.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_429::fallback::{FallbackLayer, Target};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let provider = service_fn(|request: Request<String>| async move {
    ///     let is_down = request.uri().host() == Some("api.example");
    ///     Response::builder().status(if is_down { 502 } else { 200 }).body(String::new())
    /// });
    /// let target = Target::same_model_at("https://eu.api.example")?;
    /// let client = FallbackLayer::new([target]).on_unavailable().layer(provider);
    /// let request = Request::get("https://api.example/v1/models").body(String::new())?;
    /// assert_eq!(client.oneshot(request).await?.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_unavailable<K>(self) -> FallbackLayer<IfUnavailable<K>> {
        FallbackLayer {
            targets: self.targets,
            scheduler: self.scheduler,
            retry_on: self.retry_on.on_unavailable(),
            longest_guess: self.longest_guess,
            max_wait: self.max_wait,
            settings: self.settings,
        }
    }
}

impl<F, E> FallbackLayer<IfError<F, E>> {
    /// Also sends to the next target while the provider is down, as
    /// [`on_unavailable`](FallbackLayer::on_unavailable) of a layer without [`on_error`](Self::on_error) does.
    #[must_use]
    pub fn on_unavailable(mut self) -> Self {
        self.retry_on = self.retry_on.and_unavailable();
        self
    }
}

impl<S: CloneService, P: Clone> Layer<S> for FallbackLayer<P> {
    type Service = Fallback<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, self.clone())
    }
}
