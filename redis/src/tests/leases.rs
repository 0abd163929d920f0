//! What processes are granted.

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
    other.hear().await;
    assert_eq!(one.ask((0, 0), 8, 10).await, (0, 5), "half of what is free");
    assert_eq!(other.ask((0, 0), 8, 10).await, (0, 3));
    assert_eq!(one.ask((5, 0), 8, 10).await, (0, 1));
    assert_eq!(other.ask((3, 0), 8, 10).await, (0, 1));
    assert_eq!(one.ask((6, 0), 8, 10).await, (0, 0));
    assert_eq!(one.ask((0, 6), 0, 10).await, (6, 0), "six were used");
    assert_eq!(other.ask((4, 0), 8, 10).await, (6, 0));
    assert_eq!(other.ask((4, 0), 8, 12).await, (6, 1));
}

#[tokio::test]
async fn exchange_that_comes_twice_or_late_changes_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    let late = one.say_ask((0, 0), 8, 10);
    let first = one.say_ask((0, 0), 4, 10);
    let again = first.clone();
    one.exchange(first).await;
    assert!(one.engine.exchange(again).await.is_err());
    assert!(one.engine.exchange(late).await.is_err());
    other.hear().await;
    assert_eq!(other.ask((0, 0), 10, 10).await, (0, 3), "half of six");
}

#[tokio::test]
async fn process_that_ends_frees_what_it_holds_at_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    other.hear().await;
    assert_eq!(one.ask((10, 0), 0, 10).await, (0, 0));
    assert_eq!(other.ask((0, 0), 4, 10).await, (0, 0));
    let mut last = one.say_ask((0, 7), 3, 10);
    last.is_last = true;
    one.exchange(last).await;
    let hear = other.hear().await;
    assert_eq!(hear.replicas, [other.id]);
    assert_eq!(other.ask((0, 0), 4, 10).await, (7, 3), "seven were used");
}

#[tokio::test]
async fn process_that_is_killed_frees_what_it_holds() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    assert_eq!(one.ask((10, 0), 0, 10).await, (0, 0));
    drop(one);
    assert_eq!(other.ask((0, 0), 4, 10).await, (0, 0));
    let freed = until(PATIENCE, async || other.ask((0, 0), 4, 10).await.1 > 0).await;
    assert!(freed, "its places never came back");
    let gone = until(PATIENCE, async || other.hear().await.replicas == [other.id]).await;
    assert!(gone, "it counts as live for ever");
}

#[tokio::test]
async fn process_that_was_not_heard_for_two_seconds_holds_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let (mut one, mut other) = (clock.process(&server, 1), clock.process(&server, 2));
    one.ask((10, 0), 0, 10).await;
    clock.advance(HOLDS_FOR - Duration::from_micros(1));
    assert_eq!(other.ask((0, 0), 4, 10).await, (0, 0));
    clock.advance(Duration::from_micros(1));
    assert_eq!(other.ask((0, 0), 4, 10).await, (0, 4));
    // It was only silent, and holds the same again.
    one.hear().await;
    assert_eq!(other.ask((0, 0), 4, 15).await, (0, 3), "half of five");
}

#[tokio::test]
async fn clock_that_jumps_neither_ends_nor_prolongs_the_time_without_grants() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let mut one = clock.process(&server, 1);
    one.ask((0, 0), 0, 10).await;
    clock.flush();
    assert!(one.hear().await.is_learning);
    clock.set_back(HOUR);
    assert!(one.hear().await.is_learning);
    clock.advance(HOUR + Duration::from_millis(100));
    assert!(one.hear().await.is_learning);
    clock.advance(LEARNS_FOR);
    assert!(!one.hear().await.is_learning);
}

