//! First events of streams: the body of a response passes through unchanged, whatever it begins with.
//!
//! The input is a byte for the content type, a byte for the length of the frames, and the body.

#![no_main]

use std::{
    convert::Infallible,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{self, Runtime};
use tower::{Layer, ServiceExt, service_fn};
use tower_429::{InspectLayer, rejection::Rejection};

const TYPES: [&str; 4] = [
    "text/event-stream",
    "application/vnd.amazon.eventstream",
    "application/json",
    "text/event-stream; charset=utf-8",
];

thread_local! {
    static RUNTIME: Option<Runtime> = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .ok();
}

fuzz_target!(|input: &[u8]| {
    let [kind, length, body @ ..] = input else {
        return;
    };
    let _ = Rejection::from_event(Some("error"), body, UNIX_EPOCH);
    let _ = Rejection::from_event(None, body, UNIX_EPOCH);
    let kind = TYPES[usize::from(*kind) % TYPES.len()];
    let length = usize::from(*length).max(1);
    RUNTIME.with(|runtime| {
        let Some(runtime) = runtime else { return };
        assert_eq!(runtime.block_on(through(kind, length, body)), body);
    });
});

/// Returns the body that leaves the layer if it arrives in frames of this length.
async fn through(kind: &'static str, length: usize, body: &[u8]) -> Bytes {
    let chunks: Vec<_> = body.chunks(length).map(Bytes::copy_from_slice).collect();
    let provider = service_fn(move |_: Request<()>| {
        let frames = chunks.clone().into_iter().map(Frame::data);
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        let response = Response::builder().header("content-type", kind).body(body);
        async { response }
    });
    let client = InspectLayer::new()
        .first_event(Duration::from_secs(1))
        .layer(provider);
    let Ok(response) = client.oneshot(Request::new(())).await else {
        return Bytes::new();
    };
    match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    }
}
