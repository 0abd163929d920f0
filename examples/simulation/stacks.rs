//! The stack of this crate, and what a competent user would write with `tower::retry` instead.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Service, ServiceBuilder, ServiceExt, retry, util::BoxCloneService};
use tower_429::{
    BackoffLayer, InspectLayer, KeyPool, KeyRotationLayer,
    key_rotation::{Key, PoolError},
};

use crate::{Error, provider::now, run::Stack};

pub(crate) type Client = BoxCloneService<Request<Full<Bytes>>, StatusCode, Error>;

/// What the stacks are told of the provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Keys, each with the group whose limits it shares.
    pub(crate) keys: &'static [(&'static str, &'static str)],
    /// The model that is asked where the preferred one is limited.
    pub(crate) fallback: Option<&'static str>,
    /// What stands for a minute.
    pub(crate) minute: Duration,
    /// The first delay of the policy by hand where there is no hint.
    pub(crate) delay: Duration,
}

/// A stack over a client, and its pool if it has one.
pub(crate) fn build<S, R>(
    stack: Stack,
    setup: Setup,
    client: S,
) -> Result<(Client, Option<KeyPool>), PoolError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + Send + Sync + 'static,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Into<Error> + Send,
{
    let with_pool = |(client, pool)| (client, Some(pool));
    match stack {
        Stack::Ours => ours(setup, client).map(with_pool),
        Stack::Ordered(order) => order.over(setup, client).map(with_pool),
        Stack::ByHand => Ok((by_hand(setup, client), None)),
    }
}

/// Longer than any scenario takes.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(120);

/// Backoff over KeyRotation, which waits, over Inspect.
fn ours<S, R>(setup: Setup, provider: S) -> Result<(Client, KeyPool), PoolError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + Send + Sync + 'static,
    R: Body<Data = Bytes> + Send + Unpin + 'static,
    R::Error: Into<Error> + Send,
{
    let keys = setup
        .keys
        .iter()
        .map(|(key, group)| Key::new(*key).label(*key).group(*group));
    let pool = KeyPool::builder(keys).cooldown(setup.minute).build()?;
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

/// A policy for `tower::retry` over a service that puts the next key that does not cool on each request.
fn by_hand<S, R>(setup: Setup, provider: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Error>,
{
    let ring = Ring(Arc::new(Mutex::new(Keys {
        cooling: setup.keys.iter().map(|(key, _)| (*key, None)).collect(),
        next: 0,
    })));
    let policy = Policy {
        ring: ring.clone(),
        delay: setup.delay,
        attempts: 0,
    };
    let client = ServiceBuilder::new()
        .layer(retry::RetryLayer::new(policy))
        .service(PutKey {
            ring,
            inner: provider,
        });
    boxed(client)
}

/// Reads each response to its end, as a program does: else its connection is lost.
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

/// The keys, and until when each cools.
#[derive(Clone)]
struct Ring(Arc<Mutex<Keys>>);

struct Keys {
    cooling: Vec<(&'static str, Option<Instant>)>,
    next: usize,
}

/// The key that a response was asked with.
#[derive(Clone, Copy)]
struct AskedWith(usize);

#[derive(Clone)]
struct PutKey<S> {
    ring: Ring,
    inner: S,
}

#[derive(Clone)]
struct Policy {
    ring: Ring,
    delay: Duration,
    attempts: u32,
}

// === impl Ring ===

impl Ring {
    /// The next key that does not cool, or else the one that frees first.
    fn next(&self) -> (usize, &'static str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, first, now) = (keys.cooling.len(), keys.next, now());
        keys.next = (first + 1) % count;
        let order = (0..count).map(|step| (first + step) % count);
        let cools = |index: &usize| keys.cooling[*index].1.filter(|until| *until > now);
        let index = order.min_by_key(cools).unwrap_or(0);
        (index, keys.cooling[index].0)
    }

    fn cool(&self, index: usize, until: Instant) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = &mut keys.cooling[index].1;
        *end = Some(end.map_or(until, |end| end.max(until)));
    }

    /// When the first key is free.
    fn free_at(&self) -> Instant {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = keys.cooling.iter().map(|(_, until)| *until);
        ends.min().flatten().unwrap_or_else(now)
    }
}

impl<S, R> Service<Request<Full<Bytes>>> for PutKey<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> Self::Future {
        let (index, key) = self.ring.next();
        if let Ok(value) = HeaderValue::from_str(&format!("Bearer {key}")) {
            request.headers_mut().insert("authorization", value);
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            response.extensions_mut().insert(AskedWith(index));
            Ok(response)
        })
    }
}

impl<R, E> retry::Policy<Request<Full<Bytes>>, Response<R>, E> for Policy {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<Full<Bytes>>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Sleep> {
        let response = result.as_ref().ok()?;
        let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
        if !limited && response.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        self.attempts += 1;
        let hint = response.headers().get("retry-after-ms");
        let hint = hint.and_then(|hint| hint.to_str().ok()?.parse().ok());
        // Without a hint: doubling, with jitter.
        let own = self.delay * (1 << (self.attempts - 1).min(3));
        let own = own.mul_f64(1.0 + fastrand::f64() / 4.0);
        let wait = hint.map_or(own, Duration::from_millis);
        if let Some(AskedWith(index)) = response.extensions().get() {
            self.ring.cool(*index, now() + wait);
        }
        Some(sleep_until(self.ring.free_at()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}
