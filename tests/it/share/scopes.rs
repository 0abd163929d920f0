//! Pools of one process with the same keys.

use tokio::time::sleep;
use tower_429::KeyPool;

use super::{Process, near};
use crate::{
    scheduling::{call, calls, waits, windows},
    script::*,
};

fn pool(process: &Process, scope: &str, keys: &[&str]) -> KeyPool {
    let pool = KeyPool::builder(keys.iter().copied()).for_origin("https://api.example");
    let pool = pool.shared(process.sharing.scoped(scope));
    pool.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn pools_share_with_those_of_their_scope_in_other_processes() {
    let engine = near();
    let processes = [Process::start(&engine).await, Process::start(&engine).await];
    let [chat_pools, batch_pools] =
        ["chat", "batch"].map(|scope| processes.each_ref().map(|it| pool(it, scope, &["a", "b"])));
    let provider = Provider::script([status(401), ok()]);
    call(&waits(&chat_pools[0], &provider, secs(1)), chat("m")).await;
    sleep(millis(1_100)).await;
    assert!(chat_pools[1].snapshot()[0].cooldown_is_remote);
    for pool in &batch_pools {
        assert!(pool.snapshot()[0].cooldown_until.is_none());
    }
    assert_eq!(processes[0].sharing.snapshot().replicas, Some(2));
}

#[tokio::test(start_paused = true)]
async fn leases_of_two_scopes_do_not_disturb_each_other() {
    let engine = near();
    let processes = [Process::start(&engine).await, Process::start(&engine).await];
    // Each scope has a provider of its own.
    let providers = [windows(10), windows(10)];
    let mut services = Vec::new();
    for process in &processes {
        for (scope, provider) in ["chat", "batch"].iter().zip(&providers) {
            services.push(waits(&pool(process, scope, &["a"]), provider, secs(60)));
        }
    }
    let all = services.iter().map(|service| calls(service, 20));
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().flatten().all(|status| *status == 200));
    for provider in &providers {
        // One request may find out that nothing is left, as reported.
        let sent = provider.seen().len();
        assert!((40..=41).contains(&sent), "{sent} were sent");
    }
}
