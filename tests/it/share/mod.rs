//! Several processes that share what they know, each with a pool of its own, on a paused clock.

mod away;
mod engine;
mod facts;
mod leases;
mod limits;
mod load;
mod remote;
mod scopes;
mod snapshot;

use tokio::task::JoinHandle;
use tower_429::{
    KeyPool,
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
