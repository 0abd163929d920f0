use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tower::{Layer, retry::budget::Budget};

use super::{
    AsError, Backoff, Delays, Exponential, IfError, IfUnavailable, NoErrors, ResponseHead,
    limits::{CredentialLimits, LimitIds},
};
use crate::{
    jitter::Jitter,
    quota::Scheduler,
    rejection::Reason,
    retry::{CloneService, CommonSettings, OfKind, RetryOn, setters},
};

/// Waits and sends again; see the [module page](super).
///
/// | setting | default |
/// |---|---|
/// | [`attempts`](Self::attempts) | 5 |
/// | [`delays`](Self::delays) | [`Exponential`]: 1 s doubling, at most 60 s |
/// | [`jitter`](Self::jitter) | 10 % of the hint, at least 250 ms |
/// | [`max_wait`](Self::max_wait) | 60 s |
/// | [`on`](Self::on) | rate limited, overloaded |
/// | [`replay_limit`](Self::replay_limit) | 2 MiB |
/// | [`independent`](Self::independent) | no: calls that share a limit wait in line |
/// | deadline, sends, budget, other responses, errors | none |
///
/// ```
/// use std::time::Duration;
/// use tower_429::{BackoffLayer, rejection::Reason};
///
/// let layer = BackoffLayer::new()
///     .attempts(3)
///     .max_wait(Duration::from_secs(10))
///     .on([Reason::RateLimited])
///     .on_status(|status| status == 502)
///     .retry_if(|response| response.headers.contains_key("x-try-again"))
///     .on_error(|error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused);
/// ```
#[derive(Clone)]
pub struct BackoffLayer<D = Exponential, P = NoErrors> {
    pub(super) delays: D,
    pub(super) retry_on: RetryOn<P>,
    pub(super) options: Options,
}

/// The settings that do not depend on a type parameter.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) attempts: u32,
    pub(super) jitter: Jitter,
    pub(super) max_wait: Duration,
    pub(super) budget: Option<Arc<dyn Budget + Send + Sync>>,
    /// Counts up with every call, over all clones of the layer.
    seeds: Arc<AtomicU64>,
    pub(super) settings: CommonSettings,
    is_independent: bool,
    /// Shared by all clones of the layer.
    pub(super) limits: Scheduler<CredentialLimits>,
    pub(super) ids: LimitIds,
    inner: InnerLayers,
}

/// Whether a layer inside this one decides which sends are made. It is known after the first response.
#[derive(Default)]
struct InnerLayers(AtomicBool);

// === impl BackoffLayer ===

impl BackoffLayer {
    /// Returns a layer with the defaults.
    pub fn new() -> Self {
        Self {
            delays: Exponential::new(),
            retry_on: RetryOn::reasons([Reason::RateLimited, Reason::Overloaded]),
            options: Options::new(),
        }
    }
}

