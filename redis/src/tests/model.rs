//! The script responds as the engine in memory does, whatever processes send.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*, test_runner::TestCaseResult};
use tower_429::{
    rejection::{Reason, Rejection},
    share::{
        Engine, ExchangeRequest, ExchangeResponse, Fact, Id, InMemory, LIVES_FOR, LeaseRequest,
        LimitRequest, RejectedFact, Unit,
    },
};

use super::{Clock, Server};
use crate::engine::RedisEngine;

const PROCESSES: usize = 4;

const UNITS: [Unit; 2] = [Unit::Requests, Unit::InputTokens];

/// No case lasts longer. The script removes a process after a minute, and the engine in memory does not.
const LONGEST: Duration = Duration::from_secs(55);

/// Times around the bounds of an engine.
const TIMES: [u64; 16] = [
    1, 5, 60, 299, 300, 301, 999, 1_000, 1_001, 1_500, 1_999, 2_000, 2_001, 2_999, 3_000, 3_001,
];

/// A step of a case.
#[derive(Clone, Debug)]
enum Step {
    Exchange {
        process: usize,
        limits: Vec<Limit>,
        new_limits: Vec<u8>,
        /// Whether the process gets no response.
        is_lost: bool,
    },
    /// The last request is repeated.
    Repeat(usize),
    /// The process ends, and another one starts.
    End(usize),
    Advance(u64),
    Forget,
}

/// What a process publishes and requests of a limit.
#[derive(Clone, Debug)]
struct Limit {
    id: u8,
    /// Whether there is a fact, whether it is new, and how many milliseconds it lasts.
    fact: Option<(bool, u64)>,
    leases: Vec<Lease>,
}

#[derive(Clone, Debug)]
struct Lease {
    unit: usize,
    /// How much of what it holds the process has used.
    used: u64,
    wanted: u64,
    least: u64,
    ceiling: u64,
}

/// A process that two engines serve.
struct Twin {
    id: Id,
    number: u64,
    /// The epoch and the newest fact that it has received, by engine.
    received: [(Option<u64>, u64); 2],
    last: Option<(ExchangeRequest, Duration)>,
    /// What it holds and has used.
    uses: BTreeMap<(u8, usize), (u64, u64)>,
    facts: BTreeMap<u8, Fact>,
}

struct World {
    memory: InMemory,
    redis: Vec<RedisEngine>,
    clock: Clock,
    twins: Vec<Twin>,
    started: u8,
    now: Duration,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lease = (0..UNITS.len(), 0..4_u64, 0..9_u64, 1..4_u64, 0..40_u64);
    let lease = lease.prop_map(|(unit, used, wanted, least, ceiling)| Lease {
        unit,
        used,
        wanted,
        least,
        ceiling,
    });
    let fact = proptest::option::of((any::<bool>(), 0..6_000_u64));
    let limit = (0..3_u8, fact, vec(lease, 0..3));
    let limit = limit.prop_map(|(id, fact, mut leases)| {
        leases.dedup_by_key(|lease| lease.unit);
        leases.truncate(UNITS.len());
        Limit { id, fact, leases }
    });
    let limits = vec(limit, 0..4).prop_map(|mut limits| {
        limits.sort_by_key(|limit| limit.id);
        limits.dedup_by_key(|limit| limit.id);
        limits
    });
    let process = 0..PROCESSES;
    let exchange = (process.clone(), limits, vec(0..3_u8, 0..2), 0..8_u8);
    let exchange = exchange.prop_map(|(process, limits, new_limits, lost)| Step::Exchange {
        process,
        limits,
        new_limits,
        is_lost: lost == 0,
    });
    let time = prop::sample::select(&TIMES[..]);
    let step = prop_oneof![
        20 => exchange,
        1 => process.clone().prop_map(Step::Repeat),
        1 => process.prop_map(Step::End),
        8 => time.prop_map(Step::Advance),
        1 => Just(Step::Forget),
    ];
    vec(step, 1..60)
}

// === impl Twin ===

