//! The pool as a scheduler, through the public API, with a paused clock.

mod after_hint;
mod choice;
mod cooling;
mod fallback;
mod false_hints;
mod guesses;
mod idle;
mod learning;
mod never_early;
mod replicas;
mod set_aside;
mod unusable;
mod waiting;
mod wakers;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::script::*;
use futures::future::join_all;
use http::{Request, Response};
use tokio::time::{Sleep, sleep};
use tower::{Layer as _, Service, ServiceExt};
use tower_429::{KeyPool, KeyRotationLayer, key_rotation::KeyRotation};

fn in_flight(pool: &KeyPool) -> usize {
    pool.snapshot().iter().map(|key| key.in_flight).sum()
}

/// Returns a service whose calls wait for a key.
pub(crate) fn waits(
    pool: &KeyPool,
    provider: &Provider,
    max_wait: Duration,
) -> KeyRotation<Provider> {
    KeyRotationLayer::new(pool.clone())
        .wait_when_exhausted(max_wait)
        .layer(provider.clone())
}

pub(crate) async fn call<S>(service: &S, request: Request<String>) -> Response<String>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    service.clone().oneshot(request).await.unwrap()
}

/// Sends `count` calls, one per millisecond. Returns the statuses of the responses.
pub(crate) async fn calls<S>(service: &S, count: u64) -> Vec<u16>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let numbered = (0..count).map(|number| async move {
        tokio::time::sleep(Duration::from_millis(number)).await;
        let mut request = chat("m");
        request.headers_mut().insert("number", number.into());
        call(service, request).await.status().as_u16()
    });
    join_all(numbered).await
}

/// Returns the headers of a response that reports the remaining quota.
pub(crate) fn left(limit: u64, remaining: u64, reset: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("x-ratelimit-limit-requests", limit.to_string()),
        ("x-ratelimit-remaining-requests", remaining.to_string()),
        (
            "x-ratelimit-reset-requests",
            format!("{}ms", reset.as_millis()),
        ),
    ]
}

/// Admits `limit` requests in each window of ten seconds, and reports what is left.
pub(crate) fn windows(limit: u64) -> Provider {
    let mut window = (0, 0);
    Provider::new(move |seen| {
        let now = seen.at.as_secs() / 10;
        if window.0 != now {
            window = (now, 0);
        }
        let rest = secs((now + 1) * 10) - seen.at;
        window.1 += 1;
        match window.1 <= limit {
            true => Answer::Response(200, left(limit, limit - window.1, rest)),
            false => {
                let mut headers = left(limit, 0, rest);
                headers.push(("retry-after-ms", rest.as_millis().to_string()));
                Answer::Response(429, headers)
            }
        }
    })
}

/// A service that is ready at once, except for one of the polls of all its clones, which takes a while.
struct SlowlyReady {
    inner: Provider,
    polls: Arc<AtomicUsize>,
    slow: usize,
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl SlowlyReady {
    fn new(provider: &Provider, slow: usize, after: Duration) -> Self {
        Self {
            inner: provider.clone(),
            polls: Arc::default(),
            slow,
            after,
            sleep: None,
        }
    }
}

impl Clone for SlowlyReady {
    fn clone(&self) -> Self {
        Self {
            polls: self.polls.clone(),
            ..Self::new(&self.inner, self.slow, self.after)
        }
    }
}

impl Service<Request<String>> for SlowlyReady {
    type Response = Response<String>;
    type Error = io::Error;
    type Future = <Provider as Service<Request<String>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        if self.sleep.is_none() && self.polls.fetch_add(1, Ordering::Relaxed) == self.slow {
            self.sleep = Some(Box::pin(sleep(self.after)));
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.sleep = None;
        self.inner.call(request)
    }
}