impl Default for BackoffLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<D, P> BackoffLayer<D, P> {
    /// Sets the most attempts of this layer for one call, the first included; 0 means 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts;
        self
    }

    /// Sets the longest single wait, without jitter. It also bounds the waits
    /// [in line](super#calls-that-share-a-limit).
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.options.max_wait = max_wait;
        self
    }

    /// Sets the jitter on a hint: up to `percent` of it, or up to `at_least` if that is more.
    ///
    /// The jitter is never below 20 ms, unless its maximum is.
    #[must_use]
    pub fn jitter(mut self, percent: u32, at_least: Duration) -> Self {
        self.options.jitter = Jitter { percent, at_least };
        self
    }

    /// Makes all waits the same from run to run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seeds = Arc::new(AtomicU64::new(seed));
        self.options.limits = Scheduler::new(CredentialLimits::new(seed));
        self
    }

    /// Switches the line off: each call is sent at once, and waits only after a rejection of its own.
    ///
    /// By default, the calls of a layer and its clones that share a limit wait in line; see the
    /// [module page](super#calls-that-share-a-limit).
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, Response};
    /// use tokio::time::timeout;
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_429::{BackoffLayer, Call};
    ///
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # runtime.enable_time().start_paused(true).build()?.block_on(async {
    /// let limited = service_fn(|_: Request<String>| async {
    ///     Response::builder().status(429).header("retry-after", "5").body(String::new())
    /// });
    /// let client = BackoffLayer::new().independent().layer(limited);
    /// for _ in 0..2 {
    ///     let call = Call::new();
    ///     let request = Request::get("https://api.example/").extension(call.clone());
    ///     let request = request.body(String::new())?;
    ///     assert!(timeout(Duration::from_secs(1), client.clone().oneshot(request)).await.is_err());
    ///     assert_eq!(call.trail().attempts().len(), 1, "it was sent at once");
    /// }
    /// # Ok::<(), http::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn independent(mut self) -> Self {
        self.options.is_independent = true;
        self
    }

    /// Sets the reasons after which the layer waits, in place of the default ones.
    #[must_use]
    pub fn on(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.retry_on.reasons = reasons.into_iter().collect();
        self
    }

    /// Also waits after these statuses. Such a request may have been processed.
    #[must_use]
    pub fn on_status(self, status: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.retry_if(move |response| status(response.status))
    }

    /// Also waits after these responses. Such a request may have been processed.
    ///
    /// A response counts if any of the closures given here or to [`on_status`](Self::on_status) returns
    /// `true`. Each is called at most once for a response, and may capture what it needs:
    ///
    /// ```
    /// use http::{HeaderName, Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_429::{BackoffLayer, trail::Trail};
    ///
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # runtime.enable_time().start_paused(true).build()?.block_on(async {
    /// let header: HeaderName = "x-job-pending".parse()?;
    /// let layer = BackoffLayer::new()
    ///     .attempts(3)
    ///     .retry_if(move |response| response.headers.contains_key(&header));
    /// let provider = service_fn(|_: Request<String>| async {
    ///     Response::builder().header("x-job-pending", "1").body(String::new())
    /// });
    /// let response = layer.layer(provider).oneshot(Request::default()).await?;
    /// let trail = response.extensions().get::<Trail>().ok_or("no trail")?;
    /// assert_eq!(trail.attempts().len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn retry_if(
        mut self,
        response: impl Fn(ResponseHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.retry_on.add_response(response);
        self
    }

    /// Withdraws from a budget before each retry, and deposits for each success.
    ///
    /// A call that is dropped while it waits does not return its withdrawal. [`tower::retry`] does not
    /// either, because a budget cannot take it back.
    #[must_use]
    pub fn budget(mut self, budget: Arc<dyn Budget + Send + Sync>) -> Self {
        self.options.budget = Some(budget);
        self
    }

    setters!(options.settings);

    /// Sets the waits for rejections without a hint.
    ///
    /// ```
    /// use std::{iter, time::Duration};
    /// use tower_429::backoff::{BackoffLayer, DecorrelatedJitter};
    ///
    /// let random = BackoffLayer::new().delays(DecorrelatedJitter::new());
    /// let equal = BackoffLayer::new().delays(|_seed| iter::repeat(Duration::from_secs(2)));
    /// let linear = BackoffLayer::new().delays(|_seed| (1..=4).map(Duration::from_secs));
    /// ```
    pub fn delays<N: Delays>(self, delays: N) -> BackoffLayer<N, P> {
        BackoffLayer {
            delays,
            retry_on: self.retry_on,
            options: self.options,
        }
    }

    /// Also waits after these errors of the inner service. Such a request may have been processed.
    ///
    /// The log and the [trail](crate::trail::Attempt::error) then describe the error.
    pub fn on_error<F, E, K>(self, error: F) -> BackoffLayer<D, IfError<F, E>>
    where
        F: Fn(&E) -> bool,
        E: AsError<K>,
        P: OfKind<K>,
    {
        BackoffLayer {
            delays: self.delays,
            retry_on: self.retry_on.on_error(error),
            options: self.options,
        }
    }
}

