use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;

use super::{WhenExhausted, decision::Decision, layer::Policy};
use crate::{attempt::Attempts, replay::RequestBody};

/// The service of a [`KeyRotationLayer`](super::KeyRotationLayer).
#[derive(Clone, Debug)]
pub struct KeyRotation<S, X> {
    pub(super) inner: S,
    pub(super) policy: Arc<Policy<X>>,
}

pin_project! {
    /// The future of [`KeyRotation`].
    pub struct ResponseFuture<S, B, R, X>
    where
        S: Service<Request<B>>,
        B: RequestBody,
    {
        #[pin]
        attempts: Attempts<S, B, R, Decision<X>>,
    }
}

impl<S, B, R, X> Service<Request<B>> for KeyRotation<S, X>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    X: WhenExhausted<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        let settings = self.policy.settings;
        let decision = Decision::new(self.policy.clone());
        ResponseFuture {
            attempts: Attempts::new(ready, request, settings, decision),
        }
    }
}

impl<S, B, R, X> Future for ResponseFuture<S, B, R, X>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    X: WhenExhausted<R>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().attempts.poll(cx)
    }
}

impl<S, B, R, X> fmt::Debug for ResponseFuture<S, B, R, X>
where
    S: Service<Request<B>>,
    B: RequestBody,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
