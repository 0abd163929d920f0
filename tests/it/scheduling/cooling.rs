//! Rejections that arrive during a guessed cooldown, for requests that were sent before it.

use std::{io, time::Duration};

use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer, rejection::Reason};

use super::{call, pool};
use crate::script::*;

/// Returns a request without a model. The limits of the key apply to it.
fn unnamed() -> Request<String> {
    chat("m").map(|_| "{}".into())
}

/// Sends two requests with one key. The first is rejected without a hint, and then the second gets this response.
async fn after_a_guess(second: Answer) -> (KeyPool, Response<String>) {
    let provider = Provider::script([Answer::Slow(secs(1), 429, vec![]), second]);
    let pool = pool(&["a"]);
    let service = KeyRotationLayer::new(pool.clone()).layer(provider);
    let (_, second) = tokio::join!(call(&service, unnamed()), call(&service, unnamed()));
    (pool, second)
}

#[tokio::test(start_paused = true)]
async fn pool_keeps_an_exhausted_quota_reported_during_a_guess() {
    let (pool, answer) = after_a_guess(Answer::Slow(secs(2), 402, vec![])).await;
    assert_eq!(rejection(&answer).reason, Reason::QuotaExhausted);
    let state = pool.snapshot().remove(0);
    assert_eq!(state.cooldown_reason, Some(Reason::QuotaExhausted));
}

#[tokio::test(start_paused = true)]
async fn pool_keeps_a_longer_hint_reported_during_a_guess() {
    for status in [429, 402] {
        let hint = vec![("retry-after", "7200".into())];
        let (pool, _) = after_a_guess(Answer::Slow(secs(2), status, hint)).await;
        let until = pool.snapshot()[0].cooldown_until.unwrap();
        assert_eq!(until - Instant::now(), secs(7_200), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_returns_an_exhausted_quota_reported_during_a_guess() {
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

/// Rejects requests without a hint until guesses are long, and then with hints of five seconds.
fn hints_after_guesses() -> Provider {
    Provider::new(|seen| match seen.at < secs(8) {
        true => status(429),
        false => limited(5),
    })
}

/// Sends calls that are rejected until a guess of 8 s has begun.
async fn with_a_long_guess<S>(service: &S)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    for seconds in [1, 2, 4, 1] {
        assert_eq!(call(service, chat("m")).await.status(), 429);
        sleep(secs(seconds)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_a_hint_that_ends_before_a_guess_in_every_mode() {
    macro_rules! check {
        ($($mode:literal: $layer:expr;)*) => {$(
            let provider = hints_after_guesses();
            let layer = $layer;
            with_a_long_guess(&layer.layer(provider.clone())).await;
            let before = provider.seen().len();
            let service = ServiceBuilder::new()
                .layer(BackoffLayer::new().attempts(3))
                .layer(layer)
                .service(provider.clone());
            assert_eq!(call(&service, chat("m")).await.status(), 429, "{}", $mode);
            let waits = provider.waits().split_off(before);
            assert!(!waits.is_empty(), "{}", $mode);
            let are_long = waits.iter().all(|wait| *wait >= secs(5));
            assert!(are_long, "{}: {waits:?}", $mode);
        )*};
    }
    let rotation = || KeyRotationLayer::new(pool(&["a"]));
    check! {
        "keys": rotation();
        "keys, responds": rotation().reject_when_exhausted();
        "keys, waits": rotation().wait_when_exhausted(secs(4));
        "targets": FallbackLayer::new(Vec::<&str>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn key_is_never_used_before_the_end_of_its_hint() {
    for keys in [&["a"][..], &["a", "b"]] {
        let provider = Provider::new(|_| limited(2));
        let service = ServiceBuilder::new()
            .layer(BackoffLayer::new().attempts(12))
            .layer(KeyRotationLayer::new(pool(keys)))
            .service(provider.clone());
        assert_eq!(call(&service, chat("m")).await.status(), 429);
        for key in keys {
            let seen = provider.seen();
            let of_key: Vec<_> = seen.iter().filter(|seen| seen.key() == *key).collect();
            let apart = of_key.windows(2).map(|pair| pair[1].at - pair[0].at);
            let least = apart.min();
            assert!(least >= Some(secs(2)), "{key} of {keys:?}: {least:?}");
        }
    }
}
