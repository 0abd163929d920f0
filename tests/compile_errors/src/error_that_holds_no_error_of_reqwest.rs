//! put `.map_err(BoxError::from)` between the layers and a client such as hyper's

use std::convert::Infallible;

use http::{Request, Response};
use reqwest::Body;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::{BackoffLayer, client::ReqwestService};

pub async fn send(request: reqwest::Request) {
    let client = ServiceBuilder::new()
        .layer(ReqwestService::layer())
        .layer(BackoffLayer::new())
        .service(service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::default()))
        }));
    let _ = ServiceExt::oneshot(client, request).await;
}
