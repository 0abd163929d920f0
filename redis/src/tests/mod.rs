//! Exchanges with a real server, as the driver makes them.

mod access;
#[cfg(feature = "cluster")]
mod cluster;
mod facts;
mod hostile;
mod leases;
mod load;
mod outages;

use std::time::Duration;

use redis::Connection;
use tower_429::share::{
    Engine, ExchangeRequest, ExchangeResponse, Fact, Id, LeaseRequest, LimitRequest, Name, Unit,
};

use self::support::Server;
use crate::{engine::RedisEngine, link::Connect, server::OneServer};

#[path = "../../tests/it/support/mod.rs"]
#[allow(dead_code)]
mod support;

pub(crate) use hostile::times_of;

/// An hour.
const HOUR_MICROS: i64 = 3_600_000_000;

pub(super) const LIMIT: Id = Id::from_bytes([7; 16]);

/// A process that says what a test wants.
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

    fn say(&mut self, limits: Vec<LimitRequest>) -> ExchangeRequest {
        self.number += 1;
        let mut say = ExchangeRequest::new(self.id, self.number);
        (say.epoch, say.newest_fact, say.limits) = (self.epoch, self.newest_fact, limits);
        say
    }

    async fn exchange(&mut self, say: ExchangeRequest) -> ExchangeResponse {
        let hear = self.engine.exchange(say).await.expect("the server answers");
        (self.epoch, self.newest_fact) = (Some(hear.epoch), hear.newest_fact);
        hear
    }

    fn say_ask(&mut self, (held, used): (u64, u64), wanted: u64, ceiling: u64) -> ExchangeRequest {
        self.say_asks(vec![(
            Unit::Requests,
            LeaseRequest::new((held, used), ceiling).want(wanted, 1),
        )])
    }

    fn say_asks(&mut self, asks: Vec<(Unit, LeaseRequest)>) -> ExchangeRequest {
        self.say(vec![LimitRequest::new(LIMIT, None, asks)])
    }

    /// Says what it holds and has used of the limit, and wants. Returns what is used by all, and granted.
    async fn ask(&mut self, (held, used): (u64, u64), wanted: u64, ceiling: u64) -> (u64, u64) {
        let say = self.say_ask((held, used), wanted, ceiling);
        let hear = self.exchange(say).await;
        let limit = hear.limits.iter().find(|it| it.limit == LIMIT);
        match limit.expect("it was said").grants[..] {
            [(Unit::Requests, grant)] => (grant.used, grant.granted),
            ref other => panic!("one unit was said: {other:?}"),
        }
    }

    /// Tells a fact.
    async fn tell(&mut self, fact: Fact) -> ExchangeResponse {
        let say = self.say(vec![LimitRequest::new(LIMIT, Some(fact), Vec::new())]);
        self.exchange(say).await
    }

    async fn hear(&mut self) -> ExchangeResponse {
        let say = self.say(Vec::new());
        self.exchange(say).await
    }
}

fn fact(version: u64) -> Fact {
    let mut fact = Fact::default();
    fact.version = version;
    fact
}

/// Waits until something is so, for a bounded time. Returns whether it is.
async fn until(max_wait: Duration, mut is_so: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..max_wait.as_millis() / 20 {
        if is_so().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Adds microseconds to all times that the server keeps.
fn shift_times(admin: &mut Connection, micros: i64) {
    let shift = "
        local function shift(text, from, step)
          local parts = { string.sub(text, 1, from - 1) }
          for at = from, #text, step do
            local time = struct.unpack('>I8', text, at + 16)
            parts[#parts + 1] = string.sub(text, at, at + 15) .. struct.pack('>I8', time + ARGV[2])
              .. string.sub(text, at + 24, at + step - 1)
          end
          return table.concat(parts)
        end
        local state, facts, limit = KEYS[1], KEYS[2], ARGV[1]
        for _, of in ipairs({ string.rep('\\1', 16), string.rep('\\2', 16) }) do
          local fact = redis.call('HGET', facts, limit .. of)
          if fact then
            local time = struct.unpack('>I8', fact) + ARGV[2]
            redis.call('HSET', facts, limit .. of, struct.pack('>I8', time) .. string.sub(fact, 9))
          end
        end
        local learns = redis.call('HGET', state, 'learns')
        redis.call('HSET', state, 'learns', string.format('%.0f', math.max(learns + ARGV[2], 0)))
        redis.call('HSET', state, 'replicas', shift(redis.call('HGET', state, 'replicas'), 1, 32))
        local usage = redis.call('HGET', state, limit .. '1')
        if usage then redis.call('HSET', state, limit .. '1', shift(usage, 9, 40)) end";
    let mut command = redis::cmd("EVAL");
    command.arg(shift).arg(2);
    command
        .arg("t429:1:{prod/openai}")
        .arg("t429:1:{prod/openai}:facts");
    command
        .arg(&LIMIT.to_bytes())
        .arg(micros)
        .exec(admin)
        .expect("it is allowed");
}
