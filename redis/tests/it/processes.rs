//! Two and four processes.

use std::{process::Child, time::Duration};

use crate::{
    outages::share,
    provider::{INVALID, Provider},
    support::Server,
    worker::{Outcome, Work, outcome},
};

pub(crate) fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("sk-of-nobody-else-{index}"))
        .collect()
}

/// Waits for all workers.
pub(crate) async fn outcomes(workers: Vec<Child>) -> Vec<Outcome> {
    let all = || workers.into_iter().map(outcome).collect();
    let all = tokio::task::spawn_blocking(all);
    all.await.expect("they end")
}

/// Waits for all workers. Returns how many of their calls have failed.
pub(crate) async fn all_failed(workers: Vec<Child>) -> u32 {
    outcomes(workers).await.iter().map(|it| it.failed).sum()
}

async fn run(count: u32) {
    let Some(server) = Server::start() else {
        return;
    };
    let provider = Provider::start().await.expect("a port is free");
    let work = Work {
        server: Some(server.url()),
        origin: provider.origin().to_owned(),
        keys: keys(2),
        callers: 32 / count,
        calls: 7,
        pause: Duration::ZERO,
    };
    let workers = (0..count).map(|_| work.start()).collect();
    assert_eq!(all_failed(workers).await, 0);
    let (passed, rejected) = provider.counts();
    let stats = redis::cmd("INFO")
        .arg("commandstats")
        .query::<String>(&mut server.admin());
    let stats = stats.expect("it is allowed");
    let cost = stats.lines().find(|line| line.starts_with("cmdstat_eval:"));
    println!(
        "{count} processes: {passed} requests have passed, {rejected} were rejected; {cost:?}"
    );
    assert_eq!(passed, 7 * 32);
}

#[tokio::test]
async fn two_processes_fail_no_call() {
    run(2).await;
}

#[tokio::test]
async fn four_processes_fail_no_call() {
    run(4).await;
}

#[tokio::test]
async fn process_that_starts_later_does_not_use_a_key_that_was_rejected() {
    let Some(server) = Server::start() else {
        return;
    };
    let provider = Provider::start().await.expect("a port is free");
    let mut keys = keys(1);
    keys.insert(0, format!("{INVALID}-key"));
    let work = Work {
        server: Some(server.url()),
        origin: provider.origin().to_owned(),
        keys,
        callers: 1,
        calls: 3,
        pause: Duration::ZERO,
    };
    for _ in 0..3 {
        assert_eq!(all_failed(vec![work.start()]).await, 0);
    }
    assert_eq!(provider.counts(), (9, 1));
}

#[tokio::test]
async fn process_that_is_killed_frees_its_places_for_the_other() {
    let Some(server) = Server::start() else {
        return;
    };
    let provider = Provider::start().await.expect("a port is free");
    let work = Work {
        server: Some(server.url()),
        origin: provider.origin().to_owned(),
        keys: keys(2),
        callers: 8,
        calls: 24,
        pause: Duration::ZERO,
    };
    let (mut killed, other) = (work.start(), work.start());
    assert!(share(&server, 2).await, "they do not share");
    let before = provider.counts().0;
    killed.kill().expect("it runs");
    killed.wait().expect("it was killed");
    assert!(before < 8 * 24, "it has ended before");
    assert!(share(&server, 1).await, "it counts as live forever");
    assert_eq!(all_failed(vec![other]).await, 0);
    assert!(provider.counts().0 >= 8 * 24);
}
