//! The client beneath the layers: hyper-util's, or with the feature `reqwest` reqwest's.

use axum::{
    BoxError,
    body::Body,
    http::{Request, Response},
};
use tower::util::BoxCloneSyncService;

/// A client, or a stack around one, under a name that a struct can hold.
pub(crate) type Client = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Whether upstreams may be at https addresses.
pub(crate) const MAY_SPEAK_TLS: bool = cfg!(feature = "reqwest");

#[cfg(not(feature = "reqwest"))]
pub(crate) fn client() -> Result<Client, BoxError> {
    use hyper_util::{
        client::legacy::{Client as Hyper, connect::HttpConnector},
        rt::TokioExecutor,
    };
    use tower::ServiceBuilder;

    let mut connector = HttpConnector::new();
    // Each part of an upload leaves when it comes.
    connector.set_nodelay(true);
    let client = Hyper::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let client = ServiceBuilder::new()
        .map_response(|response: Response<hyper::body::Incoming>| response.map(Body::new))
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(client))
}

#[cfg(feature = "reqwest")]
pub(crate) fn client() -> Result<Client, BoxError> {
    use tower::ServiceBuilder;
    use tower_429::client::Reqwest;

    let client = reqwest::Client::builder()
        // What the upstream says is for the caller; and keys stay where they belong.
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let client = ServiceBuilder::new()
        .map_request(|request: Request<Body>| {
            request.map(|body| reqwest::Body::wrap_stream(body.into_data_stream()))
        })
        .map_response(|response: Response<reqwest::Body>| response.map(Body::new))
        .map_err(BoxError::from)
        .service(Reqwest::new(client));
    Ok(Client::new(client))
}
