//! Values that others have written into the server.

use std::time::Duration;

use redis::Connection;
use tower_429::share::{ExchangeResponse, Fact, Report};

use super::{LIMIT, Process, Server, fact};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const STATE: &str = "t429:1:{prod/openai}";
const FACTS: &str = "t429:1:{prod/openai}:facts";
const NEWS: &str = "t429:1:{prod/openai}:news";
const DUE: &str = "t429:1:{prod/openai}:due";

/// Returns all times in a response.
fn times(hear: &ExchangeResponse) -> Vec<Duration> {
    let facts = hear.limits.iter().flat_map(|limit| &limit.facts);
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

fn set(admin: &mut Connection, key: &str, field: &[u8], value: &[u8]) {
    redis::cmd("HSET")
        .arg(key)
        .arg(field)
        .arg(value)
        .exec(admin)
        .expect("it is a hash");
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
        for (key, fields) in [
            (
                STATE,
                &[&b"epoch"[..], b"newest", b"learns", b"replicas", &requests][..],
            ),
            (FACTS, &[&b"epoch"[..], &limit, &field_of_fact]),
        ] {
            for field in fields {
                one.tell(fact(round + 1)).await;
                let value = match random.bool() {
                    true => bytes(&mut random),
                    false => format!("{}", random.u64(..)).into_bytes(),
                };
                set(&mut admin, key, field, &value);
                if *field == b"replicas" && value.len() == 32 {
                    continue;
                }
                let (_, granted) = other.ask((0, 0), 4, 10).await;
                assert!(granted <= 4);
                other.newest_fact = 0;
                assert!(times(&other.hear().await).iter().all(|time| *time <= DAY));
            }
        }
        let score = f64::from_bits(random.u64(..));
        let score = if score.is_nan() { f64::INFINITY } else { score };
        for key in [NEWS, DUE] {
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
    for key in [STATE, FACTS, NEWS, DUE] {
        let before = one.hear().await.epoch;
        redis::cmd("SET")
            .arg(key)
            .arg("text")
            .exec(&mut admin)
            .expect("it is allowed");
        assert_ne!(one.hear().await.epoch, before, "{key}");
    }
}

#[tokio::test]
async fn key_that_was_evicted_alone_counts_as_lost() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    let mut admin = server.admin();
    for key in [STATE, FACTS, NEWS] {
        let before = one.hear().await.epoch;
        redis::cmd("DEL")
            .arg(key)
            .exec(&mut admin)
            .expect("it is allowed");
        assert_ne!(one.hear().await.epoch, before, "{key}");
    }
}

#[tokio::test]
async fn forged_use_starves_nobody_and_forged_processes_end() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    one.ask((0, 0), 1, 10).await;
    let requests = [&LIMIT.to_bytes()[..], b"1"].concat();
    set(&mut server.admin(), STATE, &requests, &[255; 48]);
    assert_eq!(one.ask((0, 0), 1, 10).await, (0, 1));
}