impl<D> BackoffLayer<D> {
    /// Also waits while the provider is down: after the statuses 500, 502, 503, 504 and 408, and after errors
    /// that show that no connection was made.
    ///
    /// A request with one of these statuses may have been processed, and then it is paid for twice. An error
    /// counts only if nothing was sent. So a connection that was reset and a timeout do not count: name them
    /// in [`on_error`](Self::on_error), which can be set too, in any order.
    ///
    /// | what failed | hyper-util's client | reqwest (feature `reqwest`) |
    /// |---|---|---|
    /// | the port refused the connection | yes | yes |
    /// | no local port is free | yes | yes |
    /// | the look-up of the name, the route to the host, TLS, the timeout of `connect` | by `on_error` | yes |
    ///
    /// The layers do not know hyper-util's error type. Its `is_connect` covers the last row:
    ///
    /// ```
    /// use hyper_util::client::legacy::Error;
    /// use tower_429::BackoffLayer;
    ///
    /// let layer = BackoffLayer::new().on_unavailable().on_error(|error: &Error| error.is_connect());
    /// ```
    ///
    /// The layer waits for its own delays if the provider sends no hint, and makes at most
    /// [`attempts`](Self::attempts) attempts:
    ///
    /// ```
    /// use std::io;
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_429::{BackoffLayer, Call};
    ///
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # runtime.enable_time().start_paused(true).build()?.block_on(async {
    /// let down = service_fn(|_: Request<String>| async {
    ///     Err::<Response<String>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
    /// });
    /// let client = BackoffLayer::new().attempts(3).on_unavailable().layer(down);
    /// let call = Call::new();
    /// let request = Request::get("https://api.example/").extension(call.clone());
    /// assert!(client.oneshot(request.body(String::new())?).await.is_err());
    /// assert_eq!(call.trail().attempts().len(), 3);
    /// # Ok::<(), http::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_unavailable<K>(self) -> BackoffLayer<D, IfUnavailable<K>> {
        BackoffLayer {
            delays: self.delays,
            retry_on: self.retry_on.on_unavailable(),
            options: self.options,
        }
    }
}

impl<D, F, E> BackoffLayer<D, IfError<F, E>> {
    /// Also waits while the provider is down, as [`on_unavailable`](BackoffLayer::on_unavailable) of a layer
    /// without [`on_error`](Self::on_error) does.
    #[must_use]
    pub fn on_unavailable(mut self) -> Self {
        self.retry_on = self.retry_on.and_unavailable();
        self
    }
}

impl<S: CloneService, D: Clone, P: Clone> Layer<S> for BackoffLayer<D, P> {
    type Service = Backoff<S, D, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Backoff::new(inner, self.clone())
    }
}

impl<D: fmt::Debug, P: fmt::Debug> fmt::Debug for BackoffLayer<D, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options {
            attempts,
            jitter,
            max_wait,
            budget,
            settings,
            is_independent,
            seeds: _,
            limits: _,
            ids: _,
            inner: _,
        } = &self.options;
        f.debug_struct("BackoffLayer")
            .field("attempts", attempts)
            .field("delays", &self.delays)
            .field("jitter", jitter)
            .field("max_wait", max_wait)
            .field("retry_on", &self.retry_on)
            .field("budget", &budget.is_some())
            .field("settings", settings)
            .field("is_independent", is_independent)
            .finish_non_exhaustive()
    }
}

// === impl Options ===

impl Options {
    fn new() -> Self {
        let seed = fastrand::u64(..);
        Self {
            attempts: 5,
            jitter: Jitter::DEFAULT,
            max_wait: Duration::from_secs(60),
            budget: None,
            seeds: Arc::new(AtomicU64::new(seed)),
            settings: CommonSettings::default(),
            is_independent: false,
            limits: Scheduler::new(CredentialLimits::new(seed)),
            ids: LimitIds::default(),
            inner: InnerLayers::default(),
        }
    }

    /// Whether calls wait for each other. They do not if there is another layer, because that one decides
    /// better when to send with which key, and to which target.
    pub(super) fn shares_limits(&self, is_outermost: bool) -> bool {
        is_outermost && !self.is_independent && !self.inner.decide()
    }

    pub(super) fn note_inner_layer(&self, decides: bool) {
        self.inner.note(decides);
    }

    pub(super) fn next_seed(&self) -> u64 {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }
}

// === impl InnerLayers ===

impl InnerLayers {
    fn decide(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, decides: bool) {
        if self.decide() != decides {
            self.0.store(decides, Ordering::Relaxed);
        }
    }
}

impl Clone for InnerLayers {
    /// A clone of the layer may be put around another service.
    fn clone(&self) -> Self {
        Self::default()
    }
}
