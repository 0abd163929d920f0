//! A service whose users wait for the response. A call retries at once with another key, then another model, then
//! another provider. It waits only if all of them are limited.
//!
//! ```sh
//! cargo run --example service
//! ```
//!
//! It needs no key and no network. 140 calls at once are more than all models can serve in a window, so the
//! last ones wait. Then the first provider is down, and the other one serves the calls.

use std::{collections::BTreeMap, error::Error, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use mock_provider::{LimitedProvider, Model};
use tokio::{net::TcpListener, time::Instant};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, fallback::Target,
    inspect::InspectedBody, key_rotation::Key, trail::Trail,
};

/// The longest time that a user waits.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a call waits for a key before another model serves it.
const MOMENT: Duration = Duration::from_millis(200);
const CALLS: usize = 140;
/// The window of the provider's limits.
const WINDOW: Duration = Duration::from_secs(2);

/// `B` is the body of the client's responses.
pub(crate) type Outbound<B = Incoming> =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<InspectedBody<B>>, BoxError>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (first, second) = (provider().await?, provider().await?);
    // Nothing listens at this address any more.
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let down = format!("http://{}", unused.local_addr()?);
    drop(unused);
    let keys = key_rotation(&[first.origin(), down.clone()], &second.origin())?;
    let models = [
        Target::model("small"),
        Target::same_model_at(&second.origin())?,
    ];
    let http = Client::builder(TokioExecutor::new()).build_http();
    let client = outbound(keys, FallbackLayer::new(models), http);

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

/// Returns the stack over any HTTP client.
pub(crate) fn outbound<S, B>(keys: KeyRotationLayer, models: FallbackLayer, http: S) -> Outbound<B>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Error + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let stack = ServiceBuilder::new()
        // Cancels the send that is in progress.
        .timeout(LIMIT)
        // Waits if all targets are overloaded or down. No wait exceeds the deadline.
        .layer(BackoffLayer::new().deadline(LIMIT).on_unavailable())
        // Retries with the next target at once, and waits only if all of them are limited.
        .layer(models.on_unavailable().wait_when_exhausted(LIMIT))
        // Retries with the next key at once.
        .layer(keys.wait_when_exhausted(MOMENT).reject_when_exhausted())
        .layer(InspectLayer::new())
        .service(http);
    BoxCloneSyncService::new(stack)
}

/// Returns two keys for the preferred provider at these addresses, and the same two for the other provider.
fn key_rotation(addresses: &[String], other: &str) -> Result<KeyRotationLayer, BoxError> {
    let keys = || ["alpha", "beta"].map(|label| Key::new(format!("sk-{label}")).label(label));
    let mut own = KeyPool::builder(keys());
    for address in addresses {
        own = own.for_origin(address);
    }
    let others = KeyPool::builder(keys()).for_origin(other).build()?;
    Ok(KeyRotationLayer::new(own.build()?).pool(others))
}

/// Starts a provider with two models. Two keys together may send 20 and 80 requests to them in a window.
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
        return Err(format!("the provider returned {}", response.status()).into());
    }
    let trail = response.extensions().get::<Trail>().cloned();
    response.into_body().collect().await?;
    trail.ok_or_else(|| "the response has no trail".into())
}

/// The example measures time.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
