//! The layers around reqwest's client, with the adapter `tower_429::client::ReqwestClient`.
//!
//! ```sh
//! cargo run --example reqwest_client --features reqwest
//! ```
//!
//! Four calls meet a limit of one request per second for each of two keys. Their deadline is short, so the fallback
//! model serves the third and the fourth.

mod common;

use std::time::Duration;

use common::{Error, keys, print_trail, provider};
use http::Request;
use reqwest::redirect::Policy;
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, Call, FallbackLayer, KeyRotationLayer, client::ReqwestClient};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let provider = provider().await?;
    let uri = format!("{}/v1/chat/completions", provider.origin());

    // A key must not follow a redirect to another origin.
    let http_client = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()?;
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(keys()?))
        .service(ReqwestClient::new(http_client));
    for _ in 0..4 {
        let request = Request::post(&uri)
            .header("content-type", "application/json")
            // No wait fits into the deadline, so Backoff returns the rejection to Fallback at once.
            .extension(Call::new().deadline(Duration::from_millis(500)))
            .body(reqwest::Body::from(r#"{"model":"large","messages":[]}"#))?;
        let response = client.clone().oneshot(request).await?;
        print_trail(&response);
        // Converts to reqwest's own type, because its methods read the body.
        let text = reqwest::Response::from(response).text().await?;
        println!("  {text}");
    }
    Ok(())
}
