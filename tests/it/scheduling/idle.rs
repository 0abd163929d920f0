//! An idle pool or fallback sends a lone call at once, whatever the outcome of earlier calls.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fastrand::Rng;
use futures::future::join_all;
use http::{Request, Response};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer};

use super::{call, left, pool, waits};
use crate::script::*;

/// Returns a provider that responds at random until `calm`, and then at once.
fn stormy(seed: u64) -> (Provider, Arc<AtomicBool>) {
    let calm = Arc::new(AtomicBool::new(false));
    let (is_calm, mut random) = (calm.clone(), Rng::with_seed(seed));
    let provider = Provider::new(move |_| {
        if is_calm.load(Ordering::Relaxed) {
            return ok();
        }
        let after = millis(random.u64(0..400));
        match random.u32(0..12) {
            0..4 => Answer::Late(after, 200),
            4 | 5 => Answer::Slow(after, 200, left(10, random.u64(0..4), millis(300))),
            6 | 7 => Answer::Slow(after, 429, vec![]),
            8 => Answer::Slow(after, 429, vec![("retry-after-ms", "150".into())]),
            9 => Answer::Late(after, 500),
            10 => Answer::Error(io::ErrorKind::ConnectionReset),
            _ => Answer::Never,
        }
    });
    (provider, calm)
}

/// Starts calls within a second. Most are dropped soon.
async fn storm<S>(service: &S, seed: u64)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let mut random = Rng::with_seed(seed);
    let calls = (0..60).map(|_| {
        let (begins, max_wait) = (random.u64(0..1_000), random.u64(0..600));
        async move {
            sleep(millis(begins)).await;
            let _ = timeout(millis(max_wait), service.clone().oneshot(chat("m"))).await;
        }
    });
    join_all(calls.collect::<Vec<_>>()).await;
}

/// Waits until the snapshot of the pool shows a key that is neither limited nor in flight.
async fn shows_a_free_key(pool: &KeyPool) {
    loop {
        let keys = pool.snapshot();
        assert!(keys.iter().all(|key| key.in_flight == 0));
        let ends = keys.iter().filter_map(|key| {
            let of_models = key.limited_models.iter().map(|model| model.until);
            key.cooldown_until.into_iter().chain(of_models).max()
        });
        let ends: Vec<_> = ends.collect();
        match ends.iter().min() {
            Some(first) if ends.len() == keys.len() => sleep_until(*first).await,
            _ => return,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lone_call_waits_at_most_a_window_after_many_cancelled_calls() {
    for keys in [&["a"][..], &["a", "b"]] {
        for seed in 0..50 {
            let (provider, calm) = stormy(seed);
            let pool = pool(keys);
            let service = waits(&pool, &provider, secs(30));
            storm(&service, seed).await;
            calm.store(true, Ordering::Relaxed);
            shows_a_free_key(&pool).await;
            let start = Instant::now();
            assert_eq!(call(&service, chat("m")).await.status(), 200);
            let waited = start.elapsed();
            // At most until the end of the window that the last responses of the storm may have shown.
            assert!(waited < millis(2_500), "{keys:?}, seed {seed}: {waited:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn next_call_probes_if_a_probe_ends_without_a_response() {
    for end in [Answer::Never, Answer::Error(io::ErrorKind::ConnectionReset)] {
        let rotation = KeyRotationLayer::new(pool(&["a"])).wait_when_exhausted(secs(30));
        let provider = Provider::script([status(429), end.clone(), ok()]);
        let service = ServiceBuilder::new()
            .layer(BackoffLayer::new().attempts(1))
            .layer(rotation)
            .service(provider.clone());
        next_call_is_sent_at_once(&service).await;

        let provider = Provider::script([status(429), end, ok()]);
        let fallback = FallbackLayer::new(Vec::<&str>::new()).wait_when_exhausted(secs(30));
        let service = ServiceBuilder::new()
            .layer(fallback)
            .layer(BackoffLayer::new().attempts(1))
            .service(provider);
        next_call_is_sent_at_once(&service).await;
    }
}

/// The first request is rejected, the second gets no response, and the third is sent at once.
async fn next_call_is_sent_at_once<S>(service: &S)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let rejected_and_probed = service.clone().oneshot(chat("m"));
    assert!(!matches!(
        timeout(millis(1_300), rejected_and_probed).await,
        Ok(Ok(_))
    ));
    let start = Instant::now();
    assert_eq!(call(service, chat("m")).await.status(), 200);
    assert!(start.elapsed() < millis(5), "{:?}", start.elapsed());
}
