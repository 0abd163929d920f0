//! `tower::ServiceExt::oneshot(client, request)` says why

use tower::{ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, client::ReqwestService};

pub async fn send(request: reqwest::Request) {
    let client = ServiceBuilder::new()
        .layer(ReqwestService::layer())
        .layer(BackoffLayer::new())
        .service(reqwest::Client::new());
    let _ = client.oneshot(request).await;
}
