//! BackoffLayer, through the public API, on a paused clock.

#![allow(clippy::disallowed_methods)] // a test under a paused clock may look at it

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_429::{BackoffLayer, trail::Trail};

type Answer = (u16, Option<&'static str>);

/// Sends one request through `layer` to a provider that gives `answers`, and tells when each attempt came.
async fn run(layer: BackoffLayer, answers: Vec<Answer>) -> (Response<String>, Vec<Duration>) {
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let times = seen.clone();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let provider = service_fn(move |request: Request<String>| {
        assert_eq!(request.body(), "hello");
        seen.lock().unwrap().push(start.elapsed());
        let (status, hint) = answers
            .lock()
            .unwrap()
            .next()
            .expect("no more attempts than answers");
        let mut response = Response::builder().status(status);
        if let Some(hint) = hint {
            response = response.header("retry-after", hint);
        }
        async move { Ok::<_, Infallible>(response.body(String::from("answer")).unwrap()) }
    });
    let response = layer
        .layer(provider)
        .oneshot(Request::new("hello".into()))
        .await
        .unwrap();
    let times = times.lock().unwrap().clone();
    (response, times)
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_waited_for_never_less_and_at_most_the_jitter_more() {
    for seed in 0..50 {
        let (response, times) = run(
            BackoffLayer::new().seed(seed),
            vec![(429, Some("20")), (200, None)],
        )
        .await;
        assert_eq!(response.status(), 200);
        let wait = times[1] - times[0];
        assert!(
            wait >= Duration::from_secs(20) && wait <= Duration::from_millis(22_001),
            "{wait:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_over_max_wait_is_returned_at_once() {
    let start = Instant::now();
    let (response, times) = run(BackoffLayer::new(), vec![(429, Some("61"))]).await;
    assert_eq!(
        (response.status().as_u16(), response.body().as_str()),
        (429, "answer")
    );
    assert_eq!((times.len(), start.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_does_not_fit_the_deadline_is_returned_at_once() {
    let start = Instant::now();
    let layer = BackoffLayer::new().deadline(Duration::from_secs(10));
    let (response, _) = run(layer, vec![(429, Some("20"))]).await;
    assert_eq!(
        (response.status().as_u16(), start.elapsed()),
        (429, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_returned_with_the_trail_when_the_attempts_are_used_up() {
    let (response, times) = run(
        BackoffLayer::new().attempts(3),
        vec![(429, None), (529, None), (503, None)],
    )
    .await;
    assert_eq!((response.status().as_u16(), times.len()), (503, 3));
    let trail = response.extensions().get::<Trail>().unwrap().attempts();
    let statuses: Vec<_> = trail
        .iter()
        .map(|attempt| attempt.status.unwrap().as_u16())
        .collect();
    assert_eq!(statuses, [429, 529, 503]);
}

#[tokio::test(start_paused = true)]
async fn what_time_does_not_cure_is_not_waited_for() {
    for status in [400, 401, 402, 403, 404, 408, 413, 500, 502] {
        let (response, times) = run(BackoffLayer::new(), vec![(status, Some("1"))]).await;
        assert_eq!((response.status().as_u16(), times.len()), (status, 1));
    }
}
