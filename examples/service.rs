//! A service whose users wait for the response: another key at once, else another model, else another
//! provider. A call waits only if all of them are limited.
//!
//! ```sh
//! cargo run --example service
//! ```
//!
//! It needs no key and no network. 140 calls at once are more than all models can serve in a window, so the
//! last ones wait. Then the first provider is down, and the other one serves the calls.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use mock_provider::{LimitedProvider, Model};
use tokio::{net::TcpListener, time::Instant};
use tower::{BoxError, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, fallback::Target,
    inspect::InspectedBody, key_rotation::Key, trail::Trail,
};

/// No user waits for longer than this.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a call waits for a key before another model serves it.
const MOMENT: Duration = Duration::from_millis(200);
const CALLS: usize = 140;
/// How long the provider's limits last.
const WINDOW: Duration = Duration::from_secs(2);

type Outbound =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<InspectedBody<Incoming>>, BoxError>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (first, second) = (provider().await?, provider().await?);
    // Nothing listens at this address any more.
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let down = format!("http://{}", unused.local_addr()?);
    drop(unused);
    let client = outbound(&[first.origin(), down.clone()], &second.origin())?;

    println!("{CALLS} calls at once:");
    let start = now();
    let calls = (0..CALLS).map(|_| chat(client.clone(), first.origin()));
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    for trail in join_all(calls).await {
        let trail = trail?;
        let model = trail.attempts().last().and_then(|last| last.model.clone());
        *served
            .entry(model.unwrap_or_default().to_string())
            .or_default() += 1;
    }
    println!(
        "  served by {served:?} within {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let log = [first.log(), second.log()].concat();
    let limited = log.iter().filter(|entry| entry.limited).count();
    println!("  {} requests, {limited} of them limited", log.len());

    // All limits are free again.
    tokio::time::sleep(WINDOW).await;
    println!("the first provider is down:");
    println!(
        "  {}",
        chat(client, down).await?.to_string().replace('\n', "\n  ")
    );
    Ok(())
}

/// The stack. `addresses` are those of the preferred provider.
fn outbound(addresses: &[String], other: &str) -> Result<Outbound, BoxError> {
    let keys = || ["alpha", "beta"].map(|label| Key::new(format!("sk-{label}")).label(label));
    let mut own = KeyPool::builder(keys());
    for address in addresses {
        own = own.for_origin(address);
    }
    let others = KeyPool::builder(keys()).for_origin(other).build()?;
    let models = FallbackLayer::new([Target::model("small"), Target::same_model_at(other)?]);
    let stack = ServiceBuilder::new()
        // Cancels the send that is in progress.
        .timeout(LIMIT)
        // Waits if all targets are overloaded or down. No wait exceeds the deadline.
        .layer(BackoffLayer::new().deadline(LIMIT).on_unavailable())
        // Sends to the next target at once, and waits only if all of them are limited.
        .layer(models.on_unavailable().wait_when_exhausted(LIMIT))
        .layer(
            KeyRotationLayer::new(own.build()?)
                .pool(others)
                .wait_when_exhausted(MOMENT)
                .reject_when_exhausted(),
        )
        .layer(InspectLayer::new())
        .service(Client::builder(TokioExecutor::new()).build_http());
    Ok(BoxCloneSyncService::new(stack))
}

/// Two models with room for 20 and 80 requests in a window, by two keys.
async fn provider() -> std::io::Result<LimitedProvider> {
    let model = |name, limit| Model {
        name,
        limit,
        thinks: Duration::from_millis(100),
    };
    let models = [model("large", 10), model("small", 40)];
    LimitedProvider::start(&models, WINDOW).await
}

async fn chat(client: Outbound, origin: String) -> Result<Trail, BoxError> {
    let request = Request::post(format!("{origin}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(Full::from(r#"{"model":"large","messages":[]}"#))?;
    let response = client.oneshot(request).await?;
    if !response.status().is_success() {
        return Err(format!("the provider said {}", response.status()).into());
    }
    let trail = response.extensions().get::<Trail>().cloned();
    response.into_body().collect().await?;
    trail.ok_or_else(|| "no layer was there".into())
}

/// The example is about time.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
