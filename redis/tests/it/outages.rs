//! A server that is killed, frozen or emptied while processes send calls.

use std::{ops::AsyncFnOnce, time::Duration};

use tokio::time::sleep;

use crate::{
    processes::{all_failed, keys},
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

/// Lets two processes send calls for some seconds, does something meanwhile, and checks that they share again.
async fn run(what: impl AsyncFnOnce(&mut Server)) {
    let Some(mut server) = Server::start() else {
        return;
    };
    let provider = Provider::start().await.expect("a port is free");
    let work = Work {
        server: server.url(),
        origin: provider.origin().to_owned(),
        keys: keys(2),
        callers: 8,
        calls: 24,
    };
    let workers = vec![work.start(), work.start()];
    assert!(share(&server, 2).await, "they do not share");
    what(&mut server).await;
    assert!(share(&server, 2).await, "they do not share again");
    assert!(provider.counts().0 < 2 * 8 * 24, "they have ended before");
    assert_eq!(all_failed(workers).await, 0);
    let (passed, rejected) = provider.counts();
    println!("{passed} requests have passed, {rejected} were rejected");
    assert_eq!(passed, 2 * 8 * 24);
}

#[tokio::test]
async fn server_that_is_killed_and_restarted_fails_no_call() {
    run(async |server| {
        server.kill();
        sleep(Duration::from_millis(500)).await;
        server.restart();
    })
    .await;
}

#[tokio::test]
async fn server_that_is_frozen_for_two_seconds_fails_no_call() {
    run(async |server| {
        server.freeze();
        sleep(Duration::from_secs(2)).await;
        server.thaw();
    })
    .await;
}

#[tokio::test]
async fn server_that_is_emptied_fails_no_call() {
    run(async |server| {
        let emptied = redis::cmd("FLUSHALL").exec(&mut server.admin());
        emptied.expect("it is allowed");
    })
    .await;
}

#[tokio::test]
async fn server_that_is_never_there_fails_no_call() {
    let provider = Provider::start().await.expect("a port is free");
    let work = Work {
        server: "redis://127.0.0.1:1".to_owned(),
        origin: provider.origin().to_owned(),
        keys: keys(2),
        callers: 8,
        calls: 8,
    };
    assert_eq!(all_failed(vec![work.start()]).await, 0);
    assert_eq!(provider.counts().0, 64);
}
