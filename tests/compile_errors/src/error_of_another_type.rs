//! the error of the inner service is `std::io::Error`, and `on_error` is for another type

use http::{Request, Response};
use std::io;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::BackoffLayer;

pub async fn send() {
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new().on_error(|error: &std::fmt::Error| error.to_string().is_empty()))
        .service(service_fn(async |_: Request<String>| {
            Err::<Response<String>, _>(io::Error::other("x"))
        }));
    let _ = ServiceExt::oneshot(client, Request::new(String::new())).await;
}
