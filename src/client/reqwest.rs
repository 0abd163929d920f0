use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use reqwest::{Body, Error};
use tower::Service;

/// reqwest's `Client` as a `Service<http::Request<reqwest::Body>>`.
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
/// Let the client follow no redirects. On the way to another origin reqwest takes off
/// `authorization`, but no key in a header of another name, and it tells a key in the query to that
/// origin in `referer`.
///
/// Any service of reqwest's own types can stand in for the client, such as the client under a
/// `reqwest`-typed middleware. reqwest's own retries are best left off.
///
/// # Errors
///
/// The client's own, and those of a request that is none to reqwest, such as one with a relative
/// URI. They are handed on without the URL, in which there may be a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReqwestClient<C = reqwest::Client> {
    client: C,
}

pin_project! {
    /// The future of [`ReqwestClient`].
    pub struct ReqwestClientFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Sent { #[pin] future: F },
        /// The request is none to reqwest.
        Invalid { error: Option<Error> },
    }
}

// === impl ReqwestClient ===

impl<C> ReqwestClient<C> {
    /// Makes a service of `client`.
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
        let state = match reqwest::Request::try_from(request) {
            Ok(request) => State::Sent {
                future: self.client.call(request),
            },
            Err(error) => State::Invalid { error: Some(error) },
        };
        ReqwestClientFuture { state }
    }
}

// === impl ReqwestClientFuture ===

impl<F> Future for ReqwestClientFuture<F>
where
    F: Future<Output = Result<reqwest::Response, Error>>,
{
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Sent { future } => {
                let result = ready!(future.poll(cx));
                Poll::Ready(result.map(Response::from).map_err(Error::without_url))
            }
            StateProj::Invalid { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error.without_url())),
                // Polled again after it was done.
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for ReqwestClientFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClientFuture")
            .finish_non_exhaustive()
    }
}