#[tokio::test]
async fn server_that_lost_everything_grants_nothing_until_processes_have_told_what_they_hold() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    one.ask((6, 0), 0, 10).await;
    other.hear().await;
    let before = other.epoch;
    redis::cmd("FLUSHALL")
        .exec(&mut server.admin())
        .expect("it is allowed");
    let say = other.say_ask((0, 0), 10, 10);
    let hear = other.exchange(say).await;
    assert!(hear.is_learning && Some(hear.epoch) != before);
    assert_eq!(hear.limits[0].grants[0].1.granted, 0);
    one.ask((6, 0), 0, 10).await;
    let learned = until(PATIENCE, async || !other.hear().await.is_learning).await;
    assert!(learned, "it grants nothing for ever");
    one.ask((6, 0), 0, 10).await;
    assert_eq!(other.ask((0, 0), 10, 10).await, (0, 2), "half of four");
}

#[tokio::test]
async fn server_that_knows_less_than_a_process_has_heard_begins_anew() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut one = Process::new(&server.url(), 1);
    for version in 1..4 {
        one.tell(super::fact(version)).await;
    }
    let before = one.epoch;
    // The newest fact that a restored server knows is the first.
    let mut admin = server.admin();
    let mut head: Vec<u8> = redis::cmd("HGET")
        .arg("t429:1:{prod/openai}")
        .arg("head")
        .query(&mut admin)
        .expect("it exists");
    head[8..16].copy_from_slice(&1_u64.to_be_bytes());
    super::hostile::set(&mut admin, "t429:1:{prod/openai}", b"head", &head);
    let hear = one.hear().await;
    assert!(hear.is_learning && Some(hear.epoch) != before);
}

#[tokio::test]
async fn clock_that_is_set_back_keeps_nobody_alive_and_stops_no_grants() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut clock = Clock::start(&server);
    let (mut one, mut other) = (clock.process(&server, 1), clock.process(&server, 2));
    one.ask((6, 0), 0, 10).await;
    other.ask((1, 0), 0, 10).await;
    clock.set_back(HOUR);
    assert_eq!(other.ask((1, 0), 10, 10).await, (0, 2), "half of three");
    clock.advance(HOLDS_FOR);
    assert_eq!(other.ask((1, 0), 0, 10).await, (0, 0));
    assert_eq!(other.hear().await.replicas, [one.id, other.id]);
    clock.advance(LIVES_FOR - HOLDS_FOR);
    assert_eq!(other.hear().await.replicas, [other.id]);
    assert_eq!(other.ask((1, 0), 10, 10).await, (0, 9));
}

#[tokio::test]
async fn each_unit_of_a_limit_is_granted_apart_from_the_others() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url();
    let (mut one, mut other) = (Process::new(&url, 1), Process::new(&url, 2));
    other.hear().await;
    let ask = |held, used, ceiling| LeaseRequest::new((held, used), ceiling).want(1_000, 1);
    let say = one.say_asks(vec![
        (Unit::Requests, ask(0, 0, 10)),
        (Unit::OutputTokens, ask(0, 0, 600)),
    ]);
    let grants = |granted: [(Unit, u64, u64); 2]| {
        granted.map(|(unit, used, granted)| (unit, Grant::new(used, granted)))
    };
    let expected = grants([(Unit::Requests, 0, 5), (Unit::OutputTokens, 0, 300)]);
    assert_eq!(one.exchange(say).await.limits[0].grants, expected);
    let say = one.say_asks(vec![
        (Unit::Requests, ask(4, 1, 0)),
        (Unit::OutputTokens, ask(240, 60, 0)),
    ]);
    one.exchange(say).await;
    one.tell(super::fact(1)).await;
    let heard = other.hear().await;
    assert_eq!(
        heard.limits[0].grants,
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
    other.hear().await;
    let ask = |held, least| {
        vec![(
            Unit::Tokens,
            LeaseRequest::new((held, 0), 1_000).want(800, least),
        )]
    };
    let say = one.say_asks(ask(0, 700));
    let granted = one.exchange(say).await.limits[0].grants[0].1.granted;
    assert_eq!(
        granted, 700,
        "more than half of what is free, because less is of no use"
    );
    let say = other.say_asks(ask(0, 301));
    assert_eq!(other.exchange(say).await.limits[0].grants[0].1.granted, 0);
    let say = other.say_asks(ask(0, 300));
    assert_eq!(other.exchange(say).await.limits[0].grants[0].1.granted, 300);
}
