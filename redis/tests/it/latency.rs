//! What sharing adds to calls that have room.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    outages::{empty, freeze, kill},
    processes::{keys, outcomes},
    provider::Provider,
    support::Server,
    worker::{CallTime, Work},
};

/// So many requests that no call waits.
const LIMIT: u64 = 1_000_000;

/// No window ends meanwhile. At the end of one, calls may wait until a response reports how much the next one has.
const WINDOW: Duration = Duration::from_secs(60);

const PROCESSES: usize = 2;

/// In these microseconds a process has not yet leased as much as its calls need.
const RAMP_UP: u64 = 500_000;

/// What happens to the server while processes send calls.
#[derive(Clone, Copy, Debug)]
enum Case {
    NotShared,
    Shared,
    Killed,
    Frozen,
    Emptied,
}

/// Prints how long the calls of two processes took.
async fn measure(case: Case) {
    let Some(mut server) = Server::start() else {
        return;
    };
    let provider = Provider::with_limit(LIMIT, WINDOW)
        .await
        .expect("a port is free");
    let work = Work {
        server: (!matches!(case, Case::NotShared)).then(|| server.url()),
        origin: provider.origin().to_owned(),
        keys: keys(4),
        callers: 4,
        calls: 500,
        pause: Duration::from_millis(10),
    };
    let workers = (0..PROCESSES).map(|_| work.start()).collect();
    sleep(Duration::from_secs(2)).await;
    match case {
        Case::NotShared | Case::Shared => {}
        Case::Killed => kill(&mut server).await,
        Case::Frozen => freeze(&mut server).await,
        Case::Emptied => empty(&mut server).await,
    }
    let outcomes = outcomes(workers).await;
    assert!(outcomes.iter().all(|it| it.failed == 0));
    let times: Vec<_> = outcomes.into_iter().flat_map(|it| it.times).collect();
    let early = times.iter().filter(|it| it.began < RAMP_UP);
    let early = early.filter(|it| it.waited > 0).count();
    let (with_place, without): (Vec<_>, Vec<_>) = times.iter().partition(|it| it.waited == 0);
    println!(
        "{case:?}: {}; {} without a wait: {}; {} that waited, {early} of them in the first {} ms: {}",
        parts(times.iter()),
        with_place.len(),
        parts(with_place),
        without.len(),
        RAMP_UP / 1_000,
        parts(without)
    );
}

/// Returns how long calls took.
fn parts<'a>(times: impl IntoIterator<Item = &'a CallTime>) -> String {
    let mut took: Vec<_> = times.into_iter().map(|it| it.took).collect();
    took.sort_unstable();
    let Some(last) = took.len().checked_sub(1) else {
        return "none".to_owned();
    };
    let [median, p95, p99, longest] = [500, 950, 990, 1_000].map(|it| took[last * it / 1_000]);
    format!("median {median}, p95 {p95}, p99 {p99}, longest {longest} us")
}

#[tokio::test]
#[ignore = "it measures"]
async fn latency_of_calls_that_have_room() {
    for _ in 0..3 {
        for case in [
            Case::NotShared,
            Case::Shared,
            Case::Killed,
            Case::Frozen,
            Case::Emptied,
        ] {
            measure(case).await;
        }
    }
}
