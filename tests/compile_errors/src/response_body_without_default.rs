//! put `tower_429::InspectLayer` next to the client: its body has a `Default`

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::{KeyPool, KeyRotationLayer};

pub struct Streamed(Bytes);

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

pub async fn send(pool: KeyPool) {
    let client = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool).reject_when_exhausted())
        .service(service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(Streamed(Bytes::new())))
        }));
    let _ = ServiceExt::oneshot(client, Request::new(String::new())).await;
}
