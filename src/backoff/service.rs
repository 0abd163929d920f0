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

use super::{Delays, RetryOnError, decision::Decision, layer::Policy};
use crate::{attempt::Attempts, replay::RequestBody};

/// The service of a [`BackoffLayer`](super::BackoffLayer).
#[derive(Clone)]
pub struct Backoff<S, D, P> {
    pub(super) inner: S,
    pub(super) policy: Arc<Policy<D, P>>,
}

pin_project! {
    /// The future of [`Backoff`].
    pub struct ResponseFuture<S, B, R, D, P>
    where
        S: Service<Request<B>>,
        B: RequestBody,
        D: Delays,
    {
        #[pin]
        attempts: Attempts<S, B, R, Decision<D, P>>,
    }
}

impl<S, B, R, D, P> Service<Request<B>> for Backoff<S, D, P>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    D: Delays + Clone,
    P: RetryOnError<S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R, D, P>;

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

impl<S, B, R, D, P> Future for ResponseFuture<S, B, R, D, P>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    D: Delays,
    P: RetryOnError<S::Error>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().attempts.poll(cx)
    }
}

impl<S: fmt::Debug, D: fmt::Debug, P: fmt::Debug> fmt::Debug for Backoff<S, D, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish()
    }
}

impl<S, B, R, D, P> fmt::Debug for ResponseFuture<S, B, R, D, P>
where
    S: Service<Request<B>>,
    B: RequestBody,
    D: Delays,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
