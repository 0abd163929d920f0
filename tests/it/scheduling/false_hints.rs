//! False hints, and cooldowns of zero: calls still send few requests.

use std::{io, time::Duration};

use http::{Request, Response};
use tokio::time::{Instant, timeout};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    trail::{LayerKind, StopReason},
};

use super::{call, pool};
use crate::script::*;

/// Returns a rejection with a hint of a millisecond.
fn in_a_millisecond() -> Answer {
    Answer::Response(429, vec![("retry-after-ms", "1".into())])
}

/// Returns how many requests a call sends in three seconds.
async fn sends_in_three_seconds<S>(service: S, provider: &Provider) -> usize
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>,
{
    let _ = timeout(secs(3), service.oneshot(chat("m"))).await;
    provider.seen().len()
}

#[tokio::test(start_paused = true)]
async fn waiting_call_sends_few_requests_if_hints_are_false() {
    for keys in [&["a"][..], &["a", "b"], &["a", "b", "c", "d"]] {
        let rotation = || KeyRotationLayer::new(pool(keys)).wait_when_exhausted(secs(600));
        let always = || Provider::new(|_| in_a_millisecond());

        let provider = always();
        let sends = sends_in_three_seconds(rotation().layer(provider.clone()), &provider).await;
        assert!((4..=20).contains(&sends), "keys: {sends}");

        let provider = always();
        let backoff = BackoffLayer::new().layer(rotation().layer(provider.clone()));
        let sends = sends_in_three_seconds(backoff, &provider).await;
        assert!((4..=20).contains(&sends), "backoff over keys: {sends}");

        let provider = always();
        let fallback = FallbackLayer::new(["backup"]).layer(rotation().layer(provider.clone()));
        let sends = sends_in_three_seconds(fallback, &provider).await;
        assert!((4..=20).contains(&sends), "fallback over keys: {sends}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_fallback_sends_few_requests_if_hints_are_false() {
    let layer = || FallbackLayer::new(["backup"]).wait_when_exhausted(secs(600));
    let provider = Provider::new(|_| in_a_millisecond());
    let sends = sends_in_three_seconds(layer().layer(provider.clone()), &provider).await;
    assert!((4..=20).contains(&sends), "fallback: {sends}");

    let provider = Provider::new(|_| in_a_millisecond());
    let backoff = BackoffLayer::new().layer(layer().layer(provider.clone()));
    let sends = sends_in_three_seconds(backoff, &provider).await;
    assert!((4..=20).contains(&sends), "backoff over fallback: {sends}");
}

#[tokio::test(start_paused = true)]
async fn cooldown_of_zero_counts_as_half_a_second() {
    for keys in [&["a"][..], &["a", "b"]] {
        let keys = KeyPool::builder(keys.iter().copied()).cooldown(Duration::ZERO);
        let rotation = KeyRotationLayer::new(keys.build().unwrap()).wait_when_exhausted(secs(600));
        let provider = Provider::new(|_| status(429));
        let sends = sends_in_three_seconds(rotation.layer(provider.clone()), &provider).await;
        assert!((6..=20).contains(&sends), "keys: {sends}");
    }
    let fallback = FallbackLayer::new(["backup"]).cooldown(Duration::ZERO);
    let fallback = fallback.wait_when_exhausted(secs(600));
    let provider = Provider::new(|_| status(429));
    let sends = sends_in_three_seconds(fallback.layer(provider.clone()), &provider).await;
    assert!((6..=20).contains(&sends), "fallback: {sends}");
}

#[tokio::test(start_paused = true)]
async fn call_waits_sixteen_times_and_returns_the_providers_response() {
    let provider = Provider::new(|_| in_a_millisecond());
    let rotation = KeyRotationLayer::new(pool(&["a"])).wait_when_exhausted(secs(86_400));
    let response = call(&rotation.layer(provider.clone()), chat("m")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(provider.seen().len(), 17);
    assert_eq!(
        whys(&response),
        [(LayerKind::KeyRotation, StopReason::AttemptsUsedUp)]
    );

    let provider = Provider::new(|_| in_a_millisecond());
    let fallback = FallbackLayer::new(["backup"]).wait_when_exhausted(secs(86_400));
    let service = ServiceBuilder::new()
        .layer(fallback)
        .layer(KeyRotationLayer::new(pool(&["a"])))
        .service(provider.clone());
    let response = call(&service, chat("m")).await;
    assert_eq!(response.status(), 429);
    assert!(provider.seen().len() <= 2 * 17, "{}", provider.seen().len());
    assert_eq!(
        whys(&response)[1],
        (LayerKind::Fallback, StopReason::AttemptsUsedUp)
    );
}

#[tokio::test(start_paused = true)]
async fn first_hint_is_waited_for_exactly_and_again_after_a_success() {
    let hint = |ms: u64| Answer::Response(429, vec![("retry-after-ms", ms.to_string())]);
    let provider = Provider::script([hint(40), ok(), hint(40), hint(40), ok(), hint(40), ok()]);
    let rotation = KeyRotationLayer::new(pool(&["a"])).wait_when_exhausted(secs(60));
    let service = rotation.layer(provider.clone());
    let start = Instant::now();
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    let jitter = millis(100);
    assert!(start.elapsed() >= millis(40) && start.elapsed() <= millis(45) + jitter);

    let start = Instant::now();
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert!(start.elapsed() >= millis(140), "the second hint was false");

    // This call begins after the window of the last hint.
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    let waits = provider.waits();
    let last = *waits.last().expect("a wait");
    assert!(
        last >= millis(40) && last <= millis(45) + jitter,
        "{waits:?}"
    );
}
