//! What is left is leased: together the processes send no more than a limit lets through.

use futures::future::{join, join_all};
use http::Request;
use tower_429::{Call, Cost, KeyPool};

use super::{Process, near, pools};
use crate::{
    scheduling::{call, calls, waits, windows},
    script::*,
};

/// The calls of each pool at once; how many were answered.
async fn from_each(pools: &[KeyPool], provider: &Provider, count: u64) -> usize {
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, provider, secs(120)))
        .collect();
    let answers = join_all(services.iter().map(|service| calls(service, count))).await;
    answers.iter().flatten().filter(|it| **it == 200).count()
}

#[tokio::test(start_paused = true)]
async fn four_processes_use_a_reported_window_to_the_last_and_waste_one_request() {
    let provider = windows(40);
    let (_processes, pools) = pools(&near(), &["a"], 4).await;
    assert_eq!(from_each(&pools, &provider, 30).await, 120);
    // One request of one process finds out that nothing is left, as reported.
    assert_eq!(provider.seen().len(), 121);
    // 120 calls are three windows of ten seconds.
    assert!(provider.seen().iter().all(|it| it.at < secs(31)));
}

#[tokio::test(start_paused = true)]
async fn places_of_a_process_that_is_killed_come_back_in_two_seconds() {
    let provider = windows(8);
    let (mut processes, mut pools) = pools(&near(), &["a"], 2).await;
    let killed = waits(&pools.remove(0), &provider, secs(60));
    // It holds a place while its request is in flight, and makes no further exchange.
    let slow = Provider::new(|_| Answer::Late(secs(3600), 200));
    let stuck = waits(&processes[0].pool(&["a"]), &slow, secs(60));
    call(&killed, chat("m")).await;
    tokio::time::sleep(millis(20)).await;
    let stuck = tokio::spawn(async move { call(&stuck, chat("m")).await });
    tokio::time::sleep(millis(20)).await;
    processes.remove(0).driver.abort();
    let other = waits(&pools.remove(0), &provider, secs(5));
    let answers = calls(&other, 7).await;
    assert_eq!(answers, [200; 7], "one place of eight was used");
    assert!(provider.seen().iter().all(|it| it.at < secs(4)));
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn process_that_ends_gives_back_its_places_at_once() {
    let engine = near();
    let provider = windows(10);
    let (mut processes, mut pools) = pools(&engine, &["a"], 2).await;
    let first = waits(&pools.remove(0), &provider, secs(60));
    assert_eq!(calls(&first, 4).await, [200; 4]);
    let Process { sharing, driver } = processes.remove(0);
    drop((first, sharing));
    driver.await.unwrap();
    let at = tokio::time::Instant::now();
    let second = waits(&pools.remove(0), &provider, secs(5));
    assert_eq!(calls(&second, 6).await, [200; 6]);
    assert!(at.elapsed() < secs(1), "{:?}", at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn tokens_are_leased_too() {
    let mut window = (0, 0_u64);
    let provider = Provider::new(move |seen| {
        let now = seen.at.as_secs() / 10;
        if window.0 != now {
            window = (now, 0);
        }
        let rest = secs((now + 1) * 10) - seen.at;
        let may_go = window.1 + 100 <= 1_000;
        window.1 += if may_go { 100 } else { 0 };
        let headers = vec![
            ("x-ratelimit-limit-tokens", "1000".into()),
            (
                "x-ratelimit-remaining-tokens",
                (1_000 - window.1).to_string(),
            ),
            (
                "x-ratelimit-reset-tokens",
                format!("{}ms", rest.as_millis()),
            ),
        ];
        Answer::Response(if may_go { 200 } else { 429 }, headers)
    });
    let (_processes, pools) = pools(&near(), &["a"], 4).await;
    let costing = || -> Request<String> {
        let mut request = chat("m");
        request
            .extensions_mut()
            .insert(Call::new().cost(Cost::new(100, 0)));
        request
    };
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, &provider, secs(120)))
        .collect();
    // The first response reports the limit, and a process that sends nothing receives it within a second.
    call(&services[0], costing()).await;
    tokio::time::sleep(millis(1_100)).await;
    let all = services
        .iter()
        .flat_map(|service| (0..7).map(move |_| call(service, costing())));
    let answers = join_all(all).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    // Processes learn of each other a moment late, so a few may be rejected.
    assert!(provider.seen().len() <= 33, "{}", provider.seen().len());
    assert!(provider.seen().iter().all(|it| it.at < secs(31)));
}

#[tokio::test(start_paused = true)]
async fn call_with_a_leased_place_does_not_wait_for_the_engine() {
    let engine = near();
    let provider = windows(1_000);
    let (_processes, pools) = pools(&engine, &["a"], 2).await;
    let service = waits(&pools[0], &provider, secs(60));
    // Places are leased for as many calls as came lately.
    for _ in 0..100 {
        assert_eq!(call(&service, chat("m")).await.status(), ok());
        tokio::time::sleep(millis(5)).await;
    }
    engine.set_down(true);
    let at = tokio::time::Instant::now();
    let (one, other) = join(call(&service, chat("m")), call(&service, chat("m"))).await;
    assert_eq!((one.status(), other.status()), (ok(), ok()));
    assert!(at.elapsed() < millis(1), "{:?}", at.elapsed());
}

fn ok() -> http::StatusCode {
    http::StatusCode::OK
}
