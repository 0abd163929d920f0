//! Exchanges with a real server.

mod access;
#[cfg(feature = "cluster")]
mod cluster;
mod facts;
mod hostile;
mod jumps;
mod leases;
mod load;
mod model;
mod outages;

use std::{sync::LazyLock, time::Duration};

use redis::Connection;
use tower_429::share::{
    Engine, ExchangeRequest, ExchangeResponse, Fact, Id, LeaseRequest, LimitRequest, Name, Unit,
};

use self::support::Server;
use crate::{command, engine::RedisEngine, link::Connect, server::OneServer};

#[path = "../../tests/it/support/mod.rs"]
#[allow(dead_code)]
mod support;

pub(crate) use hostile::times_of;

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) const LIMIT: Id = Id::from_bytes([7; 16]);

/// A process whose exchanges a test makes.
struct Process {
    engine: RedisEngine,
    id: Id,
    number: u64,
    epoch: Option<u64>,
    newest_fact: u64,
}

impl Process {
    fn new(url: &str, id: u8) -> Self {
        Self::of("prod/openai", url, id)
    }

    fn of(name: &str, url: &str, id: u8) -> Self {
        let server = OneServer::new(url).expect("the URL is valid");
        Self::with(Box::new(server), name, id)
    }

    fn with(server: Box<dyn Connect>, name: &str, id: u8) -> Self {
        let name = Name::new(name);
        Self {
            engine: RedisEngine::new(server, &name).expect("the name is valid"),
            id: Id::from_bytes([id; 16]),
            number: 0,
            epoch: None,
            newest_fact: 0,
        }
    }

    fn request(&mut self, limits: Vec<LimitRequest>) -> ExchangeRequest {
        self.number += 1;
        let mut request = ExchangeRequest::new(self.id, self.number);
        (request.epoch, request.newest_fact) = (self.epoch, self.newest_fact);
        request.limits = limits;
        request
    }

    async fn exchange(&mut self, request: ExchangeRequest) -> ExchangeResponse {
        let response = self.engine.exchange(request).await;
        let response = response.expect("the server responds");
        (self.epoch, self.newest_fact) = (Some(response.epoch), response.newest_fact);
        response
    }

    fn request_lease(
        &mut self,
        (held, used): (u64, u64),
        wanted: u64,
        ceiling: u64,
    ) -> ExchangeRequest {
        self.request_leases(vec![(
            Unit::Requests,
            LeaseRequest::new((held, used), ceiling).want(wanted, 1),
        )])
    }

    fn request_leases(&mut self, leases: Vec<(Unit, LeaseRequest)>) -> ExchangeRequest {
        self.request(vec![LimitRequest::new(LIMIT, None, leases)])
    }

    /// Sends a lease request: what the process holds and has used, what it wants, and the ceiling for all. Returns what
    /// all have used, and what is granted.
    async fn lease(&mut self, (held, used): (u64, u64), wanted: u64, ceiling: u64) -> (u64, u64) {
        let request = self.request_lease((held, used), wanted, ceiling);
        let response = self.exchange(request).await;
        let limit = response.limits.iter().find(|it| it.limit == LIMIT);
        match limit.expect("it was requested").grants[..] {
            [(Unit::Requests, grant)] => (grant.used, grant.granted),
            ref other => panic!("one unit was requested: {other:?}"),
        }
    }

    /// Publishes a fact on the limit.
    async fn publish(&mut self, fact: Fact) -> ExchangeResponse {
        let request = self.request(vec![LimitRequest::new(LIMIT, Some(fact), Vec::new())]);
        self.exchange(request).await
    }

    /// Makes an exchange that requests only new facts.
    async fn receive(&mut self) -> ExchangeResponse {
        let request = self.request(Vec::new());
        self.exchange(request).await
    }
}

fn fact(version: u64) -> Fact {
    let mut fact = Fact::default();
    fact.version = version;
    fact
}

/// Waits until a condition holds, for a bounded time. Returns whether it holds.
async fn until(max_wait: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..max_wait.as_millis() / 20 {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// The script, with a clock that tests set.
static CLOCK_SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let script = command::script();
    let other = script.replace("call('TIME')", "call('HMGET', 'clock', 's', 'us')");
    assert_ne!(script, other);
    other
});

/// The clock of a server whose processes send [`CLOCK_SCRIPT`]. It stands still unless a test sets it.
struct Clock {
    admin: Connection,
    /// The time since 1970.
    now: Duration,
}

impl Clock {
    fn start(server: &Server) -> Self {
        let mut clock = Self {
            admin: server.admin(),
            now: Duration::from_secs(1_800_000_000),
        };
        clock.write();
        clock
    }

    /// Returns a process that uses this clock.
    fn process(&self, server: &Server, id: u8) -> Process {
        let process = Process::new(&server.url(), id);
        Process {
            engine: process.engine.script(CLOCK_SCRIPT.as_str()),
            ..process
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        self.write();
    }

    fn set_back(&mut self, time: Duration) {
        self.now -= time;
        self.write();
    }

    /// Removes everything but the time.
    fn flush(&mut self) {
        let emptied = redis::cmd("FLUSHALL").exec(&mut self.admin);
        emptied.expect("it is allowed");
        self.write();
    }

    fn write(&mut self) {
        let mut command = redis::cmd("HSET");
        command.arg("clock").arg("s").arg(self.now.as_secs());
        command.arg("us").arg(self.now.subsec_micros());
        command.exec(&mut self.admin).expect("it is allowed");
    }
}
