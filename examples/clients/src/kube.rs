//! The layers around kube's own transport, and kube over hyper's client with the layers.
//!
//! ```sh
//! cargo run -p example-clients --bin example-kube
//! ```
//!
//! The API server is on loopback, and rejects the first request of each call. kube's body type is built from bytes
//! only, so `collect_body` reads the body that the layers send. A body of 3 MiB exceeds the default limit of 2 MiB, so
//! it is sent once. With a larger `replay_limit` it is sent twice.

use std::{
    error::Error,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{client::legacy, rt::TokioExecutor};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use mock_provider::Server;
use tower::{BoxError, ServiceBuilder};
use tower_429::{BackoffLayer, replay::ReplayBody};
use tower_http::map_request_body::MapRequestBodyLayer;

const MIB: u64 = 1024 * 1024;

/// The bodies of one call.
type Received = Arc<Mutex<Vec<Bytes>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let received = Received::default();
    let log = received.clone();
    let server = Server::http1(move |request| answer(request, log.clone())).await?;
    let mut config = Config::new(server.origin().parse()?);
    // kube's own retries would multiply those of the layers.
    config.default_retry = false;

    for (size, replay_limit, sends) in [
        (1_000, 2 * MIB, 2),
        (3 * MIB, 2 * MIB, 1),
        (3 * MIB, 4 * MIB, 2),
    ] {
        let backoff = || BackoffLayer::new().replay_limit(replay_limit);
        let clients = [
            ("own transport", own_transport(config.clone(), backoff())?),
            ("hyper", hyper(&config, backoff())),
        ];
        for (name, client) in clients {
            let body = Bytes::from_iter((0..size).map(|index| (index % 251) as u8));
            let request = Request::put("/api/v1/namespaces/default/configmaps/c");
            let response = client.send(request.body(Body::from(body.clone()))?).await?;
            let bodies = mem::take(&mut *received.lock().unwrap_or_else(PoisonError::into_inner));
            let status = response.status();
            println!(
                "{name}: {size} bytes, sent {} times: {status}",
                bodies.len()
            );
            // A body that is too large to be recorded gets the first response.
            let expected = match sends {
                1 => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::OK,
            };
            assert_eq!(status, expected);
            assert!(bodies == vec![body; sends], "each body is complete");
        }
    }
    Ok(())
}

/// kube's own transport, with its TLS, credentials and proxies.
fn own_transport(config: Config, backoff: BackoffLayer) -> Result<Client, kube::Error> {
    let stack = ServiceBuilder::new()
        .layer(MapRequestBodyLayer::new(ReplayBody::new))
        .layer(backoff)
        // Converts to kube's body. The buffer makes kube's transport `Clone`, which the layers need.
        .filter_async(collect_body)
        .buffer(1_024);
    Ok(ClientBuilder::try_from(config)?.with_layer(&stack).build())
}

/// Reads a body to its end, because kube's is built from bytes only.
async fn collect_body(request: Request<ReplayBody<Body>>) -> Result<Request<Body>, BoxError> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Request::from_parts(head, Body::from(bytes)))
}

/// hyper's client takes the layers' body as it is.
fn hyper(config: &Config, backoff: BackoffLayer) -> Client {
    let stack = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(MapRequestBodyLayer::new(ReplayBody::<Body>::new))
        .layer(backoff)
        .service(legacy::Client::builder(TokioExecutor::new()).build_http());
    Client::new(stack, "default")
}

/// Rejects the first request of each call.
async fn answer(request: Request<Incoming>, received: Received) -> Response<Empty<Bytes>> {
    let body = request.into_body().collect().await;
    let mut bodies = received.lock().unwrap_or_else(PoisonError::into_inner);
    bodies.push(body.map_or_else(|_| Bytes::new(), |body| body.to_bytes()));
    let mut response = Response::new(Empty::new());
    if bodies.len() == 1 {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        let soon = http::HeaderValue::from_static("20");
        response.headers_mut().insert("retry-after-ms", soon);
    }
    response
}
