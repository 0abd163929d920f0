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

use super::{RetryOnError, decision::Decision, layer::Policy};
use crate::{attempt::Attempts, replay::RequestBody};

/// The service of a [`FallbackLayer`](super::FallbackLayer).
#[derive(Clone, Debug)]
pub struct Fallback<S, P> {
    pub(super) inner: S,
    pub(super) policy: Arc<Policy<P>>,
}

pin_project! {
    /// The future of [`Fallback`].
    pub struct ResponseFuture<S, B, R, P>
    where
        S: Service<Request<B>>,
        B: RequestBody,
    {
        #[pin]
        attempts: Attempts<S, B, R, Decision<P>>,
    }
}

impl<S, B, R, P> Service<Request<B>> for Fallback<S, P>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    P: RetryOnError<S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R, P>;

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

impl<S, B, R, P> Future for ResponseFuture<S, B, R, P>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    P: RetryOnError<S::Error>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().attempts.poll(cx)
    }
}

impl<S, B, R, P> fmt::Debug for ResponseFuture<S, B, R, P>
where
    S: Service<Request<B>>,
    B: RequestBody,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