impl Twin {
    fn new(id: u8) -> Self {
        Self {
            id: Id::from_bytes([id; 16]),
            number: 0,
            received: [(None, 0); 2],
            last: None,
            uses: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    fn request(&mut self, limits: Vec<LimitRequest>, now: Duration) -> ExchangeRequest {
        self.number += 1;
        let mut request = ExchangeRequest::new(self.id, self.number);
        request.limits = limits;
        self.last = Some((request.clone(), now));
        request
    }

    fn is_live(&self, now: Duration) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|(_, at)| now < *at + LIVES_FOR)
    }

    fn limits(&mut self, limits: &[Limit], now: Duration) -> Vec<LimitRequest> {
        let mut facts = BTreeMap::new();
        if !self.is_live(now) {
            // It is not live any more, and the engine may have removed its facts.
            facts.clone_from(&self.facts);
        }
        let mut leases: BTreeMap<u8, Vec<_>> = BTreeMap::new();
        for limit in limits {
            if let Some((is_new, lasts)) = limit.fact {
                let fact = self.facts.entry(limit.id).or_default();
                if is_new || fact.version == 0 {
                    *fact = closed_for(fact.version + 1, Duration::from_millis(lasts));
                }
                facts.insert(limit.id, fact.clone());
            }
            for lease in &limit.leases {
                let (held, used) = self.uses.entry((limit.id, lease.unit)).or_default();
                let now_used = lease.used.min(*held);
                (*held, *used) = (*held - now_used, *used + now_used);
                let request = LeaseRequest::new((*held, *used), lease.ceiling);
                let request = request.want(lease.wanted, lease.least);
                let of_limit = leases.entry(limit.id).or_default();
                of_limit.push((UNITS[lease.unit], request));
            }
        }
        let ids = limits.iter().map(|limit| limit.id);
        let mut ids: Vec<_> = ids.chain(facts.keys().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let limit = |id| {
            let leases = leases.remove(&id).unwrap_or_default();
            LimitRequest::new(limit_id(id), facts.remove(&id), leases)
        };
        ids.into_iter().map(limit).collect()
    }

    /// Notes what was granted.
    fn receive(&mut self, responses: [&ExchangeResponse; 2]) {
        self.received = responses.map(|it| (Some(it.epoch), it.newest_fact));
        for limit in &responses[0].limits {
            for (unit, grant) in &limit.grants {
                let unit = UNITS.iter().position(|it| it == unit).unwrap_or_default();
                let key = (limit.limit.to_bytes()[0], unit);
                if let Some((held, _)) = self.uses.get_mut(&key) {
                    *held += grant.granted;
                }
            }
        }
    }
}

fn limit_id(id: u8) -> Id {
    Id::from_bytes([id; 16])
}

fn closed_for(version: u64, ends: Duration) -> Fact {
    let mut fact = super::fact(version);
    let rejection = Rejection::new(Reason::RateLimited);
    let ago = (Duration::ZERO, Duration::ZERO);
    fact.rejection = Some(RejectedFact::new(rejection, Vec::new(), ago, ends));
    fact
}

// === impl World ===

impl World {
    async fn new(server: &Server) -> Self {
        let mut clock = Clock::start(server);
        clock.flush();
        let redis = (0..PROCESSES).map(|_| clock.process(server, 0).engine);
        Self {
            memory: InMemory::new(),
            redis: redis.collect(),
            twins: (1..=PROCESSES as u8).map(Twin::new).collect(),
            started: PROCESSES as u8,
            now: Duration::ZERO,
            clock,
        }
    }

