//! The client beneath the layers: hyper-util's.

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

/// A client, or a stack around one, under a name that a struct can hold.
pub(crate) type Client = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Builds the client. Only one that `needs_tls` reads the certificates that the system trusts, so that the mock
/// needs none.
pub(crate) fn client(needs_tls: bool) -> Result<Client, ConfigError> {
    let mut connector = HttpConnector::new();
    // Each part of an upload leaves when it comes.
    connector.set_nodelay(true);
    if !needs_tls {
        return Ok(client_over(connector));
    }
    // The connector of TLS has that of TCP inside.
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
    Client::new(client)
}

/// The most interim answers to one request. One each 15 seconds is a quarter of an hour.
const MOST_INTERIM: usize = 64;

/// Says when a request gets one interim answer too many: hyper skips them without end.
fn count_interim(request: &mut Request<Body>) -> Arc<Notify> {
    let flooded = Arc::new(Notify::new());
    let (count, too_many) = (AtomicUsize::new(0), flooded.clone());
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == MOST_INTERIM {
            too_many.notify_one();
        }
    });
    flooded
}
