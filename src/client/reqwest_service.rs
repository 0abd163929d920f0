//! The layers inside a library that requires a service of reqwest's types.

use std::{
    error, fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use reqwest::{Body, ResponseBuilderExt as _, Url};
use tower::{
    Service,
    layer::{LayerFn, layer_fn},
};

/// Turns a stack of layers into a `Service<reqwest::Request>`, for libraries that use reqwest's types.
///
/// Put it outside the layers, and [`ReqwestClient`](super::ReqwestClient) inside:
///
/// ```
/// use reqwest::redirect::Policy;
/// use tower::{Service, ServiceBuilder};
/// use tower_429::{BackoffLayer, FallbackLayer, client::{ReqwestService, ReqwestClient}};
///
/// let client = ServiceBuilder::new()
///     .layer(ReqwestService::layer())
///     .layer(FallbackLayer::new(["gpt-4o-mini"]))
///     .layer(BackoffLayer::new())
///     .service(ReqwestClient::new(reqwest::Client::builder().redirect(Policy::none()).build()?));
/// # fn is_client(_: impl Service<reqwest::Request, Response = reqwest::Response, Error = reqwest::Error>) {}
/// is_client(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Such a library makes the request itself, so the caller cannot put a [`Call`](crate::Call) or a
/// [`Session`](crate::key_rotation::Session) on it. A layer between puts one on all requests of a client. A
/// request gets a clone, and clones share neither a budget nor a deadline. Clones of the stack share keys and
/// limits, so each task can have a client of its own:
///
/// ```
/// use std::time::Duration;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_429::{BackoffLayer, Call, client::ReqwestService};
/// use tower_http::add_extension::AddExtensionLayer;
///
/// # let mut runtime = tokio::runtime::Builder::new_current_thread();
/// # runtime.enable_time().start_paused(true).build()?.block_on(async {
/// # let limited = service_fn(|_: http::Request<reqwest::Body>| async {
/// #     let response = http::Response::builder().status(429).header("retry-after", "20");
/// #     Ok::<_, reqwest::Error>(response.body(reqwest::Body::default()).unwrap())
/// # });
/// // `limited` stands for `ReqwestClient`, and reports "retry after 20 s".
/// let stack = ServiceBuilder::new().layer(BackoffLayer::new()).service(limited);
/// let call = Call::new().deadline(Duration::from_secs(5));
/// let client = ServiceBuilder::new()
///     .layer(ReqwestService::layer())
///     .layer(AddExtensionLayer::new(call.clone()))
///     .service(stack.clone());
///
/// let request = reqwest::Client::new().get("https://api.example/v1/models").build()?;
/// assert_eq!(client.oneshot(request).await?.status(), 429);
/// assert_eq!(
///     call.trail().to_string(),
///     "1. 429, backoff: returned, wait reaches past the deadline"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The response keeps the extensions that the layers have set, such as the
/// [`Trail`](crate::trail::Trail). Its URL is that of the original request, because the URL that was
/// sent may contain a key.
///
/// # Errors
///
/// Returns the stack's errors. It also returns an error if `http` rejects the request, for example because it
/// has a `data:` URL.
#[derive(Clone, Copy, Debug)]
// If a method call does not compile because of a bound, the compiler shows the first line of the type, and no
// message of the traits.
#[rustfmt::skip]
pub struct ReqwestService<S> { // Not a service? `tower::ServiceExt::oneshot(client, request)` says why.
    inner: S,
}

pin_project! {
    /// The future of [`ReqwestService`].
    pub struct ReqwestServiceFuture<F, E> {
        // `None` if `http` rejects the request.
        #[pin]
        sent: Option<F>,
        rejected: Option<E>,
        url: Option<Url>,
    }
}

// === impl ReqwestService ===

impl<S> ReqwestService<S> {
    /// Wraps a stack of layers.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    /// Returns a layer that wraps a stack of layers.
    pub fn layer() -> LayerFn<fn(S) -> Self> {
        layer_fn(Self::new)
    }
}

impl<S, R> Service<reqwest::Request> for ReqwestService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>>,
    S::Error: From<reqwest::Error>,
    R: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    R::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    type Response = reqwest::Response;
    type Error = S::Error;
    type Future = ReqwestServiceFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: reqwest::Request) -> Self::Future {
        let url = Some(request.url().clone());
        let (sent, rejected) = match http::Request::try_from(request) {
            Ok(request) => (Some(self.inner.call(request)), None),
            Err(error) => (None, Some(error.without_url().into())),
        };
        ReqwestServiceFuture {
            sent,
            rejected,
            url,
        }
    }
}

// === impl ReqwestServiceFuture ===

impl<F, R, E> Future for ReqwestServiceFuture<F, E>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + Sync + 'static,
    R::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    type Output = Result<reqwest::Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match (this.sent.as_pin_mut(), this.rejected.take()) {
            (Some(future), _) => ready!(future.poll(cx))?,
            (None, Some(error)) => return Poll::Ready(Err(error)),
            // The future was polled after it was ready.
            (None, None) => return Poll::Pending,
        };
        let mut response = response.map(Body::wrap);
        if let Some(url) = this.url.take() {
            // reqwest reads the URL of a response from a private extension, which only its builder sets.
            let with_url = http::Response::builder().url(url).body(());
            let (with_url, ()) = with_url.unwrap_or_default().into_parts();
            response.extensions_mut().extend(with_url.extensions);
        }
        Poll::Ready(Ok(response.into()))
    }
}

impl<F, E> fmt::Debug for ReqwestServiceFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestServiceFuture")
            .finish_non_exhaustive()
    }
}