    async fn step(&mut self, step: &Step) -> TestCaseResult {
        match step {
            Step::Exchange {
                process,
                limits,
                new_limits,
                is_lost,
            } => {
                let twin = &mut self.twins[*process];
                let limits = twin.limits(limits, self.now);
                let mut request = twin.request(limits, self.now);
                request.new_limits = new_limits.iter().copied().map(limit_id).collect();
                let responses = self.exchange(*process, request).await?;
                if !is_lost {
                    let [one, other] = &responses;
                    self.twins[*process].receive([one, other]);
                }
            }
            Step::Repeat(process) => {
                let twin = &self.twins[*process];
                if let Some((request, _)) = twin.last.clone().filter(|_| twin.is_live(self.now)) {
                    let late = self.redis[*process].exchange(request).await;
                    prop_assert!(late.is_err());
                }
            }
            Step::End(process) => {
                let mut request = self.twins[*process].request(Vec::new(), self.now);
                request.is_last = true;
                self.exchange(*process, request).await?;
                self.started += 1;
                self.twins[*process] = Twin::new(self.started);
            }
            Step::Advance(millis) => {
                let time = Duration::from_millis(*millis);
                if self.now + time < LONGEST {
                    self.now += time;
                    self.clock.advance(time);
                    tokio::time::advance(time).await;
                }
            }
            Step::Forget => {
                self.memory.forget();
                self.clock.flush();
                for twin in &mut self.twins {
                    // No exchange with the new server has been made, so none can be repeated.
                    twin.last = None;
                }
            }
        }
        Ok(())
    }

    /// Sends a request to both engines, and checks that they respond the same.
    async fn exchange(
        &mut self,
        process: usize,
        request: ExchangeRequest,
    ) -> Result<[ExchangeResponse; 2], TestCaseError> {
        let received = self.twins[process].received;
        let [in_memory, in_redis] = received.map(|(epoch, newest)| {
            let mut request = request.clone();
            (request.epoch, request.newest_fact) = (epoch, newest);
            request
        });
        let expected = self.memory.exchange(in_memory).await;
        let expected = expected.unwrap_or_else(|never| match never {});
        let found = self.redis[process].exchange(in_redis).await;
        let found = found.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let sorted = |response: &ExchangeResponse| {
            let mut replicas = response.replicas.clone();
            replicas.sort_unstable();
            replicas
        };
        prop_assert_eq!(sorted(&expected), sorted(&found));
        prop_assert_eq!(expected.is_learning, found.is_learning);
        prop_assert_eq!(facts(&expected), facts(&found));
        prop_assert_eq!(grants(&request, &expected), grants(&request, &found));
        Ok([expected, found])
    }
}

type OfLimit = (Id, Id, u64, Duration);

/// Returns the facts: the limit, the process, the version and the age.
fn facts(response: &ExchangeResponse) -> Vec<OfLimit> {
    let all = response.limits.iter().flat_map(|limit| {
        let facts = limit.facts.iter();
        facts.map(|(of, fact, age)| (limit.limit, *of, fact.version, *age))
    });
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all
}

/// Returns what is granted of what was requested, and what was used of other limits with facts.
fn grants(request: &ExchangeRequest, response: &ExchangeResponse) -> Vec<(Id, Unit, u64, u64)> {
    let requested = |id: Id| request.limits.iter().find(|limit| limit.limit == id);
    let limits = response
        .limits
        .iter()
        .filter(|limit| match requested(limit.limit) {
            Some(requested) => !requested.leases.is_empty(),
            None => !limit.facts.is_empty(),
        });
    let all = limits.flat_map(|limit| {
        let grants = limit.grants.iter();
        grants.map(|(unit, grant)| (limit.limit, *unit, grant.used, grant.granted))
    });
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all
}

#[test]
fn script_responds_as_the_engine_in_memory_does() {
    let Some(server) = Server::start() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("the system has what it needs");
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(CASES)
    };
    let granted = RefCell::new(0_u64);
    proptest!(config, |(steps in steps())| {
        runtime.block_on(async {
            let mut world = World::new(&server).await;
            for step in &steps {
                world.step(step).await?;
            }
            let held = world.twins.iter().flat_map(|twin| twin.uses.values());
            *granted.borrow_mut() += held.map(|(held, used)| held + used).sum::<u64>();
            Ok::<_, TestCaseError>(())
        })?;
    });
    assert!(granted.into_inner() > 0, "nothing was granted in any case");
}

/// The number of cases.
const CASES: u32 = 256;
