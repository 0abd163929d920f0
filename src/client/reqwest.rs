//! reqwest's client inside the layers.

use std::{
    any::Any,
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
/// `C` can be any service of reqwest's types, such as `reqwest_middleware::ClientWithMiddleware`. Its error
/// type must be able to hold a `reqwest::Error`. Turn off reqwest's own retries.
///
/// # Errors
///
/// Returns the client's errors. It also returns an error if reqwest rejects the request, for example because
/// the URI is relative. The URL is removed from a `reqwest::Error`, because it may contain a key. It stays in an
/// error of another type. Remove it there by `.map_err(reqwest_middleware::Error::without_url)`, for example.
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

/// A service of reqwest's types. It stands for its bounds, because its message says what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no client of reqwest 0.13",
    label = "not a service from `reqwest::Request` to `reqwest::Response`",
    note = "for another version of reqwest use a `tower::service_fn`; the page of `tower_429::client` has an \
            example",
    note = "its error must be a `reqwest::Error`, or implement `From<reqwest::Error>`"
)]
trait ClientOfReqwest {}

#[diagnostic::do_not_recommend]
impl<C> ClientOfReqwest for C where
    C: Service<reqwest::Request, Response = reqwest::Response, Error: From<Error> + 'static>
{
}

// === impl ReqwestClient ===

#[allow(private_bounds)]
impl<C: ClientOfReqwest> ReqwestClient<C> {
    /// Wraps `client`.
    pub const fn new(client: C) -> Self {
        Self { client }
    }
}

impl<C> Service<Request<Body>> for ReqwestClient<C>
where
    C: Service<reqwest::Request, Response = reqwest::Response, Error: From<Error> + 'static>,
{
    type Response = Response<Body>;
    type Error = C::Error;
    type Future = ReqwestClientFuture<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.client.poll_ready(cx).map_err(without_url)
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

impl<F, E> Future for ReqwestClientFuture<F>
where
    F: Future<Output = Result<reqwest::Response, E>>,
    E: From<Error> + 'static,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match (this.sent.as_pin_mut(), this.rejected.take()) {
            (Some(future), _) => ready!(future.poll(cx)),
            (None, Some(error)) => Err(error.without_url().into()),
            // The future was polled after it was ready.
            (None, None) => return Poll::Pending,
        };
        Poll::Ready(result.map(Response::from).map_err(without_url))
    }
}

/// Removes the URL if the error is reqwest's.
fn without_url<E: 'static>(error: E) -> E {
    let of_reqwest: fn(Error) -> Error = Error::without_url;
    // This is a function of `E` exactly if `E` is reqwest's error.
    let of_this: Option<&fn(E) -> E> = (&of_reqwest as &dyn Any).downcast_ref();
    match of_this {
        Some(without_url) => without_url(error),
        None => error,
    }
}

impl<F> fmt::Debug for ReqwestClientFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClientFuture")
            .finish_non_exhaustive()
    }
}
