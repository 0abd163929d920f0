//! Which calls wait, for how long, and in which order they are sent.

use std::{
    collections::BTreeSet,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tower::{Layer as _, Service as _, ServiceExt};
use tower_429::{Call, FallbackLayer, KeyRotationLayer, trail::Trail};

use super::{call, calls, in_flight, left, pool, waits, windows};
use crate::script::*;

#[tokio::test(start_paused = true)]
async fn first_call_is_served_first() {
    let mut is_rejected = false;
    let provider = Provider::new(move |_| match std::mem::replace(&mut is_rejected, true) {
        false => limited(5),
        true => ok(),
    });
    let service = waits(&pool(&["a"]), &provider, secs(60));
    assert_eq!(calls(&service, 8).await, [200; 8]);
    let numbers: Vec<_> = provider.seen()[1..]
        .iter()
        .map(|seen| seen.header("number").to_owned())
        .collect();
    // The rejected call goes first.
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert!(provider.seen()[1].at >= secs(5));
}

#[tokio::test(start_paused = true)]
async fn rejected_calls_are_sent_again_in_order() {
    let hint = vec![("retry-after", "5".into())];
    let rejection = Answer::Slow(Duration::from_millis(10), 429, hint);
    let provider = Provider::script([rejection.clone(), rejection, ok(), ok()]);
    let service = waits(&pool(&["a"]), &provider, secs(120));
    assert_eq!(calls(&service, 2).await, [200; 2]);
    let numbers = provider
        .seen()
        .into_iter()
        .map(|seen| seen.header("number").to_owned());
    assert_eq!(numbers.collect::<Vec<_>>(), ["0", "1", "0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn calls_use_all_capacity_and_not_at_one_moment() {
    let provider = windows(20);
    let service = waits(&pool(&["a"]), &provider, secs(120));
    assert_eq!(calls(&service, 70).await, [200; 70]);
    let seen = provider.seen();
    // One request verifies that nothing is left.
    assert!(seen.len() <= 71, "{} sends", seen.len());
    for window in 1..3 {
        let of_window: Vec<_> = seen
            .iter()
            .filter(|seen| seen.at.as_secs() / 10 == window)
            .map(|seen| seen.at)
            .collect();
        assert!(of_window.len() >= 20, "{} in {window}", of_window.len());
        let instants: BTreeSet<_> = of_window.iter().collect();
        // Each moment is drawn from more than twenty milliseconds. All twenty draws would not fall on four.
        assert!(instants.len() > 4, "{of_window:?}");
        let apart = **instants.last().unwrap() - **instants.first().unwrap();
        let (least, most) = (Duration::from_millis(10), Duration::from_millis(100));
        assert!((least..=most).contains(&apart), "{apart:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiter_dropped_in_any_state_leaves_no_state() {
    // Queued until 5 s, reserved for some milliseconds after it, then in flight.
    let moments = [
        0, 1, 4_000, 4_999, 5_000, 5_001, 5_002, 5_003, 5_004, 5_006, 5_100, 5_500, 6_000, 6_500,
        9_000,
    ];
    let mut in_states = BTreeSet::new();
    for moment in moments {
        let mut is_rejected = false;
        let provider = Provider::new(move |_| match std::mem::replace(&mut is_rejected, true) {
            false => limited(5),
            true => Answer::Late(secs(1), 200),
        });
        let pool = pool(&["a"]);
        let service = waits(&pool, &provider, secs(60));
        let spawn = |service: &_| {
            let service = Clone::clone(service);
            tokio::spawn(async move { call(&service, chat("m")).await.status() })
        };
        let first = spawn(&service);
        tokio::task::yield_now().await;
        {
            let mut request = chat("m");
            request
                .headers_mut()
                .insert("dropped", "yes".parse().unwrap());
            let mut dropped = pin!(call(&service, request));
            let start = Instant::now();
            loop {
                let step = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx).is_ready())).await;
                let passed = start.elapsed();
                if step || passed >= Duration::from_millis(moment) {
                    let seen = provider.seen();
                    let sent = seen.iter().any(|seen| seen.header("dropped") == "yes");
                    in_states.insert((step, sent, in_flight(&pool) > 0));
                    break;
                }
                advance(Duration::from_millis(1)).await;
                tokio::task::yield_now().await;
            }
        }
        let others = [spawn(&service), spawn(&service)];
        assert_eq!(first.await.unwrap(), 200, "{moment} ms");
        for other in others {
            assert_eq!(other.await.unwrap(), 200, "{moment} ms");
        }
        assert_eq!(in_flight(&pool), 0, "{moment} ms");
        let uses: u64 = pool.snapshot().iter().map(|key| key.uses).sum();
        assert_eq!(uses, provider.seen().len() as u64, "{moment} ms");
    }
    let queued = (false, false, false);
    let set_aside = (false, false, true);
    let sent = (false, true, true);
    for state in [queued, set_aside, sent] {
        assert!(in_states.contains(&state), "{state:?} in {in_states:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_returns_at_once_if_its_max_wait_is_too_short() {
    let provider = Provider::script([limited(60)]);
    let pool = pool(&["a"]);
    call(&waits(&pool, &provider, secs(20)), chat("m")).await;
    let start = Instant::now();
    let service = KeyRotationLayer::new(pool)
        .reject_when_exhausted()
        .wait_when_exhausted(secs(20))
        .layer(provider.clone());
    let response = call(&service, chat("m")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "60");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_return_at_once_if_a_key_frees_after_their_max_wait() {
    let after = |millis, seconds: u64| {
        let hint = vec![("retry-after", seconds.to_string())];
        Answer::Slow(Duration::from_millis(millis), 429, hint)
    };
    let provider = Provider::script([after(1_000, 5), after(2_000, 100)]);
    let pool = pool(&["a"]);
    let anyway = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    let out = [(); 2].map(|()| tokio::spawn(anyway.clone().oneshot(chat("m"))));
    sleep(Duration::from_millis(1_500)).await;
    let start = Instant::now();
    let service = KeyRotationLayer::new(pool)
        .reject_when_exhausted()
        .wait_when_exhausted(secs(20))
        .layer(provider.clone());
    let waiting = [(); 3].map(|()| tokio::spawn(service.clone().oneshot(chat("m"))));
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap().unwrap().status(), 429);
        let waited = start.elapsed();
        assert!(
            waited >= Duration::from_millis(490),
            "it waited: {waited:?}"
        );
        assert!(waited <= Duration::from_millis(510), "{waited:?}");
    }
    for call in out {
        assert_eq!(call.await.unwrap().unwrap().status(), 429);
    }
    assert_eq!(provider.seen().len(), 2);
}

/// Sends the one request that is left. Its response never arrives, and the end of the window is unknown.
async fn all_out(provider: &Provider, pool: &tower_429::KeyPool) {
    let service = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    call(&service, chat("m")).await;
    tokio::spawn(service.oneshot(chat("m")));
    tokio::task::yield_now().await;
}

fn one_left() -> Provider {
    let mut headers = left(10, 1, secs(10));
    headers.truncate(2);
    let mut answers = vec![Answer::Response(200, headers), Answer::Never].into_iter();
    Provider::new(move |_| answers.next().unwrap_or(ok()))
}

#[tokio::test(start_paused = true)]
async fn call_is_sent_anyway_when_its_max_wait_or_its_deadline_ends() {
    for (max_wait, deadline, expected) in [(secs(4), secs(60), 4), (secs(60), secs(3), 3)] {
        let (provider, pool) = (one_left(), pool(&["a"]));
        all_out(&provider, &pool).await;
        let start = Instant::now();
        let mut request = chat("m");
        request
            .extensions_mut()
            .insert(Call::new().deadline(deadline));
        let response = call(&waits(&pool, &provider, max_wait), request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(start.elapsed(), secs(expected));
        assert_eq!(provider.seen().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn key_is_released_with_the_response_though_the_future_is_kept() {
    let mut headers = left(10, 1, secs(10));
    headers.truncate(2);
    let provider = Provider::new(move |_| Answer::Response(200, headers.clone()));
    let pool = pool(&["a"]);
    let service = waits(&pool, &provider, secs(60));
    call(&service, chat("m")).await;
    let mut ready = service.clone();
    let mut kept = pin!(ready.ready().await.unwrap().call(chat("m")));
    assert_eq!(kept.as_mut().await.unwrap().status(), 200);
    assert_eq!(in_flight(&pool), 0);
    let start = Instant::now();
    call(&service, chat("m")).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn layers_do_not_panic_on_the_longest_max_wait() {
    let provider = Provider::script([limited(5), ok(), limited(5), ok()]);
    let service = waits(&pool(&["a"]), &provider, Duration::MAX);
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    let fallback = FallbackLayer::new(["m"]).wait_when_exhausted(Duration::MAX);
    let service = fallback.layer(provider.clone());
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(provider.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn trail_records_a_wait_that_ends_with_a_response_of_the_layer() {
    let provider = Provider::new(|seen| limited(if seen.at < secs(3) { 5 } else { 60 }));
    let layer = KeyRotationLayer::new(pool(&["a"]));
    let impatient = layer.clone().layer(provider.clone());
    impatient.clone().oneshot(chat("m")).await.unwrap();
    let patient = layer
        .reject_when_exhausted()
        .wait_when_exhausted(secs(8))
        .layer(provider.clone());
    let call = tokio::spawn(patient.oneshot(chat("m")));
    sleep(secs(4)).await;
    // This call does not wait in the queue. The rejection lasts longer than the call may wait.
    impatient.oneshot(chat("m")).await.unwrap();
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), 429);
    let trail = response.extensions().get::<Trail>().unwrap();
    assert_eq!(trail.waited(), secs(4));
}

/// Each combination of the settings of KeyRotation in both orders, with a key that frees in time, and one that does
/// not.
#[tokio::test(start_paused = true)]
async fn wait_and_the_action_after_it_are_independent_settings() {
    type Set = fn(KeyRotationLayer) -> BoxedService;
    type BoxedService =
        tower::util::BoxCloneService<http::Request<String>, http::Response<String>, std::io::Error>;
    fn boxed<X>(layer: KeyRotationLayer<X>, provider: Provider) -> BoxedService
    where
        X: tower_429::key_rotation::WhenExhausted<String> + Clone + Send + Sync + 'static,
    {
        BoxedService::new(layer.layer(provider))
    }
    thread_local! {
        static PROVIDER: std::cell::RefCell<Option<Provider>> = const { std::cell::RefCell::new(None) };
    }
    fn provider() -> Provider {
        PROVIDER.with_borrow(|provider| provider.clone().unwrap())
    }
    /// The seconds until the response, the status, and the number of sends.
    type Seen = (u64, u16, usize);
    // The setting, the result if the key frees after 10 s, and the result after 60 s.
    let settings: [(Set, Seen, Seen); 5] = [
        (|it| boxed(it, provider()), (0, 429, 2), (0, 429, 2)),
        (
            |it| boxed(it.reject_when_exhausted(), provider()),
            (0, 429, 1),
            (0, 429, 1),
        ),
        (
            |it| boxed(it.wait_when_exhausted(secs(20)), provider()),
            (10, 200, 2),
            (0, 429, 2),
        ),
        (
            |it| {
                let layer = it.wait_when_exhausted(secs(20)).reject_when_exhausted();
                boxed(layer, provider())
            },
            (10, 200, 2),
            (0, 429, 1),
        ),
        (
            |it| {
                let layer = it.reject_when_exhausted().wait_when_exhausted(secs(20));
                boxed(layer, provider())
            },
            (10, 200, 2),
            (0, 429, 1),
        ),
    ];
    for (number, (set, frees, does_not)) in settings.into_iter().enumerate() {
        for (hint, expected) in [(10, frees), (60, does_not)] {
            let limit = Instant::now() + secs(hint);
            let provider = Provider::new(move |_| match Instant::now() < limit {
                true => limited(hint),
                false => ok(),
            });
            PROVIDER.set(Some(provider.clone()));
            let pool = pool(&["a"]);
            call(
                &KeyRotationLayer::new(pool.clone()).layer(provider.clone()),
                chat("m"),
            )
            .await;
            let start = Instant::now();
            let response = call(&set(KeyRotationLayer::new(pool)), chat("m")).await;
            let found = (
                start.elapsed().as_secs(),
                response.status().as_u16(),
                provider.seen().len(),
            );
            assert_eq!(found, expected, "setting {number}, hint of {hint} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fallback_waits_for_a_target_and_sends_anyway_if_none_frees_in_time() {
    for (hint, expected) in [(10, (10, 200)), (60, (0, 429))] {
        for max_wait in [None, Some(secs(20))] {
            let limit = Instant::now() + secs(hint);
            let provider = Provider::new(move |_| match Instant::now() < limit {
                true => limited(hint),
                false => ok(),
            });
            let layer = FallbackLayer::new(["backup"]);
            let fill = layer.clone().layer(provider.clone());
            call(&fill, chat("m")).await;
            let (layer, expected) = match max_wait {
                Some(max_wait) => (layer.wait_when_exhausted(max_wait), expected),
                None => (layer, (0, 429)),
            };
            let start = Instant::now();
            let response = call(&layer.layer(provider.clone()), chat("m")).await;
            let found = (start.elapsed().as_secs(), response.status().as_u16());
            assert_eq!(found, expected, "hint of {hint} s, {max_wait:?}");
            assert!(provider.seen().len() > 2, "it is sent in any case");
        }
    }
}
