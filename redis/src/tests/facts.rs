//! The facts that processes publish and receive.

use std::time::Duration;

use tower_429::{
    rejection::{Reason, Rejection},
    share::{ExchangeResponse, Fact, Id, LeaseRequest, LimitRequest, RejectedFact, Unit},
};

use super::{Clock, HOUR, LIMIT, Process, Server, fact, support::PATIENCE, until};

/// Returns the processes whose facts on the limit are in a response, and the versions of these facts.
fn versions(response: &ExchangeResponse) -> Vec<(Id, u64)> {
    let limits = response.limits.iter().filter(|it| it.limit == LIMIT);
    let facts = limits.flat_map(|it| &it.facts);
    let mut versions: Vec<_> = facts.map(|(of, fact, _)| (*of, fact.version)).collect();
    versions.sort_unstable();
    versions
}

pub(super) fn closed_for(version: u64, ends: Duration) -> Fact {
    let mut fact = fact(version);
    let mut rejection = Rejection::new(Reason::KeyRejected);
    rejection.retry_after = Some(ends);
    let ago = (Duration::from_millis(20), Duration::from_millis(10));
    fact.rejection = Some(RejectedFact::new(rejection, Vec::new(), ago, ends));
    fact
}

#[tokio::test]
async fn fact_is_received_once_by_each_other_process() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    let published = closed_for(1, HOUR);
    assert_eq!(
        versions(&one.publish(published.clone()).await),
        [],
        "it is its own"
    );
    let response = other.receive().await;
    let [(of, fact, age)] = &response.limits[0].facts[..] else {
        panic!("one fact: {response:?}");
    };
    assert_eq!((*of, fact), (one.id, &published));
    assert!(*age < PATIENCE);
    assert_eq!(versions(&other.receive().await), []);
    for version in [2, 3, 1] {
        one.publish(super::fact(version)).await;
    }
    assert_eq!(versions(&other.receive().await), [(one.id, 3)]);
    let mut third = Process::new(&url, 3);
    other.publish(super::fact(1)).await;
    assert_eq!(
        versions(&third.receive().await),
        [(one.id, 3), (other.id, 1)]
    );
}

#[tokio::test]
async fn process_with_a_new_limit_receives_all_facts_on_it() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    one.publish(fact(5)).await;
    other.receive().await;
    let mut request = other.request(Vec::new());
    request.new_limits = vec![LIMIT, Id::from_bytes([9; 16])];
    assert_eq!(versions(&other.exchange(request).await), [(one.id, 5)]);
    // The limit is new for this process too, so it receives the fact once.
    let mut third = Process::new(&url, 3);
    let mut request = third.request(Vec::new());
    request.new_limits = vec![LIMIT];
    assert_eq!(versions(&third.exchange(request).await), [(one.id, 5)]);
}

#[tokio::test]
async fn new_fact_comes_with_how_much_all_have_used() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    one.lease((9, 0), 0, 100).await;
    one.lease((0, 9), 0, 100).await;
    one.publish(fact(1)).await;
    assert_eq!(other.receive().await.limits[0].grants[0].1.used, 9);
}

#[tokio::test]
async fn fact_of_a_process_that_is_gone_lasts_while_it_closes_the_limit() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    for (id, ends) in [(1, HOUR), (2, Duration::ZERO)] {
        let mut process = Process::new(&url, id);
        process.publish(closed_for(1, ends)).await;
        let mut last = process.request(Vec::new());
        last.is_last = true;
        process.exchange(last).await;
    }
    let mut third = Process::new(&url, 3);
    let of_first = Id::from_bytes([1; 16]);
    assert_eq!(versions(&third.receive().await), [(of_first, 1)]);
}

#[tokio::test]
async fn facts_of_many_processes_that_are_gone_are_bounded() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let mut last = Process::new(&url, 0);
    for id in 1..=200 {
        let mut process = Process::new(&url, id);
        process.publish(closed_for(1, HOUR)).await;
        let mut end = process.request(Vec::new());
        end.is_last = true;
        process.exchange(end).await;
    }
    let response = versions(&last.receive().await);
    assert!(response.len() <= 128, "{} facts", response.len());
    assert_eq!(response.last(), Some(&(Id::from_bytes([200; 16]), 1)));
}

#[tokio::test]
async fn clock_that_jumps_neither_shortens_nor_prolongs_a_cooldown() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let mut one = clock.process(&server, 1);
    one.publish(closed_for(1, HOUR)).await;
    let mut left = HOUR;
    for (id, is_back) in [(2, true), (3, false), (4, false), (5, true)] {
        clock.advance(Duration::from_secs(1));
        left -= Duration::from_secs(1);
        match is_back {
            true => clock.set_back(HOUR),
            false => clock.advance(HOUR),
        }
        one.receive().await;
        let response = clock.process(&server, id).receive().await;
        let (_, fact, age) = &response.limits[0].facts[0];
        let rejected = fact.rejection.as_ref().expect("the fact has it");
        let found = rejected.ends - *age;
        // In a jump, the time since the last exchange is not known exactly.
        assert!(found >= left && found <= HOUR, "{found:?} {left:?}");
    }
}

#[tokio::test]
async fn every_key_expires_and_unused_limits_are_removed() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let mut one = Process::new(&url, 1);
    one.publish(fact(1)).await;
    one.lease((1, 0), 0, 10).await;
    let mut admin = server.admin();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(&mut admin)
        .expect("it is allowed");
    assert_eq!(keys.len(), 3);
    for key in keys {
        assert!(key.starts_with("t429:1:{prod/openai}"), "{key}");
        let left: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query(&mut admin)
            .expect("it exists");
        assert!(
            (1..=86_460_000).contains(&left),
            "{key} lives for {left} ms"
        );
    }
    let mut last = one.request(Vec::new());
    last.is_last = true;
    one.exchange(last).await;
    let due = "t429:1:{prod/openai}:due";
    redis::cmd("ZADD")
        .arg(due)
        .arg(0)
        .arg(&LIMIT.to_bytes())
        .exec(&mut admin)
        .expect("it is a sorted set");
    let mut other = Process::new(&url, 2);
    let removed = until(PATIENCE, async || {
        other.receive().await;
        let count: i64 = redis::cmd("ZCARD")
            .arg(due)
            .query(&mut admin)
            .expect("it is a sorted set");
        count == 0
    });
    assert!(removed.await);
    let fields: Vec<Vec<u8>> = redis::cmd("HKEYS")
        .arg("t429:1:{prod/openai}")
        .query(&mut admin)
        .expect("it is a hash");
    assert!(
        !fields
            .iter()
            .any(|field| field.starts_with(&LIMIT.to_bytes()))
    );
}

#[tokio::test]
async fn thousands_of_limits_in_one_exchange_are_all_received() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    let limit = |index: u128| {
        let leases = vec![(Unit::Requests, LeaseRequest::new((1, 0), 10).want(2, 1))];
        LimitRequest::new(Id::from_bytes(index.to_be_bytes()), Some(fact(1)), leases)
    };
    let mut request = one.request((0..3_000).map(limit).collect());
    request.new_limits = request.limits.iter().map(|it| it.limit).collect();
    let granted = one.exchange(request).await.limits;
    assert_eq!(granted.len(), 3_000);
    assert!(granted.iter().all(|it| it.grants[0].1.granted == 2));
    let response = other.receive().await.limits;
    assert_eq!(response.len(), 3_000);
    assert!(response.iter().all(|it| it.facts.len() == 1));
}
