//! What sharing adds to calls that have room.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    outages::{empty, freeze, kill},
    processes::{keys, outcomes},
    provider::Provider,
    support::Server,
    worker::Work,
};

/// So many requests that no call waits.
const LIMIT: u64 = 1_000_000;

/// No window ends meanwhile. At the end of one, calls may wait until a response reports how much the next one has.
const WINDOW: Duration = Duration::from_secs(60);

const PROCESSES: usize = 2;

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
    let mut micros: Vec<_> = outcomes.into_iter().flat_map(|it| it.micros).collect();
    micros.sort_unstable();
    let part = |per_mille: usize| micros[(micros.len() - 1) * per_mille / 1_000];
    // A call that finds no leased place waits for an exchange, and these are 5 ms apart.
    let waited = micros.iter().filter(|it| **it > 1_000).count();
    println!(
        "{case:?}: {} calls, {waited} over 1 ms, median {} us, p95 {} us, p99 {} us, p99.9 {} us, longest {} us",
        micros.len(),
        part(500),
        part(950),
        part(990),
        part(999),
        part(1_000)
    );
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
