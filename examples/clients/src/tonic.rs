//! The layers around tonic's channel.
//!
//! ```sh
//! cargo run -p example-clients --bin example-tonic
//! ```
//!
//! The server is on loopback. It rejects the first request with the status 200 and a `grpc-status` in the
//! head, and reports the outcome of the second in the trailers.

use std::{
    convert::Infallible,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mock_provider::Server;
use tonic::{body::Body, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;
use tower::ServiceBuilder;
use tower_429::{
    BackoffLayer,
    rejection::{Reason, Rejection},
    replay::ReplayBody,
};
use tower_http::map_request_body::MapRequestBodyLayer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let requests = Arc::new(AtomicU32::new(0));
    let server = start(requests.clone()).await?;

    let stack = ServiceBuilder::new()
        .layer(MapRequestBodyLayer::new(ReplayBody::new))
        .layer(BackoffLayer::new())
        .layer(MapRequestBodyLayer::new(Body::new::<ReplayBody<Body>>))
        .map_response(name_rejection)
        .service(Endpoint::from_shared(server.origin())?.connect_lazy());

    let mut client = Grpc::new(stack);
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/echo.Echo/Echo");
    let request = tonic::Request::new(String::from("again"));
    let codec = ProstCodec::<String, String>::default();
    let response = client.unary(request, path, codec).await?;
    let sends = requests.load(Ordering::Relaxed);
    println!("{:?} after {sends} sends", response.get_ref());
    assert_eq!((response.get_ref().as_str(), sends), ("again", 2));
    Ok(())
}

/// Stores a rejection for the status 8, which is `RESOURCE_EXHAUSTED`.
fn name_rejection<B>(mut response: Response<B>) -> Response<B> {
    let status = response.headers().get("grpc-status");
    if status.is_some_and(|status| status == "8") {
        let rejection = Rejection::new(Reason::RateLimited);
        response.extensions_mut().insert(rejection);
    }
    response
}

/// Serves gRPC, which is HTTP/2.
async fn start(requests: Arc<AtomicU32>) -> std::io::Result<Server> {
    Server::accept(move |socket| {
        let requests = requests.clone();
        let service = service_fn(move |request| answer(request, requests.clone()));
        let connection = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(connection.serve_connection(TokioIo::new(socket), service));
    })
    .await
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Rejects the first request, and echoes the others.
async fn answer(
    request: Request<Incoming>,
    requests: Arc<AtomicU32>,
) -> Result<Answer, hyper::Error> {
    let message = request.into_body().collect().await?.to_bytes();
    let status = |status| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static(status));
        headers
    };
    let is_first = requests.fetch_add(1, Ordering::Relaxed) == 0;
    let mut response = match is_first {
        true => {
            let mut response = Response::new(Full::default().boxed_unsync());
            *response.headers_mut() = status("8");
            response
        }
        false => {
            let trailers = std::future::ready(Some(Ok(status("0"))));
            Response::new(Full::new(message).with_trailers(trailers).boxed_unsync())
        }
    };
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    Ok(response)
}
