//! Several processes that share what they know, each with a pool of its own, on a paused clock.

mod alone;
mod away;
mod engine;
mod facts;
mod learned;
mod leases;
mod limits;
mod load;
mod remote;
mod scopes;
mod slots;
mod snapshot;
mod tokens;

use std::{io, time::Duration};

use http::{Request, Response};
use serde_json::json;
use tokio::task::JoinHandle;
use tower::{Layer as _, Service, ServiceExt};
use tower_429::{
    InspectLayer, KeyPool, KeyRotationLayer,
    inspect::InspectedBody,
    share::{InMemory, Name, Sharing, share},
};

use crate::script::*;

/// One process: what it shares through, and the task that makes its exchanges.
struct Process {
    sharing: Sharing,
    driver: JoinHandle<()>,
}

impl Process {
    /// Starts a process, and waits for its first exchange.
    async fn start(engine: &InMemory) -> Self {
        let process = Self::start_without_wait(engine);
        process.sharing.ready().await;
        process
    }

    fn start_without_wait(engine: &InMemory) -> Self {
        let (sharing, driver) = share(engine.clone(), Name::new("test").secret("secret"));
        Self {
            sharing,
            driver: tokio::spawn(driver),
        }
    }

    fn pool(&self, keys: &[&str]) -> KeyPool {
        let pool = KeyPool::builder(keys.iter().copied()).for_origin("https://api.example");
        pool.shared(self.sharing.clone()).build().unwrap()
    }
}

/// As many pools of the same keys, each of another process.
async fn pools(engine: &InMemory, keys: &[&str], count: usize) -> (Vec<Process>, Vec<KeyPool>) {
    let mut processes = Vec::new();
    let mut pools = Vec::new();
    for _ in 0..count {
        let process = Process::start_without_wait(engine);
        pools.push(process.pool(keys));
        processes.push(process);
    }
    for process in &processes {
        process.sharing.ready().await;
    }
    (processes, pools)
}

/// An engine that is a millisecond away.
fn near() -> InMemory {
    InMemory::new().delay(millis(1))
}

/// Returns a service whose calls wait for a key. The body of each 429 has this message.
fn explains(
    pool: &KeyPool,
    provider: &Provider,
    (message, max_wait): (&'static str, Duration),
) -> impl Service<
    Request<String>,
    Response = Response<InspectedBody<String>>,
    Error = io::Error,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let explained = provider.clone().map_response(move |response| {
        let is_rejected = response.status() == 429;
        response.map(|body| match is_rejected {
            true => json!({ "error": { "message": message } }).to_string(),
            false => body,
        })
    });
    KeyRotationLayer::new(pool.clone())
        .wait_when_exhausted(max_wait)
        .layer(InspectLayer::new().layer(explained))
}

/// Returns the status of the response.
async fn send<S, B>(service: &S, request: Request<String>) -> u16
where
    S: Service<Request<String>, Response = Response<B>, Error = io::Error> + Clone,
{
    let response = service.clone().oneshot(request).await.unwrap();
    response.status().as_u16()
}
