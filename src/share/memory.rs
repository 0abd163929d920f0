//! An engine in this process.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    engine::Engine,
    fact::Facts,
    id::Id,
    message::{ExchangeRequest, ExchangeResponse, Grant, LeaseRequest, LimitResponse, Unit},
    timing::{HOLDS_FOR, LEARNS_FOR, LIVES_FOR},
};
use crate::clock;

/// An engine in this process: for tests, and for several pools of one process.
///
/// A clone is the same engine.
///
/// ```
/// use tower_429::{KeyPool, share::{InMemory, Name, share}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let engine = InMemory::new();
/// let pools = ["chat", "batch"].map(|_| {
///     let (share, driver) = share(engine.clone(), Name::new("openai"));
///     tokio::spawn(driver);
///     KeyPool::builder(["sk-1", "sk-2"])
///         .for_origin("https://api.openai.com")
///         .shared(share)
///         .build()
/// });
/// # assert!(pools.iter().all(|pool| pool.is_ok()));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InMemory {
    state: Arc<Mutex<EngineState>>,
    delay: Duration,
}

#[derive(Debug, Default)]
struct EngineState {
    epoch: u64,
    is_down: bool,
    /// The number of the newest fact.
    newest: u64,
    facts: Facts,
    /// The number of each fact, and when it came.
    numbers: BTreeMap<(Id, Id), (u64, Instant)>,
    units: BTreeMap<(Id, Unit), UnitUsage>,
    /// The number of the last exchange of each process, and when it was.
    replicas: BTreeMap<Id, (u64, Instant)>,
    learns_until: Option<Instant>,
}

/// What was used of a limit in one unit, and who holds what.
#[derive(Debug, Default)]
struct UnitUsage {
    used: u64,
    of_replicas: BTreeMap<Id, ReplicaHold>,
}

#[derive(Clone, Copy, Debug)]
struct ReplicaHold {
    held: u64,
    used: u64,
}

// === impl InMemory ===

impl InMemory {
    /// Returns an engine that knows nothing.
    pub fn new() -> Self {
        let state = EngineState {
            epoch: fastrand::u64(..),
            ..EngineState::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            delay: Duration::ZERO,
        }
    }

    /// Sets how long an exchange takes; nothing unless set.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Makes the engine unreachable, or reachable again: an exchange does not end while it is unreachable.
    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// Forgets everything, as a server does that is restarted.
    pub fn forget(&self) {
        let mut state = self.lock();
        *state = EngineState {
            epoch: fastrand::u64(..),
            is_down: state.is_down,
            ..EngineState::default()
        };
    }

    fn lock(&self) -> MutexGuard<'_, EngineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for InMemory {
    type Error = Infallible;

    async fn exchange(&mut self, request: ExchangeRequest) -> Result<ExchangeResponse, Infallible> {
        sleep(self.delay / 2).await;
        while self.lock().is_down {
            sleep(Duration::from_secs(1)).await;
        }
        let response = self.lock().exchange(request, clock::now());
        sleep(self.delay / 2).await;
        Ok(response)
    }
}

// === impl EngineState ===

impl EngineState {
    fn exchange(&mut self, request: ExchangeRequest, now: Instant) -> ExchangeResponse {
        let mut response = ExchangeResponse::new(self.epoch);
        let last = self
            .replicas
            .get(&request.replica)
            .map(|(number, _)| *number);
        if last.is_some_and(|last| request.number <= last) {
            return response;
        }
        if request.epoch.is_some_and(|epoch| epoch != self.epoch) {
            // Others hold what this engine does not know of.
            self.learns_until.get_or_insert(now + LEARNS_FOR);
        }
        self.forget_old(now);
        match request.is_last {
            true => self.leave(request.replica),
            false => {
                self.replicas.insert(request.replica, (request.number, now));
            }
        }
        response.is_learning = self.learns_until.is_some_and(|until| now < until);
        response.replicas = self.replicas.keys().copied().collect();
        let known = match request.epoch == Some(self.epoch) {
            true => request.newest_fact,
            false => 0,
        };
        let mut leases = Vec::new();
        for limit in request.limits {
            if let Some(fact) = limit.fact {
                if self.facts.merge(limit.limit, request.replica, fact) {
                    self.newest += 1;
                    let at = (self.newest, now);
                    self.numbers.insert((limit.limit, request.replica), at);
                }
            }
            leases.push((limit.limit, limit.leases));
        }
        for (limit, requests) in leases {
            let grant = |(unit, lease)| {
                let at = (request.replica, response.is_learning, now);
                (unit, self.grant((limit, unit), lease, at))
            };
            let grants = requests.into_iter().map(grant).collect();
            response.limits.push(LimitResponse {
                grants,
                ..LimitResponse::new(limit)
            });
        }
        self.add_facts(
            &mut response,
            (request.replica, known, &request.new_limits),
            now,
        );
        response.newest_fact = self.newest;
        response
    }

