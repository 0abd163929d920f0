//! A batch that uses the full quota of its keys, and gets almost no 429.
//!
//! ```sh
//! cargo run --example batch
//! ```
//!
//! It needs no key and no network. 100 calls by 32 workers meet a limit of ten requests in a second for each
//! of two keys. So they take four seconds, because the first twenty are served at once.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use mock_provider::{LimitedProvider, Model};
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_429::{
    BackoffLayer, InspectLayer, KeyPool, KeyRotationLayer,
    inspect::InspectedBody,
    key_rotation::{Key, PoolError},
};
use tower_http::timeout::TimeoutLayer;

const CALLS: usize = 100;
const WORKERS: usize = 32;

/// `B` is the body of the client's responses, `E` its error.
pub(crate) type Outbound<B, E> =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<InspectedBody<B>>, E>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let model = Model {
        name: "large",
        limit: 10,
        thinks: Duration::from_millis(100),
    };
    let provider = LimitedProvider::start(&[model], Duration::from_secs(1)).await?;
    let uri: Arc<str> = format!("{}/v1/chat/completions", provider.origin()).into();

    let keys = ["alpha", "beta"].map(|label| Key::new(format!("sk-{label}")).label(label));
    let http = Client::builder(TokioExecutor::new()).build_http();
    let client = outbound(key_pool(keys)?, http);

    let start = now();
    let calls = stream::iter(0..CALLS).map(|number| {
        let (client, uri) = (client.clone(), uri.clone());
        async move {
            let body = format!(r#"{{"model":"large","messages":[],"user":"{number}"}}"#);
            let request = Request::post(&*uri)
                .header("content-type", "application/json")
                .body(Full::from(body))?;
            let response = client.oneshot(request).await?;
            let status = response.status();
            response.into_body().collect().await?;
            Ok::<_, BoxError>(status)
        }
    });
    let statuses: Vec<_> = calls.buffer_unordered(WORKERS).collect().await;
    let took = start.elapsed().as_secs_f64();

    let is_answered = |status: &&Result<StatusCode, _>| matches!(status, Ok(StatusCode::OK));
    let answered = statuses.iter().filter(is_answered).count();
    let log = provider.log();
    let limited = log.iter().filter(|entry| entry.limited).count();
    println!("{answered} of {CALLS} calls answered in {took:.1} s, with {limited} 429s");
    for label in ["alpha", "beta"] {
        let served = log
            .iter()
            .filter(|entry| entry.project == label && !entry.limited);
        println!("  {label} served {}", served.count());
    }
    Ok(())
}

/// Returns a pool that uses the key with the most capacity.
pub(crate) fn key_pool(keys: impl IntoIterator<Item = Key>) -> Result<KeyPool, PoolError> {
    KeyPool::builder(keys).least_loaded().build()
}

/// Returns the stack over any HTTP client.
pub(crate) fn outbound<S, B, E>(keys: KeyPool, http: S) -> Outbound<B, E>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = E>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
    E: Error + Send + Sync + 'static,
{
    // A call waits for a key for up to an hour.
    let keys = KeyRotationLayer::new(keys).wait_when_exhausted(Duration::from_secs(3_600));
    let stack = ServiceBuilder::new()
        // The pool below waits for every limit. This layer waits if the provider is overloaded or down.
        .layer(BackoffLayer::new().attempts(8).on_unavailable())
        .layer(keys)
        // Ends each attempt that takes too long. Then the outer layer waits and sends again.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(60),
        ))
        .layer(InspectLayer::new())
        .service(http);
    BoxCloneSyncService::new(stack)
}

/// The example measures time.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
