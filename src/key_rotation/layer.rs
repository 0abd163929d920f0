use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use tower::Layer;

use super::{KeyPool, KeyRotation};
use crate::{
    rejection::Rejection,
    retry::{CloneService, CommonSettings, setters},
};

/// Puts keys on requests, and sends again with another key; see the [module page](super).
///
/// ```
/// use tower_429::key_rotation::{KeyPool, KeyRotationLayer};
///
/// let openai = KeyPool::builder(["sk-one", "sk-two"]).for_origin("https://api.openai.com").build()?;
/// let anthropic = KeyPool::builder(["sk-ant-one"])
///     .header("x-api-key")
///     .for_origin("https://api.anthropic.com")
///     .build()?;
/// let layer = KeyRotationLayer::new(openai).pool(anthropic).max_sends(4);
/// # Ok::<(), tower_429::key_rotation::PoolError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyRotationLayer<X = SendAnyway> {
    pub(super) pools: Arc<[KeyPool]>,
    pub(super) when_exhausted: X,
    pub(super) max_wait: Option<Duration>,
    pub(super) settings: CommonSettings,
}

/// What happens to a call that finds every key on cooldown and does not wait, or not any longer.
#[diagnostic::on_unimplemented(
    message = "`reject_when_exhausted` makes a response, and its body `{R}` has no `Default`",
    label = "the response body has no `Default`",
    note = "put `tower_429::InspectLayer` next to the client: its body has a `Default`"
)]
pub trait WhenExhausted<R>: sealed::Sealed<R> {
    #[doc(hidden)]
    fn answer(&self, rejection: Rejection) -> Option<Response<R>>;
}

/// The request is sent with the key whose cooldown ends first: the default.
///
/// The response is the provider's own, and the layer notices a limit that ended early.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendAnyway;

/// The caller gets a 429 that says when the first cooldown ends, if the provider has said so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reject;

mod sealed {
    pub trait Sealed<R> {}
    impl<R> Sealed<R> for super::SendAnyway {}
    #[diagnostic::do_not_recommend]
    impl<R: Default> Sealed<R> for super::Reject {}
}

// === impl KeyRotationLayer ===

impl KeyRotationLayer {
    /// Returns a layer with one pool. While every key is on cooldown, it sends requests anyway.
    pub fn new(pool: KeyPool) -> Self {
        Self {
            pools: [pool].into(),
            when_exhausted: SendAnyway,
            max_wait: None,
            settings: CommonSettings::default(),
        }
    }
}

impl<X> KeyRotationLayer<X> {
    /// Adds a pool. A pool for named origins takes precedence over one that binds to the first origin.
    #[must_use]
    pub fn pool(mut self, pool: KeyPool) -> Self {
        let pools = self.pools.iter().cloned().chain([pool]);
        let (named, first): (Vec<_>, Vec<_>) = pools.partition(KeyPool::is_for_named_origins);
        self.pools = named.into_iter().chain(first).collect();
        self
    }

    /// Returns a 429 of the layer's own to a call that finds every key on cooldown, and sends nothing.
    ///
    /// By default, such a call is sent with the key whose cooldown ends first. Either way the call waits
    /// before, if [`wait_when_exhausted`](Self::wait_when_exhausted) lets it.
    ///
    /// The response has an empty body and a [`Rejection`] in its extensions. If the provider has said when
    /// the first cooldown ends, the rejection has the exact time and the header `retry-after` has it in
    /// seconds. If the time is a guess of the pool, both are absent, and a
    /// [`BackoffLayer`](crate::BackoffLayer) outside uses its own delays. A retry after such a delay is sent
    /// with a key whose cooldown is a guess, one request per key at a time.
    ///
    /// The type of the response body needs a [`Default`]. The body of hyper's client has none, but the
    /// [`InspectedBody`](crate::inspect::InspectedBody) of [`InspectLayer`](crate::InspectLayer) has one.
    pub fn reject_when_exhausted(self) -> KeyRotationLayer<Reject> {
        KeyRotationLayer {
            pools: self.pools,
            when_exhausted: Reject,
            max_wait: self.max_wait,
            settings: self.settings,
        }
    }

    /// Lets a call that finds no key with capacity wait for one, until `max_wait` has passed.
    ///
    /// `max_wait` begins when the call first looks for a key. Calls are served first come first served, as
    /// many at a time as there is capacity. The pool estimates the capacity from the provider's headers
    /// and from past rejections, so hardly any request is sent only to be rejected.
    ///
    /// A call does not wait if `max_wait` ends before the first key frees, or if only keys are left that are
    /// rejected or whose quota is spent. It waits at most 16 times after a rejection, and after each wait it
    /// is sent at most once with each key.
    ///
    /// A call that does not wait, or not any longer, is sent anyway, or gets a 429 if
    /// [`reject_when_exhausted`](Self::reject_when_exhausted) is set. The order of the two settings does not
    /// matter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_429::{KeyPool, KeyRotationLayer};
    ///
    /// let pool = KeyPool::new(["sk-one", "sk-two"])?;
    /// let layer = KeyRotationLayer::new(pool)
    ///     .wait_when_exhausted(Duration::from_secs(20))
    ///     .reject_when_exhausted();
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    #[must_use]
    pub fn wait_when_exhausted(mut self, max_wait: Duration) -> Self {
        self.max_wait = Some(max_wait);
        self
    }

    setters!(settings);
}

impl<S: CloneService, X: Clone> Layer<S> for KeyRotationLayer<X> {
    type Service = KeyRotation<S, X>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyRotation::new(inner, self.clone())
    }
}

// === impl WhenExhausted ===

impl<R> WhenExhausted<R> for SendAnyway {
    fn answer(&self, _: Rejection) -> Option<Response<R>> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<R: Default> WhenExhausted<R> for Reject {
    fn answer(&self, rejection: Rejection) -> Option<Response<R>> {
        let mut response = Response::new(R::default());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        if let Some(wait) = rejection.retry_after {
            // Whole seconds are all that every client reads; never too few.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(rejection);
        Some(response)
    }
}
