//! `tower::ServiceExt::oneshot(client, request)` says why

use http::Request;
use tower::{ServiceBuilder, ServiceExt};
use tower_429::BackoffLayer;

pub async fn send() {
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .service(reqwest::Client::new());
    let _ = client
        .oneshot(Request::new(reqwest::Body::from("{}")))
        .await;
}
