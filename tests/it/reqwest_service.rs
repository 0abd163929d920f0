//! A stack behind reqwest's types, over loopback.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use mock_provider::{Server, bearer, read};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_429::{
    FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    client::{ReqwestClient, ReqwestService},
    trail::Trail,
};

/// Starts a provider that rejects the first key, and echoes the bodies of other requests. Counts the requests.
async fn provider() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let server = Server::http1(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            let request = read(request).await.unwrap();
            let (status, body) = match bearer(request.headers()) {
                Some("one") => (429, Bytes::from("too many")),
                _ => (200, request.into_body()),
            };
            let response = Response::builder().status(status);
            response.body(Full::new(body)).unwrap()
        }
    });
    (server.await.unwrap().origin(), count)
}

fn client(
    key_count: usize,
) -> impl Service<reqwest::Request, Response = reqwest::Response, Error = reqwest::Error> + Clone {
    let keys = ["one", "two"].into_iter().take(key_count);
    ServiceBuilder::new()
        .layer(ReqwestService::layer())
        .layer(FallbackLayer::new(["small"]))
        .layer(KeyRotationLayer::new(KeyPool::new(keys).unwrap()))
        .layer(InspectLayer::new())
        .service(ReqwestClient::new(reqwest::Client::new()))
}

#[tokio::test]
async fn reqwest_request_is_retried_and_gets_a_reqwest_response() {
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
async fn last_response_of_the_provider_is_returned_with_its_body() {
    let (origin, count) = provider().await;
    let request = reqwest::Client::new()
        .post(format!("{origin}/v1/echo"))
        .body(r#"{"model": "large"}"#);
    let response = client(1).oneshot(request.build().unwrap()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(
        count.load(Ordering::SeqCst),
        2,
        "the request went to the fallback model"
    );
    assert_eq!(response.text().await.unwrap(), "too many");
}

#[tokio::test]
async fn request_that_http_rejects_is_an_error_without_its_url() {
    let url = "data:text/plain,SECRET key".parse().unwrap();
    let request = reqwest::Request::new(reqwest::Method::GET, url);
    let error = client(1).oneshot(request).await.unwrap_err();
    assert!(error.is_builder(), "{error:?}");
    assert!(
        !format!("{error} {error:?}").contains("SECRET"),
        "{error:?}"
    );
}

/// An error type like that of a client with middleware.
#[derive(Debug)]
enum MiddlewareError {
    Middleware,
    Reqwest(reqwest::Error),
}

impl From<reqwest::Error> for MiddlewareError {
    fn from(error: reqwest::Error) -> Self {
        Self::Reqwest(error)
    }
}

#[tokio::test]
async fn client_with_another_error_type_keeps_it() {
    let failing = service_fn(
        async |request: reqwest::Request| match request.url().path() {
            "/middleware" => Err(MiddlewareError::Middleware),
            _ => Ok(reqwest::get(request.url().clone()).await?),
        },
    );
    let client = ServiceBuilder::new()
        .layer(ReqwestService::layer())
        .layer(KeyRotationLayer::new(KeyPool::new(["one"]).unwrap()))
        .service(ReqwestClient::new(failing));
    let send = async |url: &str| {
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        client.clone().oneshot(request).await
    };
    let (origin, _) = provider().await;
    assert_eq!(send(&origin).await.unwrap().status(), 200);
    let error = send("http://provider.example/middleware")
        .await
        .unwrap_err();
    assert!(matches!(error, MiddlewareError::Middleware), "{error:?}");
    let error = send("data:text/plain,x").await.unwrap_err();
    assert!(
        matches!(&error, MiddlewareError::Reqwest(error) if error.url().is_none()),
        "{error:?}"
    );
}

#[tokio::test]
async fn request_that_reqwest_rejects_is_an_error_of_the_client() {
    let never = service_fn(async |_: reqwest::Request| Err(MiddlewareError::Middleware));
    let request = http::Request::get("/relative").body(reqwest::Body::default());
    let error = ReqwestClient::new(never).oneshot(request.unwrap()).await;
    assert!(
        matches!(error, Err(MiddlewareError::Reqwest(_))),
        "{error:?}"
    );
}
