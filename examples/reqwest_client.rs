//! The layers around reqwest's client, by the adapter `tower_429::client::ReqwestClient`.
//!
//! ```sh
//! cargo run --example reqwest_client --features reqwest
//! ```
//!
//! Four calls meet a limit of one request a second for each of two keys. The caller has little time,
//! so the third and fourth are answered by the lesser model.

mod common;

use std::time::Duration;

use common::{Error, keys, provider, tell};
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
            // No wait fits into it, so Backoff hands the rejection to Fallback at once.
            .extension(Call::new().deadline(Duration::from_millis(500)))
            .body(reqwest::Body::from(r#"{"model":"large","messages":[]}"#))?;
        let response = client.clone().oneshot(request).await?;
        tell(&response);
        // Back to reqwest's own type, for what it offers.
        let answer = reqwest::Response::from(response).text().await?;
        println!("  {answer}");
    }
    Ok(())
}
