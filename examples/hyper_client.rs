//! The layers around hyper-util's client, which implements `Service<http::Request<_>>`.
//!
//! ```sh
//! cargo run --example hyper_client
//! ```
//!
//! Three calls with a body in memory meet a limit of one request per second for each of two keys. The second call
//! uses the other key, and the third waits. A fourth call streams its body. The layers do not know the type of that
//! body, so `ReplayBody` wraps it.

mod common;

use std::convert::Infallible;

use bytes::Bytes;
use common::{Error, keys, print_trail, provider};
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
    // One pool for both clients, so that they share limits.
    let pool = keys()?;

    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(pool.clone()))
        .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
    for _ in 0..3 {
        let request = Request::post(&uri)
            .header("content-type", "application/json")
            .body(Full::from(r#"{"model":"large","messages":[]}"#))?;
        print_trail(&client.clone().oneshot(request).await?);
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
    print_trail(&streaming.oneshot(request).await?);
    Ok(())
}

fn upload<const N: usize>(chunks: [&'static str; N]) -> Upload {
    let frames = chunks.map(|chunk| Ok(Frame::data(Bytes::from(chunk))));
    StreamBody::new(stream::iter(frames).boxed())
}
