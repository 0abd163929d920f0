//! The stacks of this crate.

use std::{error, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_429::{
    BackoffLayer, InspectLayer, KeyPool, KeyRotationLayer,
    key_rotation::{Key, PoolError},
    share::Sharing,
};

use crate::{Error, by_hand, fleet::Fleet, recipes, run::Stack};

pub(crate) type Client = BoxCloneService<Request<Full<Bytes>>, StatusCode, Error>;

/// What the stacks know of the provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Keys, each with the group whose limits it shares.
    pub(crate) keys: &'static [(&'static str, &'static str)],
    /// How the pool chooses a key.
    pub(crate) choice: Choice,
    /// The model that requests go to if the preferred one is limited.
    pub(crate) fallback: Option<&'static str>,
    /// The first delay of the policy by hand without a hint.
    pub(crate) delay: Duration,
    /// The processes that send with the keys.
    pub(crate) fleet: Fleet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The default.
    FillFirst,
    RoundRobin,
    LeastLoaded,
}

/// Builds a stack over a client. Returns its pool too, if it has one.
pub(crate) fn build<S, R>(
    stack: Stack,
    (setup, sharing): (Setup, Option<Sharing>),
    client: S,
) -> Result<(Client, Option<KeyPool>), PoolError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: error::Error + Send + Sync + 'static,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Into<Error> + Send,
{
    let with_pool = |(client, pool)| (client, Some(pool));
    match stack {
        Stack::Ours => ours((setup, sharing), client).map(with_pool),
        Stack::Ordered(order) => order.over((setup, sharing), client).map(with_pool),
        Stack::Backoff => Ok((backoff(setup, client), None)),
        Stack::ServiceRecipe => recipes::service(setup, client).map(with_pool),
        Stack::BatchRecipe => recipes::batch(setup, client).map(with_pool),
        Stack::ByHand => Ok((by_hand::keys(setup, client), None)),
        Stack::ByHandFallback => Ok((by_hand::fallback(setup, client), None)),
    }
}

// === impl Setup ===

impl Setup {
    pub(crate) fn pool(&self, sharing: Option<Sharing>) -> Result<KeyPool, PoolError> {
        let pool = KeyPool::builder(self.keys());
        let pool = self.fleet.configure(pool, sharing);
        match self.choice {
            Choice::FillFirst => pool,
            Choice::RoundRobin => pool.round_robin(),
            Choice::LeastLoaded => pool.least_loaded(),
        }
        .build()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        // A key that shares its limits with no other needs no group.
        self.keys.iter().map(|(key, group)| {
            let with_label = Key::new(*key).label(*key);
            match key == group {
                true => with_label,
                false => with_label.group(*group),
            }
        })
    }
}

/// Longer than any scenario takes.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// Backoff over KeyRotation, which waits, over Inspect.
fn ours<S, R>(
    (setup, sharing): (Setup, Option<Sharing>),
    provider: S,
) -> Result<(Client, KeyPool), PoolError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + Send + Sync + 'static,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Into<Error> + Send,
{
    let pool = setup.pool(sharing)?;
    let rotation = KeyRotationLayer::new(pool.clone())
        .reject_when_exhausted()
        .wait_when_exhausted(MAX_WAIT);
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new().max_wait(MAX_WAIT).deadline(MAX_WAIT))
        .layer(rotation)
        .layer(InspectLayer::new())
        .service(provider);
    Ok((boxed(client), pool))
}

/// Backoff alone with its default settings, over a client that puts the first key on each request.
fn backoff<S, R>(setup: Setup, provider: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Error>,
{
    let client = ServiceBuilder::new()
        .map_request(with_first_key(setup))
        .layer(BackoffLayer::new())
        .service(provider);
    boxed(client)
}

/// Puts the first key on each request, as a caller with one key does.
pub(crate) fn with_first_key<B>(
    setup: Setup,
) -> impl Fn(Request<B>) -> Request<B> + Clone + Send + 'static {
    let key = setup.keys.first().map_or("", |(key, _)| *key);
    move |mut request| {
        put(&mut request, key);
        request
    }
}

pub(crate) fn put<B>(request: &mut Request<B>, key: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {key}")) {
        request.headers_mut().insert("authorization", value);
    }
}

/// Reads each response to its end, because its connection is lost otherwise.
pub(crate) fn boxed<S, R>(client: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Error>,
{
    let read = |response: Response<R>| async {
        let (head, body) = response.into_parts();
        body.collect().await.map_err(Into::into)?;
        Ok(head.status)
    };
    BoxCloneService::new(client.map_err(Into::into).and_then(read))
}
