//! The policies that a competent user would write with `tower::retry` instead.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Service, ServiceBuilder, ServiceExt, retry};

use crate::{
    Error,
    provider::now,
    stacks::{Client, Setup, boxed, put, with_first_key},
};

/// A policy for `tower::retry` over a service that puts the next key without a cooldown on each request.
pub(crate) fn keys<S, R>(setup: Setup, provider: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Error>,
{
    let ring = Ring(Arc::new(Mutex::new(Keys {
        cooldowns: setup.keys.iter().map(|(key, _)| (*key, None)).collect(),
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

/// Sends to the preferred model, and after an error of any kind to the other one.
pub(crate) fn fallback<S, R>(setup: Setup, provider: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Error> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Error>,
{
    let other = setup.fallback.unwrap_or_default();
    let client = tower::service_fn(move |request: Request<Full<Bytes>>| {
        let provider = provider.clone();
        async move {
            let mut again = request.clone();
            let response = provider.clone().oneshot(request).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            let body = serde_json::json!({ "model": other, "messages": [] });
            *again.body_mut() = Full::from(body.to_string());
            provider.oneshot(again).await
        }
    });
    boxed(client.map_request(with_first_key(setup)))
}

/// The keys and their cooldowns.
#[derive(Clone)]
struct Ring(Arc<Mutex<Keys>>);

struct Keys {
    cooldowns: Vec<(&'static str, Option<Instant>)>,
    next: usize,
}

/// The index of the key that a response belongs to.
#[derive(Clone, Copy)]
struct KeyIndex(usize);

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
    /// Returns the next key without a cooldown, or else the one whose cooldown ends first.
    fn next(&self) -> (usize, &'static str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, first, now) = (keys.cooldowns.len(), keys.next, now());
        keys.next = (first + 1) % count;
        let order = (0..count).map(|step| (first + step) % count);
        let cooldown = |index: &usize| keys.cooldowns[*index].1.filter(|until| *until > now);
        let index = order.min_by_key(cooldown).unwrap_or(0);
        (index, keys.cooldowns[index].0)
    }

    fn set_cooldown(&self, index: usize, until: Instant) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = &mut keys.cooldowns[index].1;
        *end = Some(end.map_or(until, |end| end.max(until)));
    }

    /// Returns when the first cooldown ends.
    fn free_at(&self) -> Instant {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = keys.cooldowns.iter().map(|(_, until)| *until);
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
        put(&mut request, key);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            response.extensions_mut().insert(KeyIndex(index));
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
        let hint = hint(response.headers());
        // Without a hint the delay doubles, with jitter.
        let own = self.delay * (1 << (self.attempts - 1).min(3));
        let own = own.mul_f64(1.0 + fastrand::f64() / 4.0);
        let wait = hint.unwrap_or(own);
        if let Some(KeyIndex(index)) = response.extensions().get() {
            self.ring.set_cooldown(*index, now() + wait);
        }
        Some(sleep_until(self.ring.free_at()))
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

/// Returns the hint of a rejection.
fn hint(headers: &HeaderMap) -> Option<Duration> {
    let number = |name| headers.get(name)?.to_str().ok()?.parse().ok();
    let millis = number("retry-after-ms").map(Duration::from_millis);
    millis.or_else(|| number("retry-after").map(Duration::from_secs))
}
