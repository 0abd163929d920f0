//! All six orders of the three layers over real clients. The server limits keys and models, and checks every attempt.
//!
//! The sockets are real and the clock is paused. Time advances only while all tasks wait, so a limit ends because the
//! layers have waited for it, and not because the machine was slow.

mod foreign;
mod orders;
mod own_body;
mod provider;

use std::{convert::Infallible, pin::pin};

use crate::sockets::{Boxed, hyper_client, upload};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Full};
use orders::{in_every_order, succeeds};
use provider::{Framing, MODELS, body_for};
use tower::layer::util::Identity;

fn whole() -> Bytes {
    body_for(MODELS[0]).into()
}

/// Returns the body in chunks, each of which is pending at the first poll.
fn pieces() -> impl Stream<Item = Result<Bytes, Infallible>> {
    let body = whole();
    let pieces: Vec<_> = body
        .chunks(7_001)
        .map(|piece| body.slice_ref(piece))
        .collect();
    stream::iter(pieces).then(async |piece| {
        tokio::task::yield_now().await;
        Ok(piece)
    })
}

fn boxed_pieces() -> Boxed {
    let (sender, body) = upload();
    tokio::spawn(async move {
        let mut pieces = pin!(pieces());
        while let Some(Ok(piece)) = pieces.next().await {
            // Sending fails if the response arrives before the end of the upload. That is no error.
            let _ = sender.send(piece).await;
        }
    });
    body
}

/// Sends a body that `$body` makes, through every order over `$client`.
macro_rules! succeed_in_every_order {
    ($framing:expr, $client:expr, $body:expr) => {
        in_every_order!(Identity::new(), $client, async |order, stack| {
            succeeds(order, $framing, |_| stack, $body).await;
        })
    };
}

#[tokio::test(start_paused = true)]
async fn hyper_with_a_body_in_memory() {
    succeed_in_every_order!(Framing::Known, hyper_client(), Full::new(whole()));
    succeed_in_every_order!(Framing::Declared, hyper_client(), Full::new(whole()));
}

#[tokio::test(start_paused = true)]
async fn hyper_with_boxed_bodies() {
    succeed_in_every_order!(Framing::Known, hyper_client(), Full::new(whole()).boxed());
    succeed_in_every_order!(Framing::Declared, hyper_client(), boxed_pieces());
    succeed_in_every_order!(Framing::Chunked, hyper_client(), boxed_pieces());
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn hyper_with_a_streaming_body_of_axum() {
    use axum::body::Body;

    succeed_in_every_order!(
        Framing::Chunked,
        hyper_client(),
        Body::from_stream(pieces())
    );
    succeed_in_every_order!(
        Framing::Declared,
        hyper_client(),
        Body::from_stream(pieces())
    );
    succeed_in_every_order!(Framing::Known, hyper_client(), Body::from(whole()));
}

#[cfg(feature = "reqwest")]
#[tokio::test(start_paused = true)]
async fn reqwest_with_a_body_in_memory_and_one_that_streams() {
    use reqwest::Body;
    use tower_429::client::ReqwestClient;

    let client = || ReqwestClient::new(reqwest::Client::builder().no_proxy().build().unwrap());
    succeed_in_every_order!(Framing::Known, client(), Body::from(whole()));
    succeed_in_every_order!(Framing::Chunked, client(), Body::wrap_stream(pieces()));
    succeed_in_every_order!(Framing::Declared, client(), Body::wrap_stream(pieces()));
}
