//! bytes in memory are a `Full<Bytes>`

use http::{Request, Response};
use std::convert::Infallible;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::BackoffLayer;

pub async fn send() {
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .service(service_fn(async |_: Request<Vec<u8>>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
    let _ = ServiceExt::oneshot(client, Request::new(Vec::new())).await;
}
