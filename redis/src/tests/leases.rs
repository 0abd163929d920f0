//! What the script grants to processes.

use std::time::Duration;

use tower_429::share::{Engine, Grant, HOLDS_FOR, LEARNS_FOR, LIVES_FOR, LeaseRequest, Unit};

use super::{Clock, HOUR, Process, Server, support::PATIENCE, until};

#[tokio::test]
async fn processes_get_no_more_together_than_the_ceiling() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    other.receive().await;
    assert_eq!(
        one.lease((0, 0), 8, 10).await,
        (0, 5),
        "half of what is free"
    );
    assert_eq!(other.lease((0, 0), 8, 10).await, (0, 3));
    assert_eq!(one.lease((5, 0), 8, 10).await, (0, 1));
    assert_eq!(other.lease((3, 0), 8, 10).await, (0, 1));
    assert_eq!(one.lease((6, 0), 8, 10).await, (0, 0));
    assert_eq!(one.lease((0, 6), 0, 10).await, (6, 0), "six were used");
    assert_eq!(other.lease((4, 0), 8, 10).await, (6, 0));
    assert_eq!(other.lease((4, 0), 8, 12).await, (6, 1));
}

#[tokio::test]
async fn exchange_that_is_repeated_or_late_changes_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    let late = one.request_lease((0, 0), 8, 10);
    let first = one.request_lease((0, 0), 4, 10);
    let again = first.clone();
    one.exchange(first).await;
    assert!(one.engine.exchange(again).await.is_err());
    assert!(one.engine.exchange(late).await.is_err());
    other.receive().await;
    assert_eq!(other.lease((0, 0), 10, 10).await, (0, 3), "half of six");
}

#[tokio::test]
async fn process_that_ends_frees_what_it_holds_at_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    other.receive().await;
    assert_eq!(one.lease((10, 0), 0, 10).await, (0, 0));
    assert_eq!(other.lease((0, 0), 4, 10).await, (0, 0));
    let mut last = one.request_lease((0, 7), 3, 10);
    last.is_last = true;
    one.exchange(last).await;
    let response = other.receive().await;
    assert_eq!(response.replicas, [other.id]);
    assert_eq!(other.lease((0, 0), 4, 10).await, (7, 3), "seven were used");
}

#[tokio::test]
async fn process_that_is_killed_frees_what_it_holds() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    assert_eq!(one.lease((10, 0), 0, 10).await, (0, 0));
    drop(one);
    assert_eq!(other.lease((0, 0), 4, 10).await, (0, 0));
    let freed = until(PATIENCE, async || other.lease((0, 0), 4, 10).await.1 > 0).await;
    assert!(freed, "its places were never free");
    let gone = until(PATIENCE, async || {
        other.receive().await.replicas == [other.id]
    })
    .await;
    assert!(gone, "it counts as live forever");
}

#[tokio::test]
async fn process_without_an_exchange_for_two_seconds_holds_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let (mut one, mut other) = (clock.process(&server, 1), clock.process(&server, 2));
    one.lease((10, 0), 0, 10).await;
    clock.advance(HOLDS_FOR - Duration::from_micros(1));
    assert_eq!(other.lease((0, 0), 4, 10).await, (0, 0));
    clock.advance(Duration::from_micros(1));
    assert_eq!(other.lease((0, 0), 4, 10).await, (0, 4));
    // It makes exchanges again, and so holds the same again.
    one.receive().await;
    assert_eq!(other.lease((0, 0), 4, 15).await, (0, 3), "half of five");
}

#[tokio::test]
async fn clock_that_jumps_neither_ends_nor_prolongs_the_time_without_grants() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let mut one = clock.process(&server, 1);
    one.lease((0, 0), 0, 10).await;
    clock.flush();
    assert!(one.receive().await.is_learning);
    clock.set_back(HOUR);
    assert!(one.receive().await.is_learning);
    clock.advance(HOUR + Duration::from_millis(100));
    assert!(one.receive().await.is_learning);
    clock.advance(LEARNS_FOR);
    assert!(!one.receive().await.is_learning);
}

