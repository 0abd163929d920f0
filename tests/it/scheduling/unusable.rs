//! Calls do not wait for keys that were rejected or whose quota is exhausted.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::{Layer as _, ServiceBuilder};
use tower_429::{BackoffLayer, FallbackLayer, KeyRotationLayer, rejection::Reason};

use super::{call, pool, waits};
use crate::script::*;

const AT_ONCE: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn calls_return_at_once_if_all_keys_are_rejected_or_exhausted() {
    for answers in [[401, 401], [402, 402], [401, 402]] {
        let provider = Provider::new(move |seen| status(answers[usize::from(seen.key() == "b")]));
        let service = waits(&pool(&["a", "b"]), &provider, secs(86_400));
        for _ in 0..2 {
            let start = Instant::now();
            let answer = call(&service, chat("m")).await;
            assert!(answers.contains(&answer.status().as_u16()), "{answers:?}");
            assert!(
                start.elapsed() < AT_ONCE,
                "{answers:?}: {:?}",
                start.elapsed()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_and_fallback_over_rejected_keys_return_at_once() {
    let provider = Provider::new(|_| status(401));
    let rotation = KeyRotationLayer::new(pool(&["a", "b"])).wait_when_exhausted(secs(120));
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["backup"]).wait_when_exhausted(secs(120)))
        .layer(BackoffLayer::new())
        .layer(rotation)
        .service(provider);
    for _ in 0..2 {
        let start = Instant::now();
        assert_eq!(call(&service, chat("m")).await.status(), 401);
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_a_limited_key_beside_a_rejected_one() {
    let provider = Provider::script([status(401), limited(7), ok(), limited(90), ok()]);
    let pool = pool(&["a", "b"]);
    let service = waits(&pool, &provider, secs(120));
    let start = Instant::now();
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert!(start.elapsed() >= secs(7) && start.elapsed() < secs(9));
    // The limit now lasts longer than the time until the rejected key is probed.
    assert_eq!(call(&service, chat("m")).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn waiting_call_returns_at_once_when_its_key_is_rejected() {
    let provider = Provider::script([limited(30), status(401), status(401)]);
    let pool = pool(&["a"]);
    let service = waits(&pool, &provider, secs(120));
    let anyway = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    let start = Instant::now();
    let waiting = call(&service, chat("m"));
    let rejected = async {
        sleep(secs(3)).await;
        call(&anyway, chat("m")).await
    };
    let (waiting, rejected) = tokio::join!(waiting, rejected);
    assert_eq!(
        (waiting.status().as_u16(), rejected.status().as_u16()),
        (401, 401)
    );
    assert!(start.elapsed() < secs(3) + AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn fallback_does_not_wait_for_targets_whose_quota_is_exhausted() {
    let provider = Provider::new(|_| status(402));
    let fallback = FallbackLayer::new(["backup"]).wait_when_exhausted(secs(86_400));
    let service = fallback.layer(provider.clone());
    for sends in [2, 3] {
        let start = Instant::now();
        let answer = call(&service, chat("m")).await;
        assert_eq!(answer.status(), 402);
        assert_eq!(rejection(&answer).reason, Reason::QuotaExhausted);
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        assert_eq!(provider.seen().len(), sends);
    }
}

#[tokio::test(start_paused = true)]
async fn fallback_waits_for_a_limited_target_beside_an_exhausted_one() {
    let provider = Provider::script([status(402), limited(7), ok()]);
    let fallback = FallbackLayer::new(["backup"]).wait_when_exhausted(secs(86_400));
    let start = Instant::now();
    let answer = call(&fallback.layer(provider.clone()), chat("m")).await;
    assert_eq!(answer.status(), 200);
    assert!(start.elapsed() >= secs(7) && start.elapsed() < secs(9));
    assert_eq!(provider.models(), ["m", "backup", "backup"]);
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_wait_for_a_rejected_key_with_a_longer_limit() {
    // Ninety seconds are longer than the time until a rejected key is probed.
    let provider = Provider::script([limited(90), status(401), status(401)]);
    let rotation = KeyRotationLayer::new(pool(&["a"]));
    let alone = rotation.clone().layer(provider.clone());
    assert_eq!(call(&alone, chat("m")).await.status(), 429);
    let backoff = BackoffLayer::new().max_wait(secs(86_400));
    let start = Instant::now();
    let outside = backoff.clone().layer(alone);
    assert_eq!(call(&outside, chat("m")).await.status(), 401);
    let waiting = rotation.wait_when_exhausted(secs(86_400));
    let waiting = backoff.layer(waiting.layer(provider));
    assert_eq!(call(&waiting, chat("m")).await.status(), 401);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}
