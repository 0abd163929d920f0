//! How the pool handles the windows of a subscription, in every order of the layers.

use http::Response;
use tokio::time::Instant;
use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, KeyPool, KeyRotationLayer, rejection::Reason};

use crate::script::*;

const DATE: &str = "Tue, 10 Feb 2026 00:00:00 GMT";

/// Returns a rejection of an Anthropic subscription. Its window of five hours ends in 20 minutes, its window of a week
/// in five days.
fn unified(five_hours: &str, overall: &str, retry_after: Option<u64>) -> Answer {
    let mut headers = vec![
        ("date", DATE.into()),
        ("anthropic-ratelimit-unified-status", overall.into()),
        (
            "anthropic-ratelimit-unified-representative-claim",
            "five_hour".into(),
        ),
        ("anthropic-ratelimit-unified-reset", "1770682800".into()),
        ("anthropic-ratelimit-unified-5h-status", five_hours.into()),
        ("anthropic-ratelimit-unified-5h-reset", "1770682800".into()),
        ("anthropic-ratelimit-unified-7d-status", "allowed".into()),
        ("anthropic-ratelimit-unified-7d-reset", "1771113600".into()),
    ];
    headers.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
    Answer::Response(429, headers)
}

fn pool() -> KeyPool {
    KeyPool::new(["a", "b"]).unwrap()
}

/// Sends a request through the layer alone.
async fn through(pool: &KeyPool, provider: &Provider) -> Response<String> {
    let service = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    service.oneshot(chat("m")).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn key_is_on_cooldown_for_the_rejected_window_and_every_model() {
    let provider = Provider::script([unified("rejected", "rejected", None), ok(), ok()]);
    let pool = pool();
    assert_eq!(through(&pool, &provider).await.status(), 200);
    let key = pool.snapshot().remove(0);
    assert_eq!(key.cooldown_reason, Some(Reason::RateLimited));
    let left = key.cooldown_until.unwrap() - Instant::now();
    assert!(left > secs(1_100) && left <= secs(1_400), "{left:?}");
    tokio::time::sleep(secs(1_500)).await;
    assert_eq!(through(&pool, &provider).await.status(), 200);
    let free = pool.snapshot().remove(0);
    assert_eq!((free.cooldown_reason, free.cooldown_until), (None, None));
}

#[tokio::test(start_paused = true)]
async fn key_stays_usable_if_all_windows_are_allowed() {
    let provider = Provider::script([unified("allowed", "allowed", Some(3)), ok(), ok()]);
    let pool = pool();
    assert_eq!(through(&pool, &provider).await.status(), 200);
    tokio::time::sleep(secs(4)).await;
    let key = pool.snapshot().remove(0);
    assert_eq!((key.cooldown_reason, key.cooldown_until), (None, None));
    assert!(key.limited_models.is_empty());
    assert_eq!(through(&pool, &provider).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn key_stays_usable_after_a_success_that_reports_only_resets() {
    let Answer::Response(_, headers) = unified("allowed_warning", "allowed_warning", None) else {
        unreachable!()
    };
    let passed = Answer::Response(200, headers);
    let provider = Provider::script([passed.clone(), passed, ok()]);
    let pool = KeyPool::new(["a"]).unwrap();
    for _ in 0..3 {
        assert_eq!(through(&pool, &provider).await.status(), 200);
    }
    assert_eq!(pool.snapshot()[0].cooldown_until, None);
}

#[tokio::test(start_paused = true)]
async fn backoff_waits_three_seconds_in_both_orders_if_windows_are_allowed() {
    for rotation_is_outer in [false, true] {
        let rejected = unified("allowed", "allowed", Some(3));
        let provider = Provider::script([rejected.clone(), rejected, ok()]);
        let rotation = KeyRotationLayer::new(KeyPool::new(["a"]).unwrap());
        let start = Instant::now();
        let response = match rotation_is_outer {
            true => {
                let layers = ServiceBuilder::new()
                    .layer(rotation)
                    .layer(BackoffLayer::new());
                layers.service(provider.clone()).oneshot(chat("m")).await
            }
            false => {
                let layers = ServiceBuilder::new()
                    .layer(BackoffLayer::new())
                    .layer(rotation);
                layers.service(provider.clone()).oneshot(chat("m")).await
            }
        };
        assert_eq!(response.unwrap().status(), 200);
        let took = start.elapsed();
        assert!(took >= secs(6) && took < secs(8), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_returns_windows_that_are_too_long_to_wait_for() {
    let provider = Provider::script([unified("rejected", "rejected", None)]);
    let service = BackoffLayer::new().layer(provider.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(rejection(&response).retry_after, Some(secs(1_200)));
}
