//! The layers around hyper-util's client, which is a `Service<http::Request<_>>` as it is.
//!
//! ```sh
//! cargo run --example hyper_client
//! ```
//!
//! Three calls with a body in memory meet a limit of one request a second for each of two keys: the
//! second is answered with the other key, the third after a wait. A fourth streams its body, whose
//! type the layers do not know; it goes through `ReplayBody`.

mod common;

use std::convert::Infallible;

use bytes::Bytes;
use common::{Error, keys, provider, tell};
use futures::stream::{self, BoxStream, StreamExt};
use http::Request;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, KeyRotationLayer, replay::ReplayBody};
use tower_http::map_request_body::MapRequestBodyLayer;

/// A body that arrives chunk by chunk, such as a file.
type Upload = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let provider = provider().await?;
    let uri = format!("{}/v1/chat/completions", provider.origin());
    // One pool for both clients, so that they know of each other's limits.
    let pool = keys()?;

    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(pool.clone()))
        .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
    for _ in 0..3 {
        let request = Request::post(&uri)
            .header("content-type", "application/json")
            .body(Full::from(r#"{"model":"large","messages":[]}"#))?;
        tell(&client.clone().oneshot(request).await?);
    }

    println!("and streamed:");
    let streaming = ServiceBuilder::new()
        .layer(MapRequestBodyLayer::new(ReplayBody::new))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(pool))
        .service(Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Upload>>());
    let request = Request::post(&uri)
        .header("content-type", "application/json")
        .body(upload([r#"{"model":"#, r#""large","#, r#""messages":[]}"#]))?;
    tell(&streaming.oneshot(request).await?);
    Ok(())
}

fn upload<const N: usize>(chunks: [&'static str; N]) -> Upload {
    let frames = chunks.map(|chunk| Ok(Frame::data(Bytes::from(chunk))));
    StreamBody::new(stream::iter(frames).boxed())
}
