//! Outer layers use their own delays after a cooldown without a hint.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, KeyRotationLayer, rejection::Reason};

use super::{call, calls, pool};
use crate::script::*;

/// Limits every request until `recovers`, without a hint.
fn limited_until(recovers: Duration) -> Provider {
    Provider::new(move |seen| match seen.at < recovers {
        true => status(429),
        false => ok(),
    })
}

/// The last moment at which Backoff alone sends its third request: after 1 to 1.5 s and 2 to 3 s.
const THIRD_SEND: Duration = Duration::from_millis(4_510);

async fn is_served_by_the_third_send<S>(stack: &str, service: S, provider: &Provider)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let start = Instant::now();
    let response = call(&service, chat("m")).await;
    assert_eq!(response.status(), 200, "{stack}");
    assert!(
        start.elapsed() <= THIRD_SEND,
        "{stack}: {:?}",
        start.elapsed()
    );
    let last = provider.seen().last().map(|seen| seen.at);
    assert!(last >= Some(secs(2)), "{stack}");
}

#[tokio::test(start_paused = true)]
async fn backoff_uses_its_own_delays_in_every_order_after_bare_429s() {
    let backoff = BackoffLayer::new;
    let fallback = || FallbackLayer::new(["small"]);
    for keys in [&["a"][..], &["a", "b"]] {
        let rotation = || KeyRotationLayer::new(pool(keys));
        macro_rules! check {
            ($($one:ident, $two:ident, $three:ident;)*) => {$(
                let provider = limited_until(secs(2));
                let service = ServiceBuilder::new()
                    .layer($one())
                    .layer($two())
                    .layer($three())
                    .service(provider.clone());
                let stack = stringify!($one, $two, $three);
                is_served_by_the_third_send(stack, service, &provider).await;
            )*};
        }
        check! {
            backoff, rotation, fallback;
            backoff, fallback, rotation;
            rotation, backoff, fallback;
            rotation, fallback, backoff;
            fallback, backoff, rotation;
            fallback, rotation, backoff;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_over_rotation_retries_a_bare_429_after_one_and_two_seconds() {
    for keys in [&["a"][..], &["a", "b"]] {
        let provider = limited_until(secs(2));
        let service = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(KeyRotationLayer::new(pool(keys)))
            .service(provider.clone());
        is_served_by_the_third_send("backoff, rotation", service, &provider).await;
        let waits = provider.waits();
        let waits: Vec<_> = waits.iter().filter(|wait| **wait >= secs(1)).collect();
        assert_eq!(waits.len(), 2, "{waits:?}");
        assert!(*waits[0] >= secs(1) && *waits[0] < Duration::from_millis(1_502));
        assert!(*waits[1] >= secs(2) && *waits[1] < Duration::from_millis(3_002));
    }
}

#[tokio::test(start_paused = true)]
async fn policy_with_a_max_wait_and_few_attempts_retries_bare_429s() {
    // The policy on the page of the module `backoff`.
    let backoff = || {
        BackoffLayer::new()
            .attempts(3)
            .max_wait(secs(30))
            .deadline(secs(60))
    };
    let waiting = || KeyRotationLayer::new(pool(&["a"])).wait_when_exhausted(secs(120));
    macro_rules! check {
        ($($stack:literal: $($layer:expr),*;)*) => {$(
            let provider = limited_until(secs(2));
            let service = ServiceBuilder::new()
                .layer(backoff())
                $(.layer($layer))*
                .service(provider.clone());
            is_served_by_the_third_send($stack, service, &provider).await;
        )*};
    }
    check! {
        "keys": KeyRotationLayer::new(pool(&["a"]));
        "waiting keys": waiting();
        "fallback": FallbackLayer::new(["small"]);
        "fallback over keys": FallbackLayer::new(["small"]), KeyRotationLayer::new(pool(&["a"]));
    }
}

/// Sends calls that are rejected until the guesses of the pool are 16 s long.
async fn with_long_guesses<S>(service: &S)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    for seconds in [1, 2, 4, 8, 1] {
        assert_eq!(call(service, chat("m")).await.status(), 429);
        sleep(secs(seconds)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn retry_of_backoff_is_sent_during_a_guess_in_every_mode() {
    for keys in [&["a"][..], &["a", "b"]] {
        let rotation = |pool| KeyRotationLayer::new(pool);
        macro_rules! check {
            ($($mode:literal: $layer:expr;)*) => {$(
                let provider = limited_until(secs(16));
                let shared = pool(keys);
                with_long_guesses(&rotation(shared.clone()).layer(provider.clone())).await;
                // One key at a time probes whether the limits of all have ended.
                let states = shared.snapshot();
                let ends = states.iter().flat_map(|key| &key.limited_models);
                let end = ends.map(|model| model.until).max().expect("a guess");
                let left = end - Instant::now();
                assert!(left > secs(12), "{}: {left:?}", $mode);
                let service = ServiceBuilder::new()
                    .layer(BackoffLayer::new())
                    .layer($layer(rotation(shared.clone())))
                    .service(provider.clone());
                let start = Instant::now();
                assert_eq!(call(&service, chat("m")).await.status(), 200, "{}", $mode);
                assert!(start.elapsed() < secs(2), "{}: {:?}", $mode, start.elapsed());
            )*};
        }
        check! {
            "sends anyway": std::convert::identity;
            "responds": |layer: KeyRotationLayer| layer.reject_when_exhausted();
            "waits, then sends": |layer: KeyRotationLayer| layer.wait_when_exhausted(secs(5));
            "waits, then responds": |layer: KeyRotationLayer| {
                layer.reject_when_exhausted().wait_when_exhausted(secs(5))
            };
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retries_of_backoff_probe_a_key_one_at_a_time_during_a_guess() {
    let out: Arc<Mutex<Vec<(String, Duration)>>> = Arc::default();
    let probes = out.clone();
    let provider = Provider::new(move |seen| {
        let since = secs(16);
        if seen.at >= since {
            probes.lock().unwrap().push((seen.key().into(), seen.at));
        }
        Answer::Slow(Duration::from_millis(300), 429, vec![])
    });
    let pool = pool(&["a", "b"]);
    let rotation = KeyRotationLayer::new(pool.clone());
    for seconds in [1, 2, 4, 8, 1] {
        assert_eq!(
            call(&rotation.clone().layer(provider.clone()), chat("m"))
                .await
                .status(),
            429
        );
        sleep(secs(seconds)).await;
    }
    let service = ServiceBuilder::new()
        .layer(BackoffLayer::new().attempts(3))
        .layer(rotation.reject_when_exhausted())
        .service(provider.clone());
    assert!(
        calls(&service, 50)
            .await
            .iter()
            .all(|status| *status == 429)
    );
    let probes = out.lock().unwrap().clone();
    assert!(probes.len() > 2, "{probes:?}");
    for key in ["a", "b"] {
        let of_key = probes.iter().filter(|(of, _)| of == key);
        let times: Vec<_> = of_key.map(|(_, at)| *at).collect();
        let apart = times.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(
            apart.is_none_or(|apart| apart >= Duration::from_millis(300)),
            "{key}: {apart:?}"
        );
    }
    let states = pool.snapshot();
    assert!(states.iter().all(|key| key.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn responses_of_rotation_and_fallback_do_not_report_a_guess_as_hint() {
    let provider = Provider::new(|_| status(429));
    let keys = pool(&["a", "b"]);
    let rotation = KeyRotationLayer::new(keys.clone());
    let tried = call(&rotation.clone().layer(provider.clone()), chat("m")).await;
    assert_eq!(rejection(&tried).reason, Reason::RateLimited);
    assert_eq!(rejection(&tried).retry_after, None);
    let own = rotation.reject_when_exhausted().layer(provider.clone());
    let own = call(&own, chat("m")).await;
    assert_eq!(own.status(), 429);
    assert_eq!(rejection(&own).retry_after, None);
    assert_eq!(own.headers().get("retry-after"), None);
    let fallback = FallbackLayer::new(["small"]).layer(provider);
    let fallen = call(&fallback, chat("m")).await;
    assert_eq!(rejection(&fallen).retry_after, None);
}

#[tokio::test(start_paused = true)]
async fn responses_of_rotation_report_the_providers_hint() {
    let provider = Provider::script([limited(30), limited(20)]);
    let rotation = KeyRotationLayer::new(pool(&["a", "b"]));
    let tried = call(&rotation.clone().layer(provider.clone()), chat("m")).await;
    assert_eq!(rejection(&tried).retry_after, Some(secs(20)));
    sleep(secs(5)).await;
    let own = rotation.reject_when_exhausted().layer(provider);
    let own = call(&own, chat("m")).await;
    assert_eq!(rejection(&own).retry_after, Some(secs(15)));
    assert_eq!(own.headers()["retry-after"], "15");
}

#[tokio::test(start_paused = true)]
async fn guess_that_ends_before_a_hint_is_not_reported_as_hint() {
    let provider = Provider::script([limited(30), status(429)]);
    let rotation = KeyRotationLayer::new(pool(&["a", "b"]));
    let tried = call(&rotation.layer(provider), chat("m")).await;
    assert_eq!(rejection(&tried).retry_after, None);
}

#[tokio::test(start_paused = true)]
async fn fallback_mistakes_no_guess_for_a_hint_if_a_waiting_pool_is_cut_off() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" => status(429),
        _ => ok(),
    });
    let keys = pool(&["a"]);
    let rotation = KeyRotationLayer::new(keys.clone());
    // The pool's guess is 16 s.
    with_long_guesses(&rotation.clone().layer(provider.clone())).await;
    let limit = tower::timeout::TimeoutLayer::new(Duration::from_millis(100));
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]).on_error(|_: &tower::BoxError| true))
        .layer(limit)
        .layer(rotation.wait_when_exhausted(secs(60)))
        .service(provider.clone());
    sleep(secs(15)).await;
    let models = || provider.models();
    let first = service.clone().oneshot(chat("m")).await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(models().last().unwrap(), "small");
    // Fallback's first guess has ended, so it tries the preferred model again.
    sleep(secs(2)).await;
    let sends = models().len();
    let _ = service.oneshot(chat("m")).await;
    assert!(models().len() > sends);
}

#[tokio::test(start_paused = true)]
async fn key_that_always_rejects_does_not_block_the_other_keys() {
    let mut of_first = 0;
    let provider = Provider::new(move |seen| {
        of_first += usize::from(seen.key() == "a");
        match seen.key() {
            "a" if of_first > 1 => ok(),
            _ => status(429),
        }
    });
    let rotation = KeyRotationLayer::new(pool(&["a", "b"]));
    let service = rotation.layer(provider.clone());
    let mut statuses = Vec::new();
    for _ in 0..150 {
        statuses.push(call(&service, chat("m")).await.status());
        sleep(secs(2)).await;
    }
    assert_eq!(statuses[0], 429);
    assert_eq!(statuses[100..], [200; 50]);
}
