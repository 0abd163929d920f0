use std::{
    error, fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use reqwest::{Body, ResponseBuilderExt as _, Url};
use tower::Service;

/// A stack of layers as a `Service<reqwest::Request>`, for libraries that speak reqwest's types.
///
/// It is put outside of the layers, and [`ReqwestClient`](super::ReqwestClient) inside:
///
/// ```
/// use reqwest::redirect::Policy;
/// use tower::{Service, ServiceBuilder};
/// use tower_429::{BackoffLayer, FallbackLayer, client::{ReqwestService, ReqwestClient}};
///
/// let client = ServiceBuilder::new()
///     .layer_fn(ReqwestService::new)
///     .layer(FallbackLayer::new(["gpt-4o-mini"]))
///     .layer(BackoffLayer::new())
///     .service(ReqwestClient::new(reqwest::Client::builder().redirect(Policy::none()).build()?));
/// # fn is_client(_: impl Service<reqwest::Request, Response = reqwest::Response, Error = reqwest::Error>) {}
/// is_client(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The response has what the layers have put into its extensions, such as the
/// [`Trail`](crate::trail::Trail), and its URL is that of the request: what the layers made of it, to
/// which a key may belong, is not told.
///
/// # Errors
///
/// The stack's own, and those of a request that is none to `http`, such as one for a `data:` URL.
#[derive(Clone, Copy, Debug)]
pub struct ReqwestService<S> {
    inner: S,
}

pin_project! {
    /// The future of [`ReqwestService`].
    pub struct ReqwestServiceFuture<F, E> {
        #[pin]
        state: State<F, E>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, E> {
        Sent {
            #[pin]
            future: F,
            url: Option<Url>,
        },
        /// The request is none to `http`.
        Invalid { error: Option<E> },
    }
}

// === impl ReqwestService ===

impl<S> ReqwestService<S> {
    /// Makes a service of reqwest's types of `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
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
        let url = request.url().clone();
        let state = match http::Request::try_from(request) {
            Ok(request) => State::Sent {
                future: self.inner.call(request),
                url: Some(url),
            },
            Err(error) => State::Invalid {
                error: Some(error.without_url().into()),
            },
        };
        ReqwestServiceFuture { state }
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
        match self.project().state.project() {
            StateProj::Sent { future, url } => {
                let mut response = ready!(future.poll(cx))?.map(Body::wrap);
                if let Some(url) = url.take() {
                    // reqwest has no other way to say so.
                    let says = http::Response::builder().url(url).body(());
                    let (says, ()) = says.unwrap_or_default().into_parts();
                    response.extensions_mut().extend(says.extensions);
                }
                Poll::Ready(Ok(response.into()))
            }
            StateProj::Invalid { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                // Polled again after it was done.
                None => Poll::Pending,
            },
        }
    }
}

impl<F, E> fmt::Debug for ReqwestServiceFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestServiceFuture")
            .finish_non_exhaustive()
    }
}
