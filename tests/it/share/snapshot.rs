//! What a process shows of its sharing.

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tower_429::{
    KeyPool,
    key_rotation::Key,
    share::{SharingSnapshot, SharingState, Unit},
};

use super::{Process, near, pools};
use crate::{
    scheduling::{call, left, waits},
    script::*,
};

/// Reports that 8 of 10 requests are left, and then responds after five seconds.
fn slow() -> Provider {
    let mut first = true;
    Provider::new(move |_| match std::mem::take(&mut first) {
        true => Answer::Response(200, left(10, 8, secs(600))),
        false => Answer::Late(secs(5), 200),
    })
}

/// Returns the places that are leased and idle, and those that requests hold.
fn places(snapshot: &SharingSnapshot) -> (u64, u64) {
    let mut leases = snapshot.leases.iter();
    let places = leases.find(|leased| leased.unit == Unit::Requests);
    places.map_or((0, 0), |leased| (leased.idle, leased.in_flight))
}

#[tokio::test(start_paused = true)]
async fn snapshot_counts_processes_and_says_when_the_engine_responded() {
    let engine = near();
    let process = Process::start_without_wait(&engine);
    let starting = process.sharing.snapshot();
    assert_eq!(starting.state, SharingState::Starting);
    assert_eq!((starting.replicas, starting.responded), (None, None));
    process.sharing.ready().await;
    let at = Instant::now();
    let alone = process.sharing.snapshot();
    assert_eq!(alone.state, SharingState::Connected);
    assert_eq!((alone.replicas, alone.responded), (Some(1), Some(at)));

    let _other = Process::start(&engine).await;
    // A process that sends nothing makes an exchange each second.
    sleep(secs(1)).await;
    assert_eq!(process.sharing.snapshot().replicas, Some(2));

    engine.set_down(true);
    let last = process.sharing.snapshot().responded;
    sleep(secs(5)).await;
    let away = process.sharing.snapshot();
    assert_eq!(away.state, SharingState::Away);
    assert_eq!((away.replicas, away.responded), (Some(2), last));
}

#[tokio::test(start_paused = true)]
async fn snapshot_has_what_requests_hold_until_they_end() {
    let (processes, pools) = pools(&near(), &["a"], 2).await;
    let provider = slow();
    let service = waits(&pools[0], &provider, secs(60));
    call(&service, chat("m")).await;
    sleep(secs(1)).await;
    assert_eq!(processes[0].sharing.snapshot().leases, []);

    let open = (0..3).map(|_| {
        let service = service.clone();
        tokio::spawn(async move { call(&service, chat("m")).await.status() })
    });
    let open: Vec<_> = open.collect();
    sleep(secs(1)).await;
    assert_eq!(places(&processes[0].sharing.snapshot()), (0, 3));
    assert_eq!(processes[1].sharing.snapshot().leases, []);
    for answer in join_all(open).await {
        assert_eq!(answer.unwrap(), 200);
    }
    assert_eq!(places(&processes[0].sharing.snapshot()).1, 0);
}

#[tokio::test(start_paused = true)]
async fn snapshot_has_places_that_no_call_has_taken_yet() {
    let (processes, pools) = pools(&near(), &["a"], 1).await;
    let provider = slow();
    let service = waits(&pools[0], &provider, secs(60));
    call(&service, chat("m")).await;
    // An exchange leases ahead if calls come often.
    let (mut open, mut most) = (Vec::new(), 0);
    for step in 0..200 {
        if step % 5 == 0 && open.len() < 4 {
            let service = service.clone();
            open.push(tokio::spawn(async move {
                call(&service, chat("m")).await.status()
            }));
        }
        sleep(millis(1)).await;
        let (idle, in_flight) = places(&processes[0].sharing.snapshot());
        assert!(idle + in_flight <= 8, "{idle} + {in_flight} of 8");
        most = most.max(idle);
    }
    assert!(most > 0, "some were idle");
    // Idle places go back after 60 ms.
    sleep(secs(1)).await;
    assert_eq!(places(&processes[0].sharing.snapshot()), (0, 4));
    open.iter().for_each(|call| call.abort());
}

#[tokio::test(start_paused = true)]
async fn limit_of_two_keys_of_a_group_is_counted_once() {
    let process = Process::start(&near()).await;
    let keys = ["a", "b"].map(|key| Key::new(key).group("team"));
    let pool = KeyPool::builder(keys).for_origin("https://api.example");
    let pool = pool.shared(process.sharing.clone()).build().unwrap();
    let provider = slow();
    let service = waits(&pool, &provider, secs(60));
    call(&service, chat("m")).await;
    sleep(secs(1)).await;
    let open = (0..3).map(|_| {
        let service = service.clone();
        tokio::spawn(async move { call(&service, chat("m")).await.status() })
    });
    let open: Vec<_> = open.collect();
    sleep(secs(1)).await;
    assert_eq!(places(&process.sharing.snapshot()), (0, 3));
    open.iter().for_each(|call| call.abort());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_leased_while_the_engine_is_away() {
    let engine = near();
    let (processes, pools) = pools(&engine, &["a"], 1).await;
    let provider = slow();
    let service = waits(&pools[0], &provider, secs(60));
    call(&service, chat("m")).await;
    let open = tokio::spawn(async move { call(&service, chat("m")).await.status() });
    sleep(secs(1)).await;
    assert_eq!(places(&processes[0].sharing.snapshot()), (0, 1));
    engine.set_down(true);
    sleep(secs(2)).await;
    assert_eq!(processes[0].sharing.snapshot().leases, []);
    assert_eq!(open.await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn driver_makes_its_last_exchange_at_once() {
    let engine = near();
    let (mut processes, pools) = pools(&engine, &["a"], 2).await;
    // An idle process is in the middle of its second without an exchange.
    sleep(millis(500)).await;
    let Process { sharing, driver } = processes.remove(0);
    let at = Instant::now();
    drop((pools, sharing));
    driver.await.unwrap();
    assert!(at.elapsed() < millis(20), "{:?}", at.elapsed());
    sleep(secs(1)).await;
    assert_eq!(processes[0].sharing.snapshot().replicas, Some(1));
}
