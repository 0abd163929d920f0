//! The service and the future behind [`Backoff`](crate::backoff::Backoff),
//! [`KeyRotation`](crate::key_rotation::KeyRotation) and [`Fallback`](crate::fallback::Fallback).
//!
//! Each layer sends, classifies the outcome, decides, and may send again. The layers differ only in what
//! they decide, so their service is one type with the layer as its configuration.

#![allow(private_bounds)] // The traits are private, because only the layers of this crate implement them.

mod deciding;
mod drain;
mod future;
mod message;
mod preparing;
mod retry_on;
mod settings;
mod strategy;

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::replay::RequestBody;
pub use future::ResponseFuture;
pub use message::ResponseHead;
pub(crate) use retry_on::RetryOn;
pub use retry_on::{AsError, IfError, NoErrors, RetryOnError};
pub(crate) use settings::{CommonSettings, OnAttempt, setters};
pub(crate) use strategy::{Config, Decision, Outcome, Prepare, RequestView, Strategy};

/// A service that sends a request again as the layer `C` decides.
pub struct Retry<S, C> {
    inner: S,
    config: Arc<C>,
}

// === impl Retry ===

impl<S, C> Retry<S, C> {
    pub(crate) fn new(inner: S, config: C) -> Self {
        let config = Arc::new(config);
        Self { inner, config }
    }
}

impl<S, B, R, C> Service<Request<B>> for Retry<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    C: Config<Strategy: Strategy<R, S::Error>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        // The instance that was polled ready sends first.
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(ready, request, self.config.clone())
    }
}

impl<S: Clone, C> Clone for Retry<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: self.config.clone(),
        }
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for Retry<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish()
    }
}
