//! The request that is sent, and the stacks that are compared.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Sleep, sleep};
use tower::{
    ServiceBuilder,
    layer::util::{Identity, Stack},
    retry::{Policy, RetryLayer},
};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer};

/// A minimal policy for `tower::retry`.
#[derive(Clone)]
pub(crate) struct OnLimit {
    left: u32,
}

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for OnLimit {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Self::Future> {
        let response = result.as_ref().ok()?;
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(sleep(Duration::from_secs(1)))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// Returns a request as a client of OpenAI sends it.
pub(crate) fn request(origin: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::post(format!("{origin}/v1/chat/completions"))
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, deflate")
        .header(
            "authorization",
            "Bearer sk-0123456789abcdef0123456789abcdef",
        )
        .header("content-length", body.len())
        .header("content-type", "application/json")
        .header("openai-organization", "org-0123456789abcdef")
        .header("user-agent", "a-program/1.0")
        .header("x-request-id", "0123456789abcdef")
        .header("x-stainless-lang", "rust")
        .header("x-stainless-retry-count", "0")
        .body(Full::new(body))
        .expect("the request is valid")
}

/// Returns a conversation of `turns` turns with 320 bytes each.
pub(crate) fn body(turns: usize) -> Bytes {
    let text = "What is a lease, and who holds it? ".repeat(8);
    let turn = format!(r#"{{"role":"user","content":"{text}"}}"#);
    let turns = vec![turn; turns].join(",");
    format!(r#"{{"model":"gpt-4o","temperature":0.7,"max_tokens":256,"messages":[{turns}]}}"#)
        .into()
}

type Three<A, B, C> = ServiceBuilder<Stack<C, Stack<B, Stack<A, Identity>>>>;
type Retry = RetryLayer<OnLimit>;

/// Returns three retry layers, one in place of each layer of this crate.
pub(crate) fn retries() -> Three<Retry, Retry, Retry> {
    ServiceBuilder::new()
        .layer(RetryLayer::new(OnLimit { left: 4 }))
        .layer(RetryLayer::new(OnLimit { left: 4 }))
        .layer(RetryLayer::new(OnLimit { left: 4 }))
}

pub(crate) fn layers() -> Three<FallbackLayer, BackoffLayer, KeyRotationLayer> {
    ServiceBuilder::new()
        .layer(FallbackLayer::new(["gpt-4o-mini"]))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(pool()))
}

pub(crate) fn pool() -> KeyPool {
    KeyPool::new(["sk-one", "sk-two", "sk-three", "sk-four"]).expect("the keys are valid")
}
