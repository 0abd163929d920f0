//! box the body inside the layer: `tower_http::map_response_body::MapResponseBodyLayer

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use std::{
    convert::Infallible,
    marker::PhantomPinned,
    pin::Pin,
    task::{Context, Poll},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::InspectLayer;

pub struct Pinned(PhantomPinned);

impl Body for Pinned {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

pub async fn send() {
    let client = ServiceBuilder::new()
        .layer(InspectLayer::new())
        .service(service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(Pinned(PhantomPinned)))
        }));
    let _ = ServiceExt::oneshot(client, Request::new(String::new())).await;
}