    /// Notes what a process holds and has used, and grants what is free.
    fn grant(
        &mut self,
        unit: (Id, Unit),
        request: LeaseRequest,
        (replica, is_learning, now): (Id, bool, Instant),
    ) -> Grant {
        let live = self.replicas.len().max(1) as u64;
        let usage = self.units.entry(unit).or_default();
        let known = usage
            .of_replicas
            .get(&replica)
            .map_or(request.used, |it| it.used);
        usage.used = usage
            .used
            .saturating_add(request.used.saturating_sub(known));
        let others = usage.of_replicas.iter();
        let replicas = &self.replicas;
        let is_live = |id: &Id| {
            let last = replicas.get(id);
            last.is_some_and(|(_, at)| now < *at + HOLDS_FOR)
        };
        let others = others.filter(|(id, _)| **id != replica && is_live(id));
        let held = others
            .map(|(_, it)| it.held)
            .fold(request.held, u64::saturating_add);
        let free = request
            .ceiling
            .saturating_sub(usage.used.saturating_add(held));
        // No process takes all while others may need some.
        let part = free.min(free.div_ceil(live).max(request.least));
        let granted = match request.wanted.min(part) {
            granted if granted >= request.least && !is_learning => granted,
            _ => 0,
        };
        let held = ReplicaHold {
            held: request.held.saturating_add(granted),
            used: request.used,
        };
        usage.of_replicas.insert(replica, held);
        Grant::new(usage.used, granted)
    }

    /// Adds the facts that a process has not received, and what was used of their limits.
    fn add_facts(
        &self,
        response: &mut ExchangeResponse,
        (replica, known, new_limits): (Id, u64, &[Id]),
        now: Instant,
    ) {
        for ((limit, of), (number, came)) in &self.numbers {
            let is_new = *number > known || new_limits.contains(limit);
            let (true, false, Some(fact)) = (is_new, *of == replica, self.facts.get(*limit, *of))
            else {
                continue;
            };
            let age = now.saturating_duration_since(*came);
            let fact = (*of, fact.clone(), age);
            match response.limits.iter_mut().find(|it| it.limit == *limit) {
                Some(known) => known.facts.push(fact),
                None => response.limits.push(LimitResponse {
                    grants: self.used(*limit),
                    facts: vec![fact],
                    ..LimitResponse::new(*limit)
                }),
            }
        }
    }

    /// Returns what was used of a limit, and grants nothing.
    fn used(&self, limit: Id) -> Vec<(Unit, Grant)> {
        let of_unit = |unit| {
            let usage = self.units.get(&(limit, unit))?;
            Some((unit, Grant::new(usage.used, 0)))
        };
        Unit::ALL.into_iter().filter_map(of_unit).collect()
    }

    /// Frees what a process holds that ends.
    fn leave(&mut self, replica: Id) {
        self.replicas.remove(&replica);
        for usage in self.units.values_mut() {
            usage.of_replicas.remove(&replica);
        }
    }

    /// Forgets the processes that are gone, and what they knew once it no longer matters.
    fn forget_old(&mut self, now: Instant) {
        self.replicas.retain(|_, (_, at)| now < *at + LIVES_FOR);
        let (replicas, facts) = (&self.replicas, &self.facts);
        self.numbers.retain(|(limit, of), (_, at)| {
            let lasts = facts
                .get(*limit, *of)
                .map_or(Duration::ZERO, |it| it.lasts());
            replicas.contains_key(of) || now < *at + lasts
        });
        let numbers = &self.numbers;
        self.facts
            .retain(|limit, of| numbers.contains_key(&(limit, of)));
    }
}
