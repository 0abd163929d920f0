//! HTTP/2: a rejected stream ends without its connection, and bodies may have trailers.

mod provider;

use std::{convert::Infallible, fmt::Debug, time::Duration};

use bytes::Bytes;
use futures::{future::join_all, stream};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use provider::{Answered, Provider, Reaction};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, trail::Trail,
};

type Boxed = BoxBody<Bytes, Infallible>;

fn client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

fn keys(count: usize) -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new((1..=count).map(|number| number.to_string())).unwrap())
}

/// Reads the response to its end. Returns how many attempts it took.
async fn is_answered<S, B, R>(client: S, provider: &Provider, body: B) -> usize
where
    S: Service<Request<B>, Response = Response<R>, Error: Debug>,
    R: Body<Data = Bytes, Error: Debug>,
{
    let request = Request::post(format!("{}/v1/chat", provider.origin)).body(body);
    let response = client.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let trail = response.extensions().get::<Trail>().unwrap().attempts();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-tokens"], "12");
    assert_eq!(body.to_bytes(), "done");
    trail.len()
}

/// More than a layer drains, and more than the client's window for a stream. Ten of them exceed the window for the
/// connection.
const LONG: Reaction = Reaction::Reject(3 * 1024 * 1024);

#[tokio::test]
async fn ten_long_rejections_take_one_connection() {
    macro_rules! take_one {
        ($layers:expr) => {
            let provider = Provider::start(&[LONG; 10]).await;
            let client = ServiceBuilder::new().layer($layers).service(client());
            let body = Full::from(r#"{"model": "0"}"#);
            assert_eq!(is_answered(client, &provider, body).await, 11);
            assert_eq!(provider.connections(), 1, stringify!($layers));
        };
    }
    take_one!(BackoffLayer::new().attempts(11));
    take_one!(keys(11));
    take_one!(FallbackLayer::new((1..=10).map(|model| model.to_string())));
    take_one!(
        ServiceBuilder::new()
            .layer(BackoffLayer::new().attempts(11))
            .layer(InspectLayer::new())
            .into_inner()
    );
}

/// Returns a streaming body of `kib` KiB with trailers.
fn upload(kib: usize) -> (Boxed, Answered) {
    let pieces: Vec<_> = (0..kib).map(|number| vec![number as u8; 1024]).collect();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    let whole = Answered {
        body: pieces.concat().into(),
        trailers: trailers.clone(),
        ..Answered::default()
    };
    let data = pieces.into_iter().map(|piece| Frame::data(piece.into()));
    let frames = data.chain([Frame::trailers(trailers)]).map(Ok);
    (StreamBody::new(stream::iter(frames)).boxed(), whole)
}

#[tokio::test]
async fn upload_that_the_provider_stops_reading_is_sent_again_completely() {
    // The provider resets the stream while most of the upload is unsent, because the window is full.
    let provider = Provider::start(&[Reaction::RejectUnread; 2]).await;
    let (body, whole) = upload(1_900);
    let client = BackoffLayer::new().layer(client());
    assert_eq!(is_answered(client, &provider, body).await, 3);
    assert!(provider.answered() == [whole], "other bytes");
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn trailers_of_an_upload_are_sent_each_time() {
    let provider = Provider::start(&[Reaction::Reject(1), Reaction::Reject(1)]).await;
    let (body, whole) = upload(3);
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(keys(2))
        .layer(InspectLayer::new())
        .service(client());
    assert_eq!(is_answered(client, &provider, body).await, 3);
    let [answered] = &provider.answered()[..] else {
        panic!("{:?}", provider.answered());
    };
    assert_eq!(answered.body, whole.body);
    assert_eq!(answered.trailers, whole.trailers);
}

#[tokio::test]
async fn retry_uses_a_new_connection_if_the_provider_closes_the_first() {
    let provider = Provider::start(&[Reaction::RejectAndLeave; 2]).await;
    let client = BackoffLayer::new().layer(client());
    let body = Full::from("a question");
    assert_eq!(is_answered(client, &provider, body).await, 3);
    assert_eq!(provider.connections(), 3);
}

#[tokio::test]
async fn concurrent_calls_over_one_connection_each_use_another_key() {
    let provider = Provider::start(&[Reaction::Reject(1); 8]).await;
    let client = ServiceBuilder::new()
        .layer(keys(2).wait_when_exhausted(Duration::from_secs(60)))
        .layer(InspectLayer::new())
        .service(client());
    let calls = (0..50).map(|_| is_answered(client.clone(), &provider, Full::from("a question")));
    let attempts: usize = join_all(calls).await.into_iter().sum();
    assert_eq!((attempts, provider.requests()), (58, 58));
    assert_eq!(provider.connections(), 1);
    let mut keys: Vec<_> = provider.answered().into_iter().map(|it| it.key).collect();
    assert_eq!(keys.len(), 50);
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys, ["Bearer 1", "Bearer 2"]);
}
