//! A discarded rejection does not cost its connection (HTTP/1.1 over loopback).

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{self as client, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mock_provider::{Server, read};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer};

type Answer = BoxBody<Bytes, Infallible>;

/// Starts a server that rejects the first `rejections` requests.
async fn serve(rejection: fn() -> Answer, rejections: usize) -> Server {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = Server::http1(move |request| {
        let requests = requests.clone();
        async move {
            read(request).await.unwrap();
            match requests.fetch_add(1, Ordering::SeqCst) {
                number if number < rejections => Response::builder()
                    .status(429)
                    .header("retry-after-ms", "1")
                    .body(rejection())
                    .unwrap(),
                _ => Response::new(Full::from("done").boxed()),
            }
        }
    });
    server.await.unwrap()
}

fn large() -> Answer {
    Full::from(vec![b'x'; 64 * 1024]).boxed()
}

/// Returns a response whose body arrives 20 ms after its head, as from a gateway.
fn late() -> Answer {
    StreamBody::new(stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Frame::data(Bytes::from(vec![b'x'; 300])))
    }))
    .boxed()
}

type HyperClient = Client<HttpConnector, Full<Bytes>>;

/// Returns how many connections ten rejections and a success take.
async fn connections<L, R>(layer: L, rejection: fn() -> Answer) -> usize
where
    L: Layer<HyperClient>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<R>, Error = client::Error>,
    R: Body<Data = Bytes, Error = hyper::Error>,
{
    connections_of(layer, rejection, 10).await
}

/// Returns how many connections `rejections` rejections and a success take.
async fn connections_of<L, R>(layer: L, rejection: fn() -> Answer, rejections: usize) -> usize
where
    L: Layer<HyperClient>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<R>, Error = client::Error>,
    R: Body<Data = Bytes, Error = hyper::Error>,
{
    let server = serve(rejection, rejections).await;
    let client = layer.layer(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::post(format!("{}/v1/chat", server.origin()))
        .body(Full::from(r#"{"model":"0"}"#))
        .unwrap();
    let response = client.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "done");
    server.connections()
}

#[tokio::test]
async fn ten_rejections_of_64_kib_or_300_bytes_20_ms_late_take_one_connection() {
    let eleven = || (1..=11).map(|number| number.to_string());
    for rejection in [large, late] {
        let backoff = BackoffLayer::new().attempts(11);
        assert_eq!(connections(backoff, rejection).await, 1, "backoff");
        let keys = KeyRotationLayer::new(KeyPool::new(eleven()).unwrap());
        assert_eq!(connections(keys, rejection).await, 1, "key rotation");
        let fallback = FallbackLayer::new(eleven());
        assert_eq!(connections(fallback, rejection).await, 1, "fallback");
        let inspected = ServiceBuilder::new()
            .layer(BackoffLayer::new().attempts(11))
            .layer(InspectLayer::new());
        assert_eq!(connections(inspected, rejection).await, 1, "inspect");
        let max_wait = Duration::from_secs(60);
        let one = KeyRotationLayer::new(KeyPool::new(["one"]).unwrap());
        let one = one.wait_when_exhausted(max_wait);
        // Each time a hint of 1 ms proves false, the layer waits longer.
        assert_eq!(
            connections_of(one, rejection, 4).await,
            1,
            "waiting for a key"
        );
        let own = FallbackLayer::new(["0"]).wait_when_exhausted(max_wait);
        let own = connections_of(own, rejection, 4).await;
        assert_eq!(own, 1, "waiting for a target");
    }
}
