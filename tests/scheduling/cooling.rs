//! Refusals that come while a key cools at a guess, to calls that went out before.

use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, KeyPool, KeyRotationLayer, refusal::Reason};

use crate::{call, pool, script::*};

/// A request that names no model: its limits are those of the key.
fn unnamed() -> http::Request<String> {
    chat("m").map(|_| "{}".into())
}

/// Two are out with one key: the first is limited, nobody says for how long, and then the second is
/// answered by this.
async fn after_a_guess(second: Answer) -> (KeyPool, http::Response<String>) {
    let provider = Provider::script([Answer::Slow(secs(1), 429, vec![]), second]);
    let pool = pool(&["a"]);
    let service = KeyRotationLayer::new(pool.clone()).layer(provider);
    let (_, second) = tokio::join!(call(&service, unnamed()), call(&service, unnamed()));
    (pool, second)
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_told_while_a_key_cools_at_a_guess_is_kept() {
    let (pool, answer) = after_a_guess(Answer::Slow(secs(2), 402, vec![])).await;
    assert_eq!(refusal(&answer).reason, Reason::QuotaExhausted);
    let state = pool.snapshot().remove(0);
    assert_eq!(state.cools_for, Some(Reason::QuotaExhausted));
}

#[tokio::test(start_paused = true)]
async fn a_longer_hint_that_is_told_while_a_key_cools_at_a_guess_is_kept() {
    for status in [429, 402] {
        let hint = vec![("retry-after", "7200".into())];
        let (pool, _) = after_a_guess(Answer::Slow(secs(2), status, hint)).await;
        let until = pool.snapshot()[0].until.unwrap();
        assert_eq!(until - Instant::now(), secs(7_200), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_outside_returns_a_quota_that_is_told_while_a_key_cools_at_a_guess() {
    let provider = Provider::script([
        Answer::Slow(secs(1), 429, vec![]),
        Answer::Slow(secs(2), 402, vec![]),
    ]);
    let rotation = KeyRotationLayer::new(pool(&["a"]));
    let alone = rotation.layer(provider.clone());
    let service = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(rotation)
        .service(provider.clone());
    let start = Instant::now();
    let (_, second) = tokio::join!(alone.oneshot(unnamed()), service.oneshot(unnamed()));
    assert_eq!(second.unwrap().status(), 402);
    assert!(start.elapsed() < secs(2) + Duration::from_millis(10));
    assert_eq!(provider.seen().len(), 2);
}
