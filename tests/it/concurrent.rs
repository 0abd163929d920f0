//! Concurrent requests: those of one call, from a hedge or a shadow between the layers, and those that carry clones of
//! one `Call`.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::script::*;
use futures::future::{Either, join, select};
use http::{Request, Response};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, layer::layer_fn, timeout::TimeoutLayer};
use tower_429::{
    BackoffLayer, Call, FallbackLayer, KeyPool, KeyRotationLayer,
    trail::{Action, Attempt, LayerKind, Progress, Trail},
};

type Outcome = Result<Response<String>, io::Error>;
type BoxFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Sends a request twice concurrently.
#[derive(Clone)]
struct Twice<S> {
    inner: S,
    take: Take,
}

/// Which outcome [`Twice`] returns.
#[derive(Clone, Copy)]
enum Take {
    /// The first success, or the failure of the first request if both fail. The other request is dropped.
    FirstGood,
    /// The first outcome. The other request is dropped, as with shadow traffic.
    First,
    /// The first outcome. The other request continues.
    FirstAndRunOn,
    /// The outcome of the first request, after both have completed.
    Both,
}

fn twice<S>(take: Take) -> impl tower::Layer<S, Service = Twice<S>> + Clone {
    layer_fn(move |inner| Twice { inner, take })
}

impl<S> Service<Request<String>> for Twice<S>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<String>;
    type Error = io::Error;
    type Future = BoxFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> BoxFuture {
        let one = Box::pin(self.inner.clone().oneshot(request.clone()));
        let other = Box::pin(self.inner.clone().oneshot(request));
        let take = self.take;
        Box::pin(async move {
            if let Take::Both = take {
                return join(one, other).await.0;
            }
            let (outcome, rest, is_first) = match select(one, other).await {
                Either::Left((outcome, rest)) => (outcome, rest, true),
                Either::Right((outcome, rest)) => (outcome, rest, false),
            };
            match take {
                Take::FirstGood if !is_good(&outcome) => {
                    let later = rest.await;
                    match is_good(&later) || !is_first {
                        true => later,
                        false => outcome,
                    }
                }
                Take::FirstAndRunOn => {
                    drop(tokio::spawn(rest));
                    outcome
                }
                _ => outcome,
            }
        })
    }
}

fn is_good(outcome: &Outcome) -> bool {
    outcome.as_ref().is_ok_and(|it| it.status().is_success())
}

/// Delays each outcome by a time that depends on the request.
#[derive(Clone)]
struct Slow<S> {
    inner: S,
    seconds: fn(&Seen) -> u64,
}

fn slow<S>(seconds: fn(&Seen) -> u64) -> impl tower::Layer<S, Service = Slow<S>> + Clone {
    layer_fn(move |inner| Slow { inner, seconds })
}

impl<S> Service<Request<String>> for Slow<S>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>,
    S::Future: Send + 'static,
{
    type Response = Response<String>;
    type Error = io::Error;
    type Future = BoxFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<String>) -> BoxFuture {
        let seen = Seen {
            at: Duration::ZERO,
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        };
        let seconds = (self.seconds)(&seen);
        let outcome = self.inner.call(request);
        Box::pin(async move {
            sleep(secs(seconds)).await;
            outcome.await
        })
    }
}

/// Returns a pool that gives two concurrent requests two keys.
fn pool(keys: &[&str]) -> KeyPool {
    let keys = KeyPool::builder(keys.iter().copied());
    keys.round_robin().build().unwrap()
}

fn key_1_first(seen: &Seen) -> u64 {
    if seen.key() == "a" { 1 } else { 2 }
}

fn key_2_first(seen: &Seen) -> u64 {
    if seen.key() == "a" { 2 } else { 1 }
}

const ORDERS: [fn(&Seen) -> u64; 2] = [key_1_first, key_2_first];

/// Returns how many seconds after `start` each key is limited.
fn limits(pool: &KeyPool, start: Instant) -> Vec<Option<u64>> {
    let keys = pool.snapshot().into_iter();
    let until = |key: tower_429::key_rotation::KeyState| {
        let ends = key.limited_models.iter().map(|model| model.until);
        ends.chain(key.cooldown_until).max()
    };
    keys.map(|key| Some((until(key)? - start).as_secs()))
        .collect()
}

fn trail(response: &Response<String>) -> String {
    response.extensions().get::<Trail>().unwrap().to_string()
}

fn exact() -> BackoffLayer {
    BackoffLayer::new().jitter(0, Duration::ZERO)
}

/// Returns a request that carries the caller's `Call`.
fn with(call: &Call) -> Request<String> {
    let mut request = chat("m");
    request.extensions_mut().insert(call.clone());
    request
}

