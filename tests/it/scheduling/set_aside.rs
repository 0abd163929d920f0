//! Keys that are reserved while the client becomes ready, and KeyRotation outside Fallback.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;
use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tower_429::{FallbackLayer, KeyPool, KeyRotationLayer};

use super::SlowlyReady;
use crate::script::*;

#[tokio::test(start_paused = true)]
async fn key_is_not_retried_forever_on_the_limit_of_another_model() {
    let provider = Provider::new(|seen| match (seen.model().as_str(), seen.at) {
        ("large", at) if at < secs(30) => rejected(529, 30 - at.as_secs()),
        ("small", at) if at < secs(20) => limited(20 - at.as_secs()),
        _ => ok(),
    });
    let pool = KeyPool::new(["a"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool).wait_when_exhausted(secs(60)))
        .layer(FallbackLayer::new(["small"]))
        .service(provider.clone());
    let response = service.oneshot(chat("large")).await.unwrap();
    assert_eq!(provider.models(), ["large", "small"]);
    assert_eq!(rejection(&response).retry_after, Some(secs(20)));
}

#[tokio::test(start_paused = true)]
async fn rotation_uses_another_key_after_the_limit_of_another_model() {
    let provider = Provider::new(|seen| match (seen.model().as_str(), seen.key()) {
        ("large", "a") => rejected(529, 30),
        ("small", "a") => limited(20),
        _ => ok(),
    });
    let pool = KeyPool::new(["a", "b"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool).wait_when_exhausted(secs(60)))
        .layer(FallbackLayer::new(["small"]))
        .service(provider.clone());
    assert_eq!(service.oneshot(chat("large")).await.unwrap().status(), 200);
    assert_eq!(provider.keys(), ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn reserved_key_that_is_limited_meanwhile_is_not_used() {
    let after = |millis, hint: u64| {
        let hint = vec![("retry-after", hint.to_string())];
        Answer::Slow(Duration::from_millis(millis), 429, hint)
    };
    // The second key is reserved for the first call after a second. Then the second call is rejected with that key.
    let provider = Provider::script([after(1_000, 10), after(1_200, 20)]);
    let pool = KeyPool::builder(["a", "b"]).round_robin().build().unwrap();
    let slowly = SlowlyReady::new(&provider, 2, Duration::from_millis(500));
    let service = KeyRotationLayer::new(pool)
        .reject_when_exhausted()
        .layer(slowly);
    let call = || service.clone().oneshot(chat("m"));
    let (one, two) = tokio::join!(call(), call());
    assert_eq!(
        (one.unwrap().status(), two.unwrap().status()),
        (429.try_into().unwrap(), 429.try_into().unwrap())
    );
    assert_eq!(provider.keys(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn probe_that_waits_for_the_client_proves_nothing() {
    let provider = Provider::new(|seen| match seen.at {
        at if at < secs(5) => Answer::Slow(Duration::from_millis(200), 429, vec![]),
        _ => ok(),
    });
    let pool = KeyPool::new(["a"]).unwrap();
    // Polled once for the first call, ten times for the waiting calls, then for the probe.
    let slowly = SlowlyReady::new(&provider, 11, secs(3));
    let layer = KeyRotationLayer::new(pool).wait_when_exhausted(secs(300));
    let service = layer.layer(slowly);
    let call = || service.clone().oneshot(chat("m"));
    let others = async {
        sleep(Duration::from_millis(500)).await;
        join_all((0..10).map(|_| call())).await
    };
    let (first, _) = tokio::join!(call(), others);
    assert_eq!(first.unwrap().status(), 200);
    let sent = provider.seen();
    let probes = sent
        .iter()
        .filter(|seen| (Duration::from_millis(1)..secs(5)).contains(&seen.at));
    assert_eq!(probes.count(), 1, "one call probes");
}
