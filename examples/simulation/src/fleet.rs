//! Several processes that send with the same keys.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower::{ServiceExt, service_fn, util::BoxCloneService};
use tower_429::{
    KeyPool,
    key_rotation::KeyPoolBuilder,
    share::{Engine, ExchangeRequest, ExchangeResponse, InMemory, Name, Sharing, share},
};

use crate::{
    Error,
    provider::Provider,
    run::Stack,
    stacks::{self, Client, Setup},
};

/// The number of processes, each with its own pool, and what they know of each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) processes: u32,
    pub(crate) knows: Knows,
    pub(crate) trouble: Trouble,
}

/// What happens to a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The engine is away from second 8 to 14, and comes back empty.
    Outage,
    /// Each second another process is replaced by a new one.
    Replaced,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Knows {
    Nothing,
    /// The number of processes.
    Count,
    /// What the others know, through an engine that is so far away.
    Shared(Duration),
}

// === impl Fleet ===

impl Fleet {
    pub(crate) const ONE: Self = Self {
        processes: 1,
        knows: Knows::Nothing,
        trouble: Trouble::None,
    };

    /// One process that shares through an engine nearby.
    pub(crate) const ONE_SHARED: Self = Self {
        knows: Knows::Shared(Duration::from_millis(1)),
        ..Self::ONE
    };

    /// The engine, if there is one.
    fn engine(self) -> Option<CountedEngine> {
        match self.knows {
            Knows::Shared(delay) => Some(CountedEngine {
                engine: InMemory::new().delay(delay),
                exchanges: Arc::default(),
            }),
            Knows::Nothing | Knows::Count => None,
        }
    }

    /// Configures a pool with what its process knows.
    pub(crate) fn configure(
        self,
        pool: KeyPoolBuilder,
        sharing: Option<Sharing>,
    ) -> KeyPoolBuilder {
        let pool = match self.knows {
            Knows::Count => pool.replicas(self.processes),
            Knows::Nothing | Knows::Shared(_) => pool,
        };
        match sharing {
            Some(sharing) => pool.for_origin("https://api.example").shared(sharing),
            None => pool,
        }
    }
}

/// An engine that counts the exchanges.
#[derive(Clone)]
struct CountedEngine {
    engine: InMemory,
    exchanges: Arc<AtomicUsize>,
}

impl Engine for CountedEngine {
    type Error = Infallible;

    async fn exchange(&mut self, request: ExchangeRequest) -> Result<ExchangeResponse, Infallible> {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.engine.exchange(request).await
    }
}

/// What a process shares through an engine, while its driver runs.
fn join(engine: &CountedEngine) -> Sharing {
    let (sharing, driver) = share(engine.clone(), Name::new("simulation"));
    tokio::spawn(driver);
    sharing
}

/// The processes of a run.
pub(crate) struct Processes {
    scenario: (Stack, Setup),
    provider: Provider,
    engine: Option<CountedEngine>,
    slots: Vec<Arc<Mutex<Client>>>,
    pub(crate) pools: Vec<KeyPool>,
}

// === impl Processes ===

impl Processes {
    pub(crate) async fn new(stack: Stack, setup: Setup, provider: Provider) -> Result<Self, Error> {
        let mut processes = Self {
            scenario: (stack, setup),
            provider,
            engine: setup.fleet.engine(),
            slots: Vec::new(),
            pools: Vec::new(),
        };
        let mut started = Vec::new();
        for _ in 0..setup.fleet.processes {
            let (sharing, client, pool) = processes.start()?;
            started.extend(sharing);
            processes.slots.push(Arc::new(Mutex::new(client)));
            processes.pools.extend(pool);
        }
        for sharing in started {
            sharing.ready().await;
        }
        Ok(processes)
    }

    fn start(&self) -> Result<(Option<Sharing>, Client, Option<KeyPool>), Error> {
        let (stack, setup) = self.scenario;
        let sharing = self.engine.as_ref().map(join);
        let provider = self.provider.clone();
        let (client, pool) = stacks::build(stack, (setup, sharing.clone()), provider)?;
        Ok((sharing, client, pool))
    }

    /// The client of each process. It is another one once the process was replaced.
    pub(crate) fn clients(&self) -> Vec<Client> {
        let clients = self.slots.iter().map(|slot| {
            let slot = slot.clone();
            let current = service_fn(move |request| {
                let client = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
                client.oneshot(request)
            });
            BoxCloneService::new(current)
        });
        clients.collect()
    }

    /// Returns how many exchanges were made with the engine.
    pub(crate) fn exchanges(&self) -> usize {
        let exchanges = self.engine.as_ref().map(|it| &it.exchanges);
        exchanges.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// What happens to the fleet while calls are sent. It never ends.
    pub(crate) async fn suffer(&self) -> Result<Infallible, Error> {
        match (self.scenario.1.fleet.trouble, &self.engine) {
            (Trouble::Outage, Some(CountedEngine { engine, .. })) => {
                sleep(Duration::from_secs(8)).await;
                engine.set_down(true);
                sleep(Duration::from_secs(6)).await;
                engine.forget();
                engine.set_down(false);
            }
            (Trouble::Replaced, _) => {
                for slot in self.slots.iter().cycle() {
                    sleep(Duration::from_secs(1)).await;
                    let (sharing, client, _) = self.start()?;
                    if let Some(sharing) = sharing {
                        sharing.ready().await;
                    }
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = client;
                }
            }
            _ => {}
        }
        std::future::pending().await
    }
}