#[tokio::test(start_paused = true)]
async fn hedge_limits_the_rejected_key_under_backoff() {
    let provider = Provider::new(|seen| match seen.key() {
        "a" => limited(30),
        _ => ok(),
    });
    let pool = pool(&["a", "b"]);
    let service = ServiceBuilder::new()
        .layer(exact())
        .layer(twice(Take::FirstGood))
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(slow(key_1_first))
        .service(provider.clone());
    let start = Instant::now();
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(
        trail(&response),
        "1. key-1: 429, key_rotation: next key\n2. key-2: 200\n3. key-2: given up"
    );
    assert_eq!(provider.keys(), ["a", "b", "b"]);
    assert_eq!(limits(&pool, start), [Some(31), None]);
}

#[tokio::test(start_paused = true)]
async fn hedge_limits_no_key_for_a_request_dropped_in_flight() {
    let provider = Provider::new(|seen| match seen.key() {
        "a" => limited(30),
        _ => ok(),
    });
    let pool = pool(&["a", "b"]);
    let service = ServiceBuilder::new()
        .layer(exact())
        .layer(twice(Take::FirstGood))
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(slow(key_2_first))
        .service(provider);
    let start = Instant::now();
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(trail(&response), "1. key-1: given up\n2. key-2: 200");
    assert_eq!(limits(&pool, start), [None, None]);
    assert!(pool.snapshot().iter().all(|key| key.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn hedge_limits_the_rejected_key_and_not_the_one_that_failed() {
    for order in ORDERS {
        let provider = Provider::new(|seen| match seen.key() {
            "a" => limited(3600),
            _ => Answer::Error(io::ErrorKind::ConnectionReset),
        });
        let pool = pool(&["a", "b"]);
        let start = Instant::now();
        // Inside Backoff, and outside it with the caller's `Call`.
        let inner = ServiceBuilder::new()
            .layer(slow(order))
            .service(provider.clone());
        let under = ServiceBuilder::new()
            .layer(exact().on_error(|_: &io::Error| true).attempts(2))
            .layer(twice(Take::Both))
            .layer(KeyRotationLayer::new(pool.clone()))
            .service(inner.clone());
        let error = under.oneshot(chat("m")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let limited = limits(&pool, start);
        assert!(
            matches!(limited[..], [Some(3601..=3602), None]),
            "{limited:?}"
        );

        let pool = self::pool(&["a", "b"]);
        let start = Instant::now();
        let outside = ServiceBuilder::new()
            .layer(KeyRotationLayer::new(pool.clone()))
            .layer(exact().max_wait(secs(60)))
            .service(inner);
        let calls = [Call::new(), Call::new()];
        let [one, other] = calls
            .each_ref()
            .map(|call| outside.clone().oneshot(with(call)));
        let (outcome, _) = join(one, other).await;
        outcome.unwrap_err();
        let limited = limits(&pool, start);
        assert!(
            matches!(limited[..], [Some(3601..=3602), None]),
            "{limited:?}"
        );
        let first = calls.map(|call| call.trail().attempts().remove(0));
        let of = |attempt: Attempt| (attempt.key.unwrap(), attempt.status.is_some());
        let expected = [("key-1".into(), true), ("key-2".into(), false)];
        assert_eq!(first.map(of), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn steps_are_recorded_at_the_response_that_the_layer_received() {
    // The second response arrives last. The hedge returns the response of the first request.
    let provider = Provider::new(|seen| match (seen.at.as_secs(), seen.key()) {
        (0, "a") => limited(5),
        (0, _) => limited(9),
        _ => ok(),
    });
    let service = ServiceBuilder::new()
        .layer(exact())
        .layer(twice(Take::Both))
        .layer(KeyRotationLayer::new(pool(&["a"])))
        .layer(slow(|_| 0))
        .service(provider);
    let response = service.oneshot(chat("m")).await.unwrap();
    let steps = steps(&response);
    assert_eq!(steps.len(), 4, "{}", trail(&response));
    let waits = |steps: &Vec<(LayerKind, Action)>| {
        let mut steps = steps.iter();
        steps.any(|step| matches!(step, (LayerKind::Backoff, Action::Wait(_))))
    };
    assert_eq!(
        steps.iter().map(waits).collect::<Vec<_>>(),
        [true, false, false, false],
        "{}",
        trail(&response)
    );
}

#[tokio::test(start_paused = true)]
async fn requests_with_one_call_keep_their_targets() {
    // One request goes to the fallback while the other waits for its first response.
    let provider = Provider::new({
        let mut count = 0;
        move |_| {
            count += 1;
            match count {
                1 => Answer::Slow(secs(1), 429, vec![("retry-after", "600".into())]),
                2 => Answer::Late(secs(3), 200),
                _ => Answer::Late(secs(1), 200),
            }
        }
    });
    let pool = pool(&["a"]);
    let service = ServiceBuilder::new()
        .layer(twice(Take::Both))
        .layer(FallbackLayer::new(["backup"]))
        .layer(KeyRotationLayer::new(pool.clone()))
        .service(provider);
    let (call, start) = (Call::new(), Instant::now());
    let response = service.oneshot(with(&call)).await.unwrap();
    assert_eq!(
        trail(&response),
        "1. key-1, m: 429, key_rotation: returned, no key free; fallback: next target\n\
         2. key-1, backup: 200"
    );
    assert_eq!(call.trail().to_string(), "1. key-1, m: 200");
    assert_eq!(limits(&pool, start), [Some(601)]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_keep_their_targets_over_waits() {
    let provider = Provider::new(|seen| match (seen.key(), &*seen.model()) {
        ("a", "m") => limited(600),
        ("b", "m") => limited(700),
        _ => ok(),
    });
    for order in ORDERS {
        let service = ServiceBuilder::new()
            .layer(KeyRotationLayer::new(pool(&["a", "b"])).wait_when_exhausted(secs(1)))
            .layer(exact())
            .layer(FallbackLayer::new(["backup"]))
            .layer(slow(order))
            .service(provider.clone());
        let calls = [Call::new(), Call::new()];
        let [one, other] = calls
            .each_ref()
            .map(|call| service.clone().oneshot(with(call)));
        let (one, other) = join(one, other).await;
        assert_eq!(one.unwrap().status(), 200);
        assert_eq!(other.unwrap().status(), 200);
        let of = |attempt: Attempt| {
            let target = attempt.target.as_deref().unwrap_or("own").to_owned();
            let key = attempt.key.as_deref().unwrap_or_default().to_owned();
            let model = attempt.model.as_deref().unwrap_or_default().to_owned();
            (key, model, target, attempt.status.map(|it| it.as_u16()))
        };
        let attempts = calls.iter().flat_map(|call| call.trail().attempts());
        let mut found: Vec<_> = attempts.map(of).collect();
        found.sort();
        let expected = [
            ("key-1", "backup", "backup", 200),
            ("key-1", "m", "own", 429),
            ("key-2", "backup", "backup", 200),
            ("key-2", "m", "own", 429),
        ]
        .map(|(key, model, target, status)| {
            (key.into(), model.into(), target.into(), Some(status))
        });
        assert_eq!(found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_with_one_call_have_a_trail_each() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let service = ServiceBuilder::new()
        .layer(exact())
        .layer(KeyRotationLayer::new(pool(&["a", "b"])))
        .layer(slow(key_1_first))
        .service(Provider::new(|seen| match seen.at.as_secs() {
            0 => limited(3),
            _ => ok(),
        }));
    let call = Call::new();
    let (one, other) = join(
        service.clone().oneshot(with(&call)),
        service.oneshot(with(&call)),
    )
    .await;
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(trail(&other), call.trail().to_string(), "the last");
    let mut sends = 0;
    for response in [one, other] {
        let numbers: Vec<_> = attempts(&response).iter().map(|it| it.number).collect();
        assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
        sends += numbers.len();
    }
    assert!(sends >= 4, "{sends}");
    let text = recorder.handle().render();
    let calls = r#"tower_429_calls_total{host="api.example",outcome="answered"} 2"#;
    assert!(text.contains(calls), "{text}");
}

/// Limits the first request for 30 s, and responds to no other request for the same model.
fn limits_the_first() -> Provider {
    let mut count = 0;
    Provider::new(move |seen| match &*seen.model() {
        "m" => {
            count += 1;
            match count {
                1 => Answer::Slow(secs(1), 429, vec![("retry-after", "30".into())]),
                _ => Answer::Never,
            }
        }
        _ => ok(),
    })
}

#[tokio::test(start_paused = true)]
async fn fallback_records_a_rejection_waited_out_beside_another_request() {
    let provider = limits_the_first();
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["backup"]))
        .layer(TimeoutLayer::new(secs(10)))
        .layer(twice(Take::Both))
        .layer(exact())
        .service(provider.clone());
    service.clone().oneshot(chat("m")).await.unwrap_err();
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(provider.models(), ["m", "m", "backup", "backup"]);
}

#[tokio::test(start_paused = true)]
async fn pool_records_a_rejection_waited_out_beside_another_request() {
    let pool = pool(&["a"]);
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(TimeoutLayer::new(secs(10)))
        .layer(twice(Take::Both))
        .layer(exact())
        .service(limits_the_first());
    let start = Instant::now();
    service.oneshot(chat("m")).await.unwrap_err();
    assert_eq!(limits(&pool, start), [Some(31)]);
}

#[tokio::test(start_paused = true)]
async fn shadow_request_that_is_dropped_is_given_up() {
    let provider = Provider::new(|seen| match seen.at.as_secs() {
        0 => limited(2),
        _ => ok(),
    });
    let pool = pool(&["a", "b"]);
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["backup"]))
        .layer(twice(Take::First))
        .layer(exact())
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(slow(key_1_first))
        .service(provider);
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    let attempts = attempts(&response);
    let last = attempts.last().unwrap();
    assert_eq!((last.progress, last.status), (Progress::Abandoned, None));
    assert!(
        trail(&response).ends_with("given up"),
        "{}",
        trail(&response)
    );
    assert!(pool.snapshot().iter().all(|key| key.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn trail_shows_attempts_in_flight() {
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["backup"]))
        .layer(exact())
        .layer(KeyRotationLayer::new(pool(&["a", "b"])))
        .service(Provider::new(|seen| match seen.key() {
            "a" => limited(60),
            _ => Answer::Late(secs(5), 200),
        }));
    let call = Call::new();
    let request = tokio::spawn(service.oneshot(with(&call)));
    sleep(secs(1)).await;
    let rejected = "1. key-1, m: 429, key_rotation: next key\n2. key-2, m: ";
    assert_eq!(call.trail().to_string(), format!("{rejected}in flight"));
    assert_eq!(call.trail().attempts()[1].progress, Progress::InFlight);
    request.await.unwrap().unwrap();
    assert_eq!(call.trail().to_string(), format!("{rejected}200"));
    assert_eq!(call.trail().attempts()[1].progress, Progress::Completed);
}

#[tokio::test(start_paused = true)]
async fn max_sends_counts_requests_in_flight() {
    let pair = |first: u32, inner: &str, outer: &str| {
        let second = first + 1;
        format!("{first}. 429, backoff: {inner}; backoff: {outer}\n{second}. in flight")
    };
    let all = "returned, sends of the call used up";
    let wait = pair(1, "returned, attempts used up", "wait of 1.0 s");
    for (most, expected) in [
        (2, pair(1, all, all)),
        (3, [wait, pair(3, all, all)].join("\n")),
    ] {
        let mut count = 0;
        let provider = Provider::new(move |_| {
            count += 1;
            match count % 2 {
                1 => Answer::Slow(secs(1), 429, vec![("retry-after", "1".into())]),
                _ => Answer::Late(secs(600), 200),
            }
        });
        let service = ServiceBuilder::new()
            .layer(exact().max_sends(most))
            .layer(twice(Take::FirstAndRunOn))
            .layer(exact().attempts(1))
            .service(provider);
        let response = service.oneshot(chat("m")).await.unwrap();
        assert_eq!(trail(&response), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn key_is_on_cooldown_if_only_an_earlier_request_passes() {
    let provider = Provider::new({
        let mut count = 0;
        move |_| {
            count += 1;
            match count {
                1 => Answer::Slow(secs(1), 429, vec![("retry-after", "30".into())]),
                _ => Answer::Late(secs(2), 200),
            }
        }
    });
    let pool = pool(&["a"]);
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(twice(Take::FirstGood))
        .layer(exact().attempts(1))
        .service(provider);
    let start = Instant::now();
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(limits(&pool, start), [Some(31)]);
}

#[tokio::test(start_paused = true)]
async fn each_request_of_a_hedge_is_counted_once_with_its_own_target() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let provider = Provider::new(|seen| match (seen.key(), &*seen.model()) {
        ("a", "m") => limited(600),
        ("b", "m") => limited(700),
        _ => ok(),
    });
    let service = ServiceBuilder::new()
        .layer(exact())
        .layer(twice(Take::Both))
        .layer(FallbackLayer::new(["backup"]))
        .layer(KeyRotationLayer::new(pool(&["a", "b"])))
        .layer(slow(key_2_first))
        .service(provider.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    let text = recorder.handle().render();
    let attempts = text
        .lines()
        .filter(|it| it.starts_with("tower_429_attempts_total{"));
    let mut attempts: Vec<_> = attempts.collect();
    attempts.sort_unstable();
    let rejected = provider.models().iter().filter(|it| *it == "m").count();
    assert_eq!(
        attempts,
        [
            r#"tower_429_attempts_total{host="api.example",target="fallback",outcome="answered"} 2"#
                .to_owned(),
            format!(
                r#"tower_429_attempts_total{{host="api.example",target="own",outcome="rejected"}} {rejected}"#
            ),
        ]
    );
}
