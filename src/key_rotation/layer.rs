use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use tower::Layer;

use super::{KeyPool, KeyRotation, decision::KeyRotationStrategy};
use crate::{
    rejection::Rejection,
    retry::{Config, Settings, setters},
    trail::LayerKind,
};

/// Puts keys on requests, and asks again with another one; see the [module page](super).
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
    pub(super) settings: Settings,
}

/// What happens to a call that finds every key cooling.
pub trait WhenExhausted<R>: sealed::Sealed<R> {
    #[doc(hidden)]
    fn answer(&self, rejection: Rejection) -> Option<Response<R>>;

    /// How long to wait for a key; `None` for not at all.
    #[doc(hidden)]
    fn max_wait(&self) -> Option<Duration> {
        None
    }
}

/// The request is sent with the key that frees first: the default.
///
/// The answer is the provider's own, and a limit that ended early is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendAnyway;

/// The call is answered at once with a 429 that says when the first key frees, if the provider has
/// said so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reject;

/// The call waits for a key, first come first served, and goes on as `X` says when its max_wait ends
/// or does not reach to when the first key frees.
#[derive(Clone, Copy, Debug)]
pub struct Queue<X = SendAnyway> {
    max_wait: Duration,
    then: X,
}

mod sealed {
    pub trait Sealed<R> {}
    impl<R, X: Sealed<R>> Sealed<R> for super::Queue<X> {}
    impl<R> Sealed<R> for super::SendAnyway {}
    impl<R: Default> Sealed<R> for super::Reject {}
}

// === impl KeyRotationLayer ===

impl KeyRotationLayer {
    /// A layer with the keys of one pool, that tries anyway when all of them cool.
    pub fn new(pool: KeyPool) -> Self {
        Self {
            pools: [pool].into(),
            when_exhausted: SendAnyway,
            settings: Settings::default(),
        }
    }
}

impl<X> KeyRotationLayer<X> {
    /// Adds a pool. A pool for a named origin goes before one that serves the first that comes.
    #[must_use]
    pub fn pool(mut self, pool: KeyPool) -> Self {
        let pools = self.pools.iter().cloned().chain([pool]);
        let (named, first): (Vec<_>, Vec<_>) = pools.partition(KeyPool::is_for_named_origins);
        self.pools = named.into_iter().chain(first).collect();
        self
    }

    /// Answers a call that finds every key cooling with a 429 of its own and sends nothing.
    ///
    /// It has an empty body and a [`Rejection`] in its extensions. If the provider has said when the first
    /// key frees, the rejection has the exact time and the header `retry-after` has it in seconds. If that
    /// is a guess of the pool, both are absent, and a [`BackoffLayer`](crate::BackoffLayer) outside uses
    /// its own delays. A retry after such a delay is sent with a key that cools by a guess, one request
    /// for each key at a time.
    ///
    /// The type of the response body needs a [`Default`]. The body of hyper's client has
    /// none, but the [`InspectedBody`](crate::inspect::InspectedBody) that
    /// [`InspectLayer`](crate::InspectLayer) puts around it has one.
    pub fn reject_when_exhausted(self) -> KeyRotationLayer<Reject> {
        KeyRotationLayer {
            pools: self.pools,
            when_exhausted: Reject,
            settings: self.settings,
        }
    }

    /// Lets a call that finds no key with room wait for one until `max_wait` is over, which begins when
    /// the call first looks for a key.
    ///
    /// Who came first is served first, and as many are served as there is room for, by what the
    /// provider says is left and by what its rejections have taught; so hardly any request is sent to be
    /// refused. A call whose max_wait does not reach to when the first key frees does not wait, nor does
    /// one if only keys are left that are rejected or whose quota is spent. A call waits at most 16 times
    /// after it was refused, and after each wait it is sent at most once with each key. What
    /// becomes of it, or of one whose max_wait has ended, was said before: it is tried anyway, or after
    /// [`reject_when_exhausted`](KeyRotationLayer::reject_when_exhausted) answered without a send.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_429::{KeyPool, KeyRotationLayer};
    ///
    /// let pool = KeyPool::new(["sk-one", "sk-two"])?;
    /// let layer = KeyRotationLayer::new(pool)
    ///     .reject_when_exhausted()
    ///     .wait_when_exhausted(Duration::from_secs(20));
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    pub fn wait_when_exhausted(self, max_wait: Duration) -> KeyRotationLayer<Queue<X>> {
        KeyRotationLayer {
            pools: self.pools,
            when_exhausted: Queue {
                max_wait,
                then: self.when_exhausted,
            },
            settings: self.settings,
        }
    }

    setters!(settings);
}

impl<S, X: Clone> Layer<S> for KeyRotationLayer<X> {
    type Service = KeyRotation<S, X>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyRotation::new(inner, self.clone())
    }
}

impl<X> Config for KeyRotationLayer<X> {
    const LAYER: LayerKind = LayerKind::KeyRotation;
    type Strategy = KeyRotationStrategy<X>;

    fn strategy(config: Arc<Self>) -> Self::Strategy {
        KeyRotationStrategy::new(config)
    }

    fn settings(&self) -> Settings {
        self.settings
    }
}

// === impl WhenExhausted ===

impl<R> WhenExhausted<R> for SendAnyway {
    fn answer(&self, _: Rejection) -> Option<Response<R>> {
        None
    }
}

impl<R, X: WhenExhausted<R>> WhenExhausted<R> for Queue<X> {
    fn answer(&self, rejection: Rejection) -> Option<Response<R>> {
        self.then.answer(rejection)
    }

    fn max_wait(&self) -> Option<Duration> {
        Some(self.max_wait)
    }
}

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
