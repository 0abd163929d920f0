//! put `tower::buffer::BufferLayer::new(1024)` between the layer and the service

use http::{Request, Response};
use std::convert::Infallible;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::BackoffLayer;

pub struct Token;

pub async fn send() {
    let token = Token;
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .service(service_fn(move |_: Request<String>| {
            let _ = &token;
            async { Ok::<_, Infallible>(Response::new(String::new())) }
        }));
    let _ = ServiceExt::oneshot(client, Request::new(String::new())).await;
}
