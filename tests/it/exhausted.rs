//! The response to a call that finds no key with capacity, over hyper's client and its body type.

use std::time::Duration;

use crate::loopback::{Answer, Loopback, chat};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, trail::Trail,
};

const HOST: &str = "api.example";

fn limited() -> Answer {
    Response::builder()
        .status(StatusCode::TOO_MANY_REQUESTS)
        .header("retry-after", "30")
        .body(Full::from("the provider's own").boxed())
        .unwrap()
}

fn answered() -> Answer {
    Response::new(Full::from("{}").boxed())
}

fn keys() -> KeyRotationLayer<tower_429::key_rotation::Reject> {
    KeyRotationLayer::new(KeyPool::new(["one"]).unwrap()).reject_when_exhausted()
}

#[tokio::test]
async fn key_rotation_responds_over_hyper_with_an_empty_body() {
    let provider = Loopback::serve(|_| limited()).await;
    let client = ServiceBuilder::new()
        .layer(keys())
        .layer(InspectLayer::new())
        .service(provider.client());

    let first = client.clone().oneshot(chat(HOST)).await.unwrap();
    let first = first.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(first, "the provider's own");

    let second = client.oneshot(chat(HOST)).await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(second.headers()[header::RETRY_AFTER] == "30");
    let second = second.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(second, Bytes::new());
    assert_eq!(provider.seen().len(), 1, "the second call was not sent");
}

#[tokio::test]
async fn fallback_takes_over_after_a_response_of_key_rotation_over_hyper() {
    let provider = Loopback::serve(|number| match number {
        0 => limited(),
        _ => answered(),
    });
    let provider = provider.await;
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(FallbackLayer::new(["second"]).wait_when_exhausted(Duration::from_secs(60)))
        .layer(keys().wait_when_exhausted(Duration::from_secs(1)))
        .layer(InspectLayer::new())
        .service(provider.client());

    for _ in 0..2 {
        let response = client.clone().oneshot(chat(HOST)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let trail = response.extensions().get::<Trail>().unwrap();
        assert!(trail.waited() < Duration::from_secs(1), "{trail}");
    }
    let models = provider.seen();
    let models: Vec<_> = models.iter().map(|seen| seen.model.as_str()).collect();
    assert_eq!(models, ["first", "second", "second"]);
}
