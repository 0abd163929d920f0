//! A provider without a network: it has its answer ready.

// Not every bench uses all of it.
#![allow(dead_code)]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

/// The headers that every response of a provider behind a CDN has.
pub(crate) const USUAL: &[(&str, &str)] = &[
    ("date", "Sun, 31 May 2026 10:04:00 GMT"),
    ("content-type", "application/json"),
    ("content-length", "1024"),
    ("connection", "keep-alive"),
    ("access-control-expose-headers", "X-Request-ID"),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-request-id", "req_0123456789abcdef"),
    ("cf-cache-status", "DYNAMIC"),
    ("server", "cloudflare"),
    ("cf-ray", "0123456789abcdef-FRA"),
    ("alt-svc", "h3=\":443\"; ma=86400"),
];

pub(crate) const LIMITS: &[(&str, &str)] = &[
    ("x-ratelimit-limit-requests", "5000"),
    ("x-ratelimit-limit-tokens", "450000"),
    ("x-ratelimit-remaining-requests", "4999"),
    ("x-ratelimit-remaining-tokens", "440000"),
    ("x-ratelimit-reset-requests", "12ms"),
    ("x-ratelimit-reset-tokens", "6m0s"),
];

pub(crate) fn headers(lists: &[&[(&'static str, &'static str)]]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lists.concat() {
        map.insert(name, HeaderValue::from_static(value));
    }
    map
}

/// Answers every request at once, and is always ready.
#[derive(Clone)]
pub(crate) struct Provider {
    status: StatusCode,
    headers: Arc<HeaderMap>,
}

impl Provider {
    pub(crate) fn new(status: StatusCode, lists: &[&[(&'static str, &'static str)]]) -> Self {
        Self {
            status,
            headers: Arc::new(headers(lists)),
        }
    }
}

impl Service<Request<Full<Bytes>>> for Provider {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        drop(request);
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.as_ref().clone();
        ready(Ok(response))
    }
}

/// The layers need the timer of a runtime, though nothing waits here.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime")
}

/// Sends a request through a stack that never waits, and returns the status of the answer.
///
/// Never inlined, so that a profiler finds it by name.
#[inline(never)]
pub(crate) fn send<S, R>(service: &mut S, request: Request<Full<Bytes>>) -> StatusCode
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready(), "never not ready");
    let future = std::pin::pin!(service.call(request));
    match future.poll(&mut cx) {
        Poll::Ready(Ok(response)) => response.status(),
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("nothing is waited for"),
    }
}

/// Sends requests, of which each was made beforehand.
///
/// Never inlined, so that a profiler finds it by name.
#[inline(never)]
pub(crate) fn send_all<S, R>(service: &mut S, requests: Vec<Request<Full<Bytes>>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    for request in requests {
        send(service, request);
    }
}
