//! The service and the future behind [`Backoff`](crate::backoff::Backoff),
//! [`KeyRotation`](crate::key_rotation::KeyRotation) and [`Fallback`](crate::fallback::Fallback).
//!
//! Each layer sends, classifies the outcome, decides, and may send again. The layers differ only in what
//! they decide, so their service is one type with the layer as its configuration.
//!
//! # When it does not compile
//!
//! If a bound is not satisfied, the compiler says of a method call such as `client.oneshot(request)` only that
//! "its trait bounds were not satisfied" (E0599). Write the call as a function, and the compiler names the bound
//! and says what to do:
//!
//! ```text
//! tower::ServiceExt::oneshot(client, request)
//! ```
//!
//! Each of these lines compiles if one bound is satisfied. `http_client` is the service inside the layers:
//!
//! ```
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! use std::{io, mem, pin::Pin};
//! use tower::{ServiceExt, service_fn};
//! use tower_429::{backoff::{Delays, Exponential}, replay::RequestBody};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let mut http_client = service_fn(async |_: Request<Full<Bytes>>| {
//! #     Ok::<_, io::Error>(Response::new(String::new()))
//! # });
//! # let body = || Full::<Bytes>::default();
//! # let request = || Request::new(body());
//! // The client sends requests of `http`. `reqwest::Client` needs `ReqwestClient` around it.
//! ServiceExt::<Request<Full<Bytes>>>::ready(&mut http_client).await?;
//! // It is `Clone`. Otherwise put `tower::buffer::BufferLayer` between.
//! let _ = http_client.clone();
//! // The request body can be sent again. A `Vec<u8>` cannot, but `Full::<Bytes>::from(vec)` can.
//! let _ = RequestBody::into_replay(body());
//! // `on_error` takes this error type. `tower::timeout` and `tower::buffer` box the error.
//! let answer: Result<_, io::Error> = http_client.oneshot(request()).await;
//! let mut response = answer?;
//! // `InspectLayer` needs an `Unpin` body. Otherwise box it inside the layer, with `UnsyncBoxBody`.
//! let _ = Pin::new(response.body_mut());
//! // `reject_when_exhausted` needs a body with `Default`. `InspectLayer` next to the client has one.
//! let _ = mem::take(response.body_mut());
//! // `delays` takes a type or a closure that makes an iterator from a seed.
//! let _ = Delays::for_call(&Exponential::new(), 7);
//! # Ok::<(), io::Error>(())
//! # })?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! `ReqwestClient` is for reqwest 0.13. If `cargo tree -i reqwest` reports that there are two versions, another
//! crate uses the other. The page of [`client`](crate::client) shows what to do.

#![allow(private_bounds)] // The traits are private, because only the layers of this crate implement them.

mod completing;
mod deciding;
mod drain;
mod future;
mod inner;
mod message;
mod preparing;
mod retry_on;
mod settings;
mod strategy;
mod unavailable;

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
pub(crate) use inner::{CloneService, InnerService};
pub use message::ResponseHead;
pub use retry_on::{AsError, IfError, IfUnavailable, NoErrors, RetryOnError};
pub(crate) use retry_on::{OfKind, RetryOn};
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

impl<S, B, R, E, C> Service<Request<B>> for Retry<S, C>
where
    S: InnerService<B, Body = R, Failure = E>,
    B: RequestBody,
    R: Body,
    C: Config<Strategy: Strategy<R, E>>,
{
    type Response = Response<R>;
    type Error = E;
    type Future = ResponseFuture<S, B, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
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
