//! reqwest's client needs an adapter: `tower_429::client::ReqwestClient::new(client)`

use http::Request;
use tower::{ServiceBuilder, ServiceExt};
use tower_429::BackoffLayer;

pub async fn send() {
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .service(reqwest::Client::new());
    let request = Request::new(reqwest::Body::from("{}"));
    let _ = ServiceExt::oneshot(client, request).await;
}
