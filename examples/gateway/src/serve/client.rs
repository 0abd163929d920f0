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
    let mut connector = HttpConnector::new();
    // Each part of an upload leaves when it comes.
    connector.set_nodelay(true);
    let client = Hyper::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let client = tower::service_fn(move |mut request: Request<Body>| {
        let flooded = count_interim(&mut request);
        let answer = client.request(request);
        async move {
            tokio::select! {
                biased;
                () = flooded.notified() => {
                    Err(format!("it has sent more than {MOST_INTERIM} interim answers (1xx)").into())
                }
                answer = answer => Ok(answer.map_err(BoxError::from)?.map(Body::new)),
            }
        }
    });
    Ok(Client::new(client))
}

/// The most interim answers to one request. One each 15 seconds is a quarter of an hour.
#[cfg(not(feature = "reqwest"))]
const MOST_INTERIM: usize = 64;

/// Says when a request gets one interim answer too many: hyper skips them without end.
#[cfg(not(feature = "reqwest"))]
fn count_interim(request: &mut Request<Body>) -> std::sync::Arc<tokio::sync::Notify> {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    let flooded = Arc::new(tokio::sync::Notify::new());
    let (count, too_many) = (AtomicUsize::new(0), flooded.clone());
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == MOST_INTERIM {
            too_many.notify_one();
        }
    });
    flooded
}

#[cfg(feature = "reqwest")]
pub(crate) fn client() -> Result<Client, BoxError> {
    use tower::ServiceBuilder;
    use tower_429::client::ReqwestClient;

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
        .service(ReqwestClient::new(client));
    Ok(Client::new(client))
}
