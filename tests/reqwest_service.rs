//! A stack behind reqwest's own types, over loopback.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{
    FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    client::{ReqwestClient, ReqwestService},
    trail::Trail,
};

/// Refuses the first key, and sends the body of others back; counts the requests.
async fn provider() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let echo = post(move |headers: HeaderMap, body: Bytes| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        match headers["authorization"].as_bytes() {
            b"Bearer one" => (StatusCode::TOO_MANY_REQUESTS, Bytes::from("too many")),
            _ => (StatusCode::OK, body),
        }
    });
    let app = Router::new().route("/v1/echo", echo);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (origin, count)
}

fn client(
    key_count: usize,
) -> impl Service<reqwest::Request, Response = reqwest::Response, Error = reqwest::Error> + Clone {
    let keys = ["one", "two"].into_iter().take(key_count);
    ServiceBuilder::new()
        .layer_fn(ReqwestService::new)
        .layer(FallbackLayer::new(["small"]))
        .layer(KeyRotationLayer::new(KeyPool::new(keys).unwrap()))
        .layer(InspectLayer::new())
        .service(ReqwestClient::new(reqwest::Client::new()))
}

#[tokio::test]
async fn a_request_of_reqwest_is_asked_again_and_answered_with_a_response_of_reqwest() {
    let (origin, count) = provider().await;
    let url = format!("{origin}/v1/echo?page=1");
    let request = reqwest::Client::new()
        .post(&url)
        .timeout(Duration::from_secs(60))
        .body(r#"{"model": "large"}"#)
        .build()
        .unwrap();
    let response = client(2).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.url().as_str(), url);
    let trail = response.extensions().get::<Trail>().unwrap().attempts();
    assert_eq!((trail.len(), count.load(Ordering::SeqCst)), (2, 2));
    assert_eq!(response.text().await.unwrap(), r#"{"model": "large"}"#);
}

#[tokio::test]
async fn the_provider_s_own_last_answer_comes_through_with_its_body() {
    let (origin, count) = provider().await;
    let request = reqwest::Client::new()
        .post(format!("{origin}/v1/echo"))
        .body(r#"{"model": "large"}"#);
    let response = client(1).oneshot(request.build().unwrap()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(
        count.load(Ordering::SeqCst),
        2,
        "the lesser model was asked"
    );
    assert_eq!(response.text().await.unwrap(), "too many");
}

#[tokio::test]
async fn what_is_no_request_to_http_is_an_error_without_its_url() {
    let url = "data:text/plain,SECRET key".parse().unwrap();
    let request = reqwest::Request::new(reqwest::Method::GET, url);
    let error = client(1).oneshot(request).await.unwrap_err();
    assert!(error.is_builder(), "{error:?}");
    assert!(
        !format!("{error} {error:?}").contains("SECRET"),
        "{error:?}"
    );
}
