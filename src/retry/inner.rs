//! What the layers require of the service inside. The traits are there for their messages: each stands for
//! bounds, and is implemented for all that satisfies them.

use http::{Request, Response};
use http_body::Body;
use tower::Service;

/// A service that is [`Clone`].
#[diagnostic::on_unimplemented(
    message = "the service inside a tower-429 layer is not `Clone`",
    label = "not `Clone`",
    note = "put `tower::buffer::BufferLayer::new(1024)` between the layer and the service, or share what the \
            service holds in an `Arc`"
)]
pub(crate) trait CloneService: Clone {}

/// A service that sends HTTP requests.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no service from `http::Request<{B}>` to `http::Response<_>`",
    label = "a tower-429 layer cannot send through it",
    note = "reqwest's client needs an adapter: `tower_429::client::ReqwestClient::new(client)`, feature \
            `reqwest`",
    note = "another client needs a `tower::service_fn`; the page of `tower_429::client` has an example"
)]
pub(crate) trait InnerService<B>:
    Service<Request<B>, Response = Response<Self::Body>, Error = Self::Failure> + Clone
{
    /// The body of the responses.
    type Body: Body;

    /// The error.
    type Failure;
}

#[diagnostic::do_not_recommend]
impl<S: Clone> CloneService for S {}

#[diagnostic::do_not_recommend]
impl<S, B, R> InnerService<B> for S
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
{
    type Body = R;
    type Failure = S::Error;
}
