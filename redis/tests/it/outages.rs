//! A server that is killed, frozen or emptied while processes send calls.

use std::{ops::AsyncFnOnce, time::Duration};

use tokio::time::sleep;

use crate::{
    log::millis,
    processes::{keys, outcomes},
    provider::Provider,
    support::{PATIENCE, Server},
    worker::{NAME, Work},
};

/// Waits until so many processes have made an exchange lately.
pub(crate) async fn share(server: &Server, count: usize) -> bool {
    let key = format!("t429:1:{{{NAME}}}");
    for _ in 0..PATIENCE.as_millis() / 20 {
        let mut length = redis::cmd("HSTRLEN");
        let length = length.arg(&key).arg("replicas").query(&mut server.admin());
        if length == Ok(32 * count) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Lets processes send calls for some seconds, does something meanwhile, and checks that they share again.
async fn run(processes: usize, what: impl AsyncFnOnce(&mut Server)) {
    if let Some(server) = Server::start() {
        run_with(server, processes, what).await;
    }
}

/// Does the same with a server that runs.
async fn run_with(mut server: Server, processes: usize, what: impl AsyncFnOnce(&mut Server)) {
    let provider = Provider::start().await.expect("a port is free");
    let calls = 2 * 8 * 24;
    let work = Work {
        server: Some(server.url()),
        origin: provider.origin().to_owned(),
        keys: keys(2),
        callers: 16 / processes as u32,
        calls: 24,
        pause: Duration::ZERO,
    };
    let workers = (0..processes).map(|_| work.start()).collect();
    assert!(share(&server, processes).await, "they do not share");
    what(&mut server).await;
    let returned = millis();
    assert!(share(&server, processes).await, "they do not share again");
    assert!(provider.counts().0 < calls, "they have ended before");
    let outcomes = outcomes(workers).await;
    assert_eq!(outcomes.iter().map(|it| it.failed).sum::<u32>(), 0);
    for outcome in &outcomes {
        check_log(&outcome.log);
    }
    // A server that is emptied is there all the time.
    let lines = outcomes.iter().filter_map(|it| it.log.last());
    let last = lines.map(|(millis, _)| millis.saturating_sub(returned));
    let after = last.max().unwrap_or_default();
    let (passed, rejected) = provider.counts();
    println!(
        "{passed} requests have passed, {rejected} were rejected, connected again after {after} ms"
    );
    assert_eq!(passed, calls);
}

/// Checks that a process logs each change of its state, with two lines at most.
fn check_log(log: &[(u64, String)]) {
    assert!(!log.is_empty(), "it has shared and logged nothing");
    let states: Vec<_> = log.iter().filter_map(|(_, line)| state(line)).collect();
    // Two equal lines in a row are one change.
    let changes = states.chunk_by(|one, other| one == other).count();
    assert!(log.len() <= 2 * changes, "{changes} changes: {log:#?}");
    assert_eq!(states.last(), Some(&"there"), "{log:#?}");
}

/// Returns the state of the server in a line of the log.
fn state(line: &str) -> Option<&'static str> {
    let states = ["there", "away"];
    states
        .into_iter()
        .find(|state| line.starts_with(&format!("engine is {state}")))
}

pub(crate) async fn kill(server: &mut Server) {
    server.kill();
    sleep(Duration::from_millis(500)).await;
    server.restart();
}

pub(crate) async fn freeze(server: &mut Server) {
    server.freeze();
    sleep(Duration::from_secs(2)).await;
    server.thaw();
}

pub(crate) async fn empty(server: &mut Server) {
    let emptied = redis::cmd("FLUSHALL").exec(&mut server.admin());
    emptied.expect("it is allowed");
}

#[tokio::test]
async fn server_that_is_killed_and_restarted_fails_no_call_of_two_processes() {
    run(2, kill).await;
}

#[tokio::test]
async fn server_that_is_killed_and_restarted_fails_no_call_of_four_processes() {
    run(4, kill).await;
}

#[tokio::test]
async fn server_that_is_frozen_for_two_seconds_fails_no_call_of_two_processes() {
    run(2, freeze).await;
}

#[tokio::test]
async fn server_that_is_frozen_for_two_seconds_fails_no_call_of_four_processes() {
    run(4, freeze).await;
}

#[tokio::test]
async fn server_that_is_emptied_fails_no_call_of_two_processes() {
    run(2, empty).await;
}

#[tokio::test]
async fn server_that_is_emptied_fails_no_call_of_four_processes() {
    run(4, empty).await;
}

#[tokio::test]
async fn server_whose_clock_jumps_fails_no_call() {
    let Some(server) = Server::start_with_clock() else {
        return;
    };
    let jump = async |server: &mut Server| {
        for hours in [-1, 1, 0] {
            server.set_clock(hours * 3_600);
            sleep(Duration::from_millis(500)).await;
        }
    };
    run_with(server, 2, jump).await;
}

#[tokio::test]
async fn server_that_is_never_there_fails_no_call() {
    let provider = Provider::start().await.expect("a port is free");
    let work = Work {
        server: Some("redis://127.0.0.1:1".to_owned()),
        origin: provider.origin().to_owned(),
        keys: keys(2),
        callers: 8,
        calls: 8,
        pause: Duration::ZERO,
    };
    let outcomes = outcomes(vec![work.start()]).await;
    assert_eq!(outcomes[0].failed, 0);
    let states: Vec<_> = outcomes[0]
        .log
        .iter()
        .map(|(_, line)| state(line))
        .collect();
    assert_eq!(states, [Some("away")], "it logs that once");
    assert_eq!(provider.counts().0, 64);
}
