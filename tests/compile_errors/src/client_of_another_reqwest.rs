//! is no client of reqwest 0.13

use http::Request;
use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, client::ReqwestClient};

/// Stands for the client of reqwest 0.12, whose types differ from those of 0.13.
#[derive(Clone)]
pub struct Client;

impl Service<Request<()>> for Client {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(()))
    }
}

pub async fn send() {
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .service(ReqwestClient::new(Client));
    let request = Request::new(reqwest::Body::from("{}"));
    let _ = ServiceExt::oneshot(client, request).await;
}
