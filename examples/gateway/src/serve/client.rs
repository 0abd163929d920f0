//! The client inside the layers, which is hyper-util's.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    BoxError,
    body::Body,
    http::{Request, Response},
};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{
        Client as Hyper,
        connect::{Connect, HttpConnector},
    },
    rt::TokioExecutor,
};
use tokio::sync::Notify;
use tower::util::BoxCloneSyncService;

use super::config::ConfigError;

/// The type of a client or of a stack around it, so that a struct can hold it.
pub(crate) type Client = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Builds the client. It reads the certificates that the system trusts only if it `needs_tls`, because the mock needs
/// none.
pub(crate) fn client(needs_tls: bool) -> Result<Client, ConfigError> {
    let mut connector = HttpConnector::new();
    // Each part of an upload is sent as soon as it arrives.
    connector.set_nodelay(true);
    if !needs_tls {
        return Ok(client_over(connector));
    }
    // The TLS connector wraps this one, which must therefore accept `https`.
    connector.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_native_roots();
    let builder = builder.map_err(ConfigError::Certificates)?;
    let connector = builder
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(client_over(connector))
}

fn client_over(connector: impl Connect + Clone + Send + Sync + 'static) -> Client {
    let client = Hyper::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let client = tower::service_fn(move |mut request: Request<Body>| {
        let flooded = count_interim(&mut request);
        let response = client.request(request);
        async move {
            tokio::select! {
                biased;
                () = flooded.notified() => {
                    Err(format!("it sent more than {MAX_INTERIM} interim responses (1xx)").into())
                }
                response = response => Ok(response.map_err(BoxError::from)?.map(Body::new)),
            }
        }
    });
    Client::new(client)
}

/// The most interim responses to one request. With one every 15 seconds, they last a quarter of an hour.
const MAX_INTERIM: usize = 64;

/// Returns a notification of one interim response too many. hyper itself accepts any number of them.
fn count_interim(request: &mut Request<Body>) -> Arc<Notify> {
    let flooded = Arc::new(Notify::new());
    let (count, too_many) = (AtomicUsize::new(0), flooded.clone());
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM {
            too_many.notify_one();
        }
    });
    flooded
}
