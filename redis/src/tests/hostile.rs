//! Values that an attacker has written into the server.

use std::time::Duration;

use redis::Connection;
use tower_429::share::{ExchangeResponse, Fact, Report};

use super::{Clock, LIMIT, Process, Server, fact, support::PATIENCE, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const STATE: &str = "t429:1:{prod/openai}";
const FACTS: &str = "t429:1:{prod/openai}:facts";
const DUE: &str = "t429:1:{prod/openai}:due";

/// Returns all times in a response.
fn times(response: &ExchangeResponse) -> Vec<Duration> {
    let facts = response.limits.iter().flat_map(|limit| &limit.facts);
    facts
        .flat_map(|(_, fact, age)| times_of(fact).into_iter().chain([*age]))
        .collect()
}

pub(crate) fn times_of(fact: &Fact) -> Vec<Duration> {
    let of_reports = |reports: &[Report]| -> Vec<Duration> {
        let times = reports
            .iter()
            .flat_map(|it| it.bucket.reset.into_iter().chain([it.sent]));
        times.collect()
    };
    let mut times: Vec<_> = fact.sends.iter().map(|(_, ago)| *ago).collect();
    times.extend(fact.last_passed);
    times.extend(of_reports(&fact.reports));
    if let Some(rejected) = &fact.rejection {
        times.extend([rejected.sent, rejected.came, rejected.ends]);
        times.extend(rejected.rejection.retry_after);
        times.extend(of_reports(&rejected.reports));
    }
    times
}

fn bytes(random: &mut fastrand::Rng) -> Vec<u8> {
    let length = *random
        .choice([0, 1, 8, 16, 24, 32, 40, 48, 64, 72, 600].iter())
        .unwrap_or(&0);
    let byte = |random: &mut fastrand::Rng| match random.u8(..3) {
        0 => 0,
        1 => 255,
        _ => random.u8(..),
    };
    (0..length).map(|_| byte(random)).collect()
}

pub(super) fn set(admin: &mut Connection, key: &str, field: &[u8], value: &[u8]) {
    redis::cmd("HSET")
        .arg(key)
        .arg(field)
        .arg(value)
        .exec(admin)
        .expect("it is a hash");
}

/// Returns what the server keeps in a field, with eight bytes changed.
fn forged(admin: &mut Connection, field: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let kept = redis::cmd("HGET").arg(STATE).arg(field).query(admin);
    let mut kept: Vec<u8> = kept.expect("it is a hash");
    let places = kept.len() / 8;
    if places > 0 {
        let value = match random.bool() {
            true => random.u64(..),
            false => 1 << random.u8(..64),
        };
        let from = 8 * random.usize(..places);
        kept[from..from + 8].copy_from_slice(&value.to_be_bytes());
    }
    kept
}

#[tokio::test]
async fn random_values_neither_fail_an_exchange_nor_last_for_more_than_a_day() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    let mut admin = server.admin();
    let (limit, field_of_fact) = (LIMIT.to_bytes(), [LIMIT.to_bytes(), [1; 16]].concat());
    let requests = [&limit[..], b"1"].concat();
    let mut random = fastrand::Rng::with_seed(429);
    for round in 0..100 {
        let fields: [&[u8]; 5] = [b"head", b"replicas", &requests, &limit, &field_of_fact];
        for field in fields {
            one.publish(fact(round + 1)).await;
            let value = match random.u8(..3) {
                0 => bytes(&mut random),
                1 => format!("{}", random.u64(..)).into_bytes(),
                _ => forged(&mut admin, field, &mut random),
            };
            set(&mut admin, STATE, field, &value);
            if field == b"replicas" && !value.is_empty() && value.len() % 32 == 0 {
                // The number of an exchange may be forged, so that the process is late.
                set(&mut admin, STATE, field, b"");
            }
            let (_, granted) = other.lease((0, 0), 4, 10).await;
            assert!(granted <= 4);
            other.newest_fact = 0;
            assert!(
                times(&other.receive().await)
                    .iter()
                    .all(|time| *time <= DAY)
            );
        }
        let score = f64::from_bits(random.u64(..));
        let score = if score.is_nan() { f64::INFINITY } else { score };
        for key in [FACTS, DUE] {
            let member = bytes(&mut random);
            redis::cmd("ZADD")
                .arg(key)
                .arg(score)
                .arg(member)
                .exec(&mut admin)
                .expect("it is sorted");
        }
    }
}

#[tokio::test]
async fn key_of_another_type_counts_as_lost() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    let mut admin = server.admin();
    for key in [STATE, FACTS, DUE] {
        let before = one.receive().await.epoch;
        let set = redis::cmd("SET").arg(key).arg("text").exec(&mut admin);
        set.expect("it is allowed");
        assert!(changes_epoch(&mut one, before).await, "{key}");
    }
}

#[tokio::test]
async fn key_that_was_evicted_alone_counts_as_lost() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    let mut admin = server.admin();
    for key in [STATE, FACTS] {
        let before = one.receive().await.epoch;
        let evicted = redis::cmd("DEL").arg(key).exec(&mut admin);
        evicted.expect("it is allowed");
        assert!(changes_epoch(&mut one, before).await, "{key}");
    }
}

/// Publishes facts until the server has begun a new epoch. The script reads a key only when it needs it.
async fn changes_epoch(process: &mut Process, before: u64) -> bool {
    let mut version = 0;
    until(PATIENCE, async || {
        version += 1;
        process.publish(fact(version)).await.epoch != before
    })
    .await
}

#[tokio::test]
async fn forged_use_does_not_stop_grants() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    one.lease((0, 0), 1, 10).await;
    let requests = [&LIMIT.to_bytes()[..], b"1"].concat();
    set(&mut server.admin(), STATE, &requests, &[255; 64]);
    assert_eq!(one.lease((0, 0), 1, 10).await, (0, 1));
}

#[tokio::test]
async fn forged_sum_stops_grants_for_a_second_at_most() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let mut one = clock.process(&server, 1);
    assert_eq!(one.lease((0, 0), 1, 10).await, (0, 1));
    let requests = [&LIMIT.to_bytes()[..], b"1"].concat();
    let mut kept: Vec<u8> = redis::cmd("HGET")
        .arg(STATE)
        .arg(&requests)
        .query(&mut clock.admin)
        .expect("it exists");
    kept[16..24].copy_from_slice(&1_000_u64.to_be_bytes());
    set(&mut clock.admin, STATE, &requests, &kept);
    assert_eq!(one.lease((1, 0), 1, 10).await, (0, 0));
    clock.advance(Duration::from_secs(1));
    assert_eq!(one.lease((1, 0), 1, 10).await, (0, 1));
}