#[tokio::test]
async fn emptied_server_grants_nothing_until_processes_report_what_they_hold() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    one.lease((6, 0), 0, 10).await;
    other.receive().await;
    let before = other.epoch;
    redis::cmd("FLUSHALL")
        .exec(&mut server.admin())
        .expect("it is allowed");
    let request = other.request_lease((0, 0), 10, 10);
    let response = other.exchange(request).await;
    assert!(response.is_learning && Some(response.epoch) != before);
    assert_eq!(response.limits[0].grants[0].1.granted, 0);
    one.lease((6, 0), 0, 10).await;
    let learned = until(PATIENCE, async || !other.receive().await.is_learning).await;
    assert!(learned, "it grants nothing forever");
    one.lease((6, 0), 0, 10).await;
    assert_eq!(other.lease((0, 0), 10, 10).await, (0, 2), "half of four");
}

#[tokio::test]
async fn server_that_has_lost_facts_begins_a_new_epoch() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    for version in 1..4 {
        one.publish(super::fact(version)).await;
    }
    let before = one.epoch;
    // A restored server has only the first fact.
    let mut admin = server.admin();
    let mut head: Vec<u8> = redis::cmd("HGET")
        .arg("t429:1:{prod/openai}")
        .arg("head")
        .query(&mut admin)
        .expect("it exists");
    head[8..16].copy_from_slice(&1_u64.to_be_bytes());
    super::hostile::set(&mut admin, "t429:1:{prod/openai}", b"head", &head);
    let response = one.receive().await;
    assert!(response.is_learning && Some(response.epoch) != before);
}

#[tokio::test]
async fn clock_that_is_set_back_keeps_no_process_live_and_stops_no_grants() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let (mut one, mut other) = (clock.process(&server, 1), clock.process(&server, 2));
    one.lease((6, 0), 0, 10).await;
    other.lease((1, 0), 0, 10).await;
    clock.set_back(HOUR);
    assert_eq!(other.lease((1, 0), 10, 10).await, (0, 2), "half of three");
    clock.advance(HOLDS_FOR);
    assert_eq!(other.lease((1, 0), 0, 10).await, (0, 0));
    assert_eq!(other.receive().await.replicas, [one.id, other.id]);
    clock.advance(LIVES_FOR - HOLDS_FOR);
    assert_eq!(other.receive().await.replicas, [other.id]);
    assert_eq!(other.lease((1, 0), 10, 10).await, (0, 9));
}

#[tokio::test]
async fn each_unit_of_a_limit_is_granted_apart_from_the_others() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    other.receive().await;
    let lease = |held, used, ceiling| LeaseRequest::new((held, used), ceiling).want(1_000, 1);
    let request = one.request_leases(vec![
        (Unit::Requests, lease(0, 0, 10)),
        (Unit::OutputTokens, lease(0, 0, 600)),
    ]);
    let grants = |granted: [(Unit, u64, u64); 2]| {
        granted.map(|(unit, used, granted)| (unit, Grant::new(used, granted)))
    };
    let expected = grants([(Unit::Requests, 0, 5), (Unit::OutputTokens, 0, 300)]);
    assert_eq!(one.exchange(request).await.limits[0].grants, expected);
    let request = one.request_leases(vec![
        (Unit::Requests, lease(4, 1, 0)),
        (Unit::OutputTokens, lease(240, 60, 0)),
    ]);
    one.exchange(request).await;
    one.publish(super::fact(1)).await;
    let response = other.receive().await;
    assert_eq!(
        response.limits[0].grants,
        grants([(Unit::Requests, 1, 0), (Unit::OutputTokens, 60, 0)])
    );
}

#[tokio::test]
async fn less_than_what_is_needed_is_not_granted() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    other.receive().await;
    let lease = |held, least| {
        vec![(
            Unit::Tokens,
            LeaseRequest::new((held, 0), 1_000).want(800, least),
        )]
    };
    let request = one.request_leases(lease(0, 700));
    let granted = one.exchange(request).await.limits[0].grants[0].1.granted;
    assert_eq!(
        granted, 700,
        "more than half of what is free, because less is of no use"
    );
    let request = other.request_leases(lease(0, 301));
    assert_eq!(
        other.exchange(request).await.limits[0].grants[0].1.granted,
        0
    );
    let request = other.request_leases(lease(0, 300));
    assert_eq!(
        other.exchange(request).await.limits[0].grants[0].1.granted,
        300
    );
}
