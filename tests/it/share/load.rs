//! How many exchanges a process makes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::sleep;
use tower_429::{
    KeyPool,
    share::{Engine, ExchangeRequest, ExchangeResponse, InMemory, Name, share},
};

use super::{Process, near};
use crate::{
    scheduling::{call, calls, left, waits, windows},
    script::*,
};

/// So many seconds of a paused clock.
const SECONDS: u64 = 60;

/// An engine that counts the exchanges of one process.
struct Counted {
    engine: InMemory,
    count: Arc<AtomicU64>,
}

// === impl Counted ===

impl Counted {
    /// Starts a process. Returns it with its pool and the number of its exchanges.
    async fn start(engine: &InMemory) -> (Process, KeyPool, Arc<AtomicU64>) {
        let count = Arc::default();
        let counted = Self {
            engine: engine.clone(),
            count: Arc::clone(&count),
        };
        let (sharing, driver) = share(counted, Name::new("test").secret("secret"));
        let driver = tokio::spawn(driver);
        let process = Process { sharing, driver };
        let pool = process.pool(&["a", "b"]);
        process.sharing.ready().await;
        (process, pool, count)
    }
}

impl Engine for Counted {
    type Error = <InMemory as Engine>::Error;

    async fn exchange(
        &mut self,
        request: ExchangeRequest,
    ) -> Result<ExchangeResponse, Self::Error> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.engine.exchange(request).await
    }
}

/// Returns how many exchanges each process makes in [`SECONDS`].
async fn exchanges<const N: usize>(counts: [&AtomicU64; N]) -> [u64; N] {
    let load = || counts.map(|count| count.load(Ordering::Relaxed));
    let before = load();
    sleep(secs(SECONDS)).await;
    let mut counts = load();
    counts
        .iter_mut()
        .zip(before)
        .for_each(|(count, before)| *count -= before);
    counts
}

/// Checks that each process makes an exchange a second, and no more.
async fn check_idle<const N: usize>(counts: [&AtomicU64; N]) {
    // An exchange takes a millisecond, and the next one is due a second after it began.
    let found = exchanges(counts).await;
    assert!(
        found
            .iter()
            .all(|count| (SECONDS - 1..=SECONDS).contains(count)),
        "{found:?} exchanges in {SECONDS} s"
    );
}

#[tokio::test(start_paused = true)]
async fn process_without_calls_makes_one_exchange_a_second() {
    let engine = near();
    let (_one, _pool, count) = Counted::start(&engine).await;
    let (_other, _other_pool, other_count) = Counted::start(&engine).await;
    check_idle([&count, &other_count]).await;
}

#[tokio::test(start_paused = true)]
async fn process_whose_calls_have_ended_makes_one_exchange_a_second() {
    let (engine, provider) = (near(), windows(40));
    let (_one, pool, count) = Counted::start(&engine).await;
    let (_other, _other_pool, other_count) = Counted::start(&engine).await;
    let service = waits(&pool, &provider, secs(60));
    assert_eq!(calls(&service, 100).await, [200; 100]);
    // The places that no call has taken go back.
    sleep(secs(1)).await;
    check_idle([&count, &other_count]).await;
}

#[tokio::test(start_paused = true)]
async fn process_with_a_long_request_makes_one_exchange_a_second() {
    let engine = near();
    let (_one, pool, count) = Counted::start(&engine).await;
    let (_other, _other_pool, other_count) = Counted::start(&engine).await;
    let service = waits(&pool, &windows(40), secs(60));
    call(&service, chat("m")).await;
    let slow = Provider::new(|_| Answer::Late(secs(3600), 200));
    let slow = waits(&pool, &slow, secs(60));
    let request = tokio::spawn(async move { call(&slow, chat("m")).await });
    sleep(secs(1)).await;
    check_idle([&count, &other_count]).await;
    request.abort();
}

#[tokio::test(start_paused = true)]
async fn process_whose_keys_are_on_cooldown_makes_one_exchange_a_second() {
    let engine = near();
    let (_one, pool, count) = Counted::start(&engine).await;
    let (_other, other_pool, other_count) = Counted::start(&engine).await;
    let provider = Provider::new(|_| Answer::Response(429, vec![("retry-after", "600".into())]));
    let waiting = [pool, other_pool].map(|pool| {
        let service = waits(&pool, &provider, secs(3600));
        tokio::spawn(async move { calls(&service, 4).await })
    });
    sleep(secs(2)).await;
    check_idle([&count, &other_count]).await;
    assert!(waiting.iter().all(|calls| !calls.is_finished()));
    waiting.iter().for_each(|calls| calls.abort());
}

/// Admits one request, and reports that nothing is left for 600 s.
fn used_up() -> Provider {
    let mut status = 200;
    Provider::new(move |seen| {
        let rest = secs(600).saturating_sub(seen.at);
        Answer::Response(std::mem::replace(&mut status, 429), left(1, 0, rest))
    })
}

#[tokio::test(start_paused = true)]
async fn process_that_waits_for_a_closed_window_makes_one_exchange_a_second() {
    let engine = near();
    let (one, _pool, count) = Counted::start(&engine).await;
    let (other, _other_pool, other_count) = Counted::start(&engine).await;
    let [pool, other_pool] = [one.pool(&["c"]), other.pool(&["c"])];
    let provider = used_up();
    let waiting = [pool, other_pool].map(|pool| {
        let service = waits(&pool, &provider, secs(3600));
        tokio::spawn(async move { calls(&service, 20).await })
    });
    sleep(secs(5)).await;
    check_idle([&count, &other_count]).await;
    assert!(waiting.iter().all(|calls| !calls.is_finished()));
    waiting.iter().for_each(|calls| calls.abort());
}

#[tokio::test(start_paused = true)]
async fn process_that_waits_for_requests_of_others_makes_few_exchanges() {
    let engine = near();
    let (one, _pool, count) = Counted::start(&engine).await;
    let (other, _other_pool, other_count) = Counted::start(&engine).await;
    let [pool, other_pool] = [one.pool(&["c"]), other.pool(&["c"])];
    let first = Provider::new(|_| Answer::Response(200, left(4, 3, secs(3600))));
    call(&waits(&pool, &first, secs(60)), chat("m")).await;
    call(&waits(&other_pool, &first, secs(60)), chat("m")).await;
    sleep(secs(2)).await;
    let slow = Provider::new(|_| Answer::Late(secs(3600), 200));
    let waiting = [pool, other_pool].map(|pool| {
        let service = waits(&pool, &slow, secs(3600));
        tokio::spawn(async move { calls(&service, 4).await })
    });
    sleep(secs(2)).await;
    assert_eq!(slow.seen().len(), 3, "three are left for all");
    // Such a process makes ten exchanges a second.
    let found = exchanges([&count, &other_count]).await;
    assert!(
        found.iter().all(|count| *count <= 10 * SECONDS),
        "{found:?}"
    );
    waiting.iter().for_each(|calls| calls.abort());
}
