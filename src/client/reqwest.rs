//! reqwest's client inside the layers.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use reqwest::{Body, Error};
use tower::Service;

/// Wraps reqwest's `Client` as a `Service<http::Request<reqwest::Body>>`.
///
/// ```
/// use reqwest::redirect::Policy;
/// use tower::ServiceBuilder;
/// use tower_429::{BackoffLayer, KeyPool, KeyRotationLayer, client::ReqwestClient};
///
/// let client = ServiceBuilder::new()
///     .layer(BackoffLayer::new())
///     .layer(KeyRotationLayer::new(KeyPool::new(["sk-one", "sk-two"])?))
///     .service(ReqwestClient::new(reqwest::Client::builder().redirect(Policy::none()).build()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Turn redirects off. If reqwest follows a redirect to another origin, it removes `authorization`, but
/// not a key in another header. It also sends a key in the query to that origin in `referer`.
///
/// `C` can be any service of reqwest's types, such as a client with a middleware around it. Turn off
/// reqwest's own retries.
///
/// # Errors
///
/// Returns the client's errors. It also returns an error if reqwest rejects the request, for example because
/// the URI is relative. The URL is removed from all of them, because it may contain a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReqwestClient<C = reqwest::Client> {
    client: C,
}

pin_project! {
    /// The future of [`ReqwestClient`].
    pub struct ReqwestClientFuture<F> {
        // `None` if reqwest rejects the request.
        #[pin]
        sent: Option<F>,
        rejected: Option<Error>,
    }
}

// === impl ReqwestClient ===

impl<C> ReqwestClient<C> {
    /// Wraps `client`.
    pub const fn new(client: C) -> Self {
        Self { client }
    }
}

impl<C> Service<Request<Body>> for ReqwestClient<C>
where
    C: Service<reqwest::Request, Response = reqwest::Response, Error = Error>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ReqwestClientFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.client.poll_ready(cx).map_err(Error::without_url)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (sent, rejected) = match reqwest::Request::try_from(request) {
            Ok(request) => (Some(self.client.call(request)), None),
            Err(error) => (None, Some(error)),
        };
        ReqwestClientFuture { sent, rejected }
    }
}

// === impl ReqwestClientFuture ===

impl<F> Future for ReqwestClientFuture<F>
where
    F: Future<Output = Result<reqwest::Response, Error>>,
{
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match (this.sent.as_pin_mut(), this.rejected.take()) {
            (Some(future), _) => ready!(future.poll(cx)),
            (None, Some(error)) => Err(error),
            // The future was polled after it was ready.
            (None, None) => return Poll::Pending,
        };
        Poll::Ready(result.map(Response::from).map_err(Error::without_url))
    }
}

impl<F> fmt::Debug for ReqwestClientFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClientFuture")
            .finish_non_exhaustive()
    }
}
