//! `BackoffLayer` through the public API, with a paused clock.

use std::{
    collections::HashSet,
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::script::*;
use http::Response;
use tokio::time::Instant;
use tower::{Layer as _, ServiceExt, retry::budget::Budget};
use tower_429::{
    BackoffLayer,
    rejection::Reason,
    trail::{LayerKind, StopReason},
};

const MILLISECOND: Duration = Duration::from_millis(1);

async fn call(layer: &BackoffLayer, provider: &Provider) -> Response<String> {
    let service = layer.layer(provider.clone());
    service.oneshot(chat("m")).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn wait_lasts_for_the_hint_and_at_most_the_jitter_longer() {
    let mut waits = HashSet::new();
    for seed in 0..50 {
        let provider = Provider::script([limited(20), rejected(503, 1), ok()]);
        let layer = BackoffLayer::new().seed(seed);
        assert_eq!(call(&layer, &provider).await.status(), 200);
        let [long, short] = provider.waits()[..] else {
            panic!("three attempts");
        };
        assert!(
            long >= secs(20) && long <= secs(22) + MILLISECOND,
            "{long:?}"
        );
        assert!(
            short >= secs(1) && short <= Duration::from_millis(1_251),
            "{short:?}"
        );
        waits.insert(long);
    }
    assert!(
        waits.len() > 40,
        "callers with the same hint do not retry at the same moment"
    );
}

#[tokio::test(start_paused = true)]
async fn layer_waits_for_a_hint_up_to_max_wait_and_returns_a_longer_one() {
    let provider = Provider::script([limited(60), ok()]);
    assert_eq!(call(&BackoffLayer::new(), &provider).await.status(), 200);

    let start = Instant::now();
    let provider = Provider::script([limited(61)]);
    let response = call(&BackoffLayer::new(), &provider).await;
    assert_eq!(response.body(), "the provider's own 429");
    assert_eq!(
        whys(&response),
        [(LayerKind::Backoff, StopReason::WaitTooLong)]
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_at_the_deadline_and_the_last_waits_are_spread() {
    let deadline = Duration::from_millis(10_100);
    let mut sent = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let provider = Provider::script([limited(10), ok()]);
        let layer = BackoffLayer::new().seed(seed).deadline(deadline);
        let service = layer.layer(provider.clone());
        service.oneshot(chat("m")).await.unwrap();
        sent.extend(provider.seen().get(1).map(|seen| seen.at));
    }
    assert!(sent.first().is_some_and(|at| *at >= secs(10)), "{sent:?}");
    assert!(sent.last().is_some_and(|at| *at < deadline), "{sent:?}");
    assert!(sent.len() > 10, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn hint_that_does_not_fit_the_deadline_is_returned_at_once() {
    let start = Instant::now();
    let provider = Provider::script([limited(6), limited(6)]);
    let layer = BackoffLayer::new().deadline(secs(10));
    let response = call(&layer, &provider).await;
    assert_eq!(
        whys(&response),
        [(LayerKind::Backoff, StopReason::PastDeadline)]
    );
    assert_eq!(
        start.elapsed(),
        provider.seen()[1].at,
        "the layer does not wait for the second hint"
    );
}

#[tokio::test(start_paused = true)]
async fn delays_without_a_hint_double_and_spread() {
    for hintless in [
        status(429),
        limited(0),
        Answer::Response(429, vec![("retry-after", "soon".into())]),
    ] {
        let provider = Provider::new(move |_| hintless.clone());
        call(&BackoffLayer::new(), &provider).await;
        let waits = provider.waits();
        assert_eq!(waits.len(), 4);
        for (wait, step) in waits.iter().zip([1.0, 2.0, 4.0, 8.0]) {
            let wait = wait.as_secs_f64();
            assert!((step..=step * 1.5 + 0.001).contains(&wait), "{waits:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn seed_makes_waits_repeatable_and_calls_differ() {
    let run = async |seed| {
        let provider = Provider::new(|_| status(429));
        let layer = BackoffLayer::new().seed(seed).attempts(3);
        call(&layer, &provider).await;
        call(&layer, &provider).await;
        provider.waits()
    };
    let waits = run(7).await;
    assert_eq!(waits, run(7).await);
    assert_ne!(waits, run(8).await);
    assert_ne!(
        waits[..2],
        waits[3..],
        "two calls of one layer have different waits"
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_end_when_custom_delays_end() {
    let provider = Provider::new(|_| status(529));
    let layer = BackoffLayer::new()
        .attempts(9)
        .delays(|_seed| [secs(3), secs(1)].into_iter());
    let response = layer
        .layer(provider.clone())
        .oneshot(chat("m"))
        .await
        .unwrap();
    assert_eq!(provider.waits(), [secs(3), secs(1)]);
    assert_eq!(
        whys(&response),
        [(LayerKind::Backoff, StopReason::AttemptsUsedUp)]
    );
}

#[tokio::test(start_paused = true)]
async fn last_response_is_returned_with_the_trail_after_the_last_attempt() {
    let provider = Provider::script([status(429), status(529), status(503)]);
    let response = call(&BackoffLayer::new().attempts(3), &provider).await;
    assert_eq!(response.body(), "the provider's own 503");
    let statuses: Vec<_> = attempts(&response)
        .iter()
        .map(|attempt| {
            (
                attempt.number,
                attempt.sent,
                attempt.status.unwrap().as_u16(),
            )
        })
        .collect();
    assert_eq!(statuses, [(1, true, 429), (2, true, 529), (3, true, 503)]);
    assert_eq!(
        whys(&response),
        [(LayerKind::Backoff, StopReason::AttemptsUsedUp)]
    );
}

#[tokio::test(start_paused = true)]
async fn layer_sends_once_if_attempts_is_one_or_zero() {
    for attempts in [0, 1] {
        let provider = Provider::script([limited(1)]);
        call(&BackoffLayer::new().attempts(attempts), &provider).await;
        let provider = Provider::script([limited(1)]);
        call(&BackoffLayer::new().max_sends(attempts), &provider).await;
    }
}

#[tokio::test(start_paused = true)]
async fn layer_does_not_wait_if_time_does_not_help() {
    for returned in [400, 401, 402, 403, 404, 408, 413, 500, 502] {
        let provider = Provider::script([rejected(returned, 1)]);
        assert_eq!(
            call(&BackoffLayer::new(), &provider).await.status(),
            returned
        );
    }
    let rejection = Answer::Response(
        429,
        vec![
            ("retry-after", "1".into()),
            ("x-should-retry", "false".into()),
        ],
    );
    let provider = Provider::script([rejection]);
    let response = call(&BackoffLayer::new(), &provider).await;
    assert_eq!(
        whys(&response),
        [(LayerKind::Backoff, StopReason::TimeDoesNotHelp)]
    );
}

#[tokio::test(start_paused = true)]
async fn layer_waits_for_other_statuses_and_errors_by_opt_in() {
    let answers = || {
        [
            status(502),
            Answer::Error(ErrorKind::ConnectionReset),
            status(402),
            ok(),
        ]
    };
    let provider = Provider::script(answers());
    let layer = BackoffLayer::new()
        .on([Reason::QuotaExhausted])
        .on_status(|status| status == 502)
        .on_error(|error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset);
    let response = layer
        .layer(provider.clone())
        .oneshot(chat("m"))
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), provider.seen().len()),
        (200, 4)
    );

    let provider = Provider::script([Answer::Error(ErrorKind::ConnectionRefused)]);
    let error = layer.layer(provider).oneshot(chat("m")).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectionRefused,
        "the error of the client"
    );

    let provider = Provider::script([limited(1)]);
    let response = layer.layer(provider).oneshot(chat("m")).await.unwrap();
    assert_eq!(
        response.status(),
        429,
        "the reasons replace the default ones"
    );
}

/// A budget of a number of retries.
#[derive(Debug, Default)]
struct Purse(Mutex<(u32, u32)>);

impl Purse {
    fn holding(retries: u32) -> Arc<Self> {
        Arc::new(Self(Mutex::new((retries, 0))))
    }

    /// Returns how many retries are left, and how many deposits were made.
    fn count(&self) -> (u32, u32) {
        *self.0.lock().unwrap()
    }
}

impl Budget for Purse {
    fn deposit(&self) {
        self.0.lock().unwrap().1 += 1;
    }

    fn withdraw(&self) -> bool {
        let mut purse = self.0.lock().unwrap();
        let left = purse.0.checked_sub(1);
        purse.0 = left.unwrap_or(0);
        left.is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn each_retry_withdraws_and_an_empty_budget_ends_the_call() {
    let purse = Purse::holding(2);
    let layer = BackoffLayer::new().budget(purse.clone());
    let provider = Provider::script([limited(1), ok(), limited(1), limited(1)]);
    assert_eq!(call(&layer, &provider).await.status(), 200);
    assert_eq!(purse.count(), (1, 1));
    let response = call(&layer, &provider).await;
    assert_eq!(
        whys(&response),
        [(LayerKind::Backoff, StopReason::BudgetEmpty)]
    );
    assert_eq!(purse.count(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn returned_response_withdraws_nothing() {
    let purse = Purse::holding(2);
    let layer = BackoffLayer::new().budget(purse.clone()).deadline(secs(30));
    for answer in [limited(61), limited(31), status(401), status(500)] {
        call(&layer, &Provider::script([answer])).await;
    }
    assert_eq!(purse.count(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn body_over_the_bound_is_sent_once_and_the_trail_says_why() {
    let provider = Provider::script([limited(1)]);
    let response = call(&BackoffLayer::new().replay_limit(10), &provider).await;
    assert_eq!(response.body(), "the provider's own 429");
    assert_eq!(
        whys(&response),
        [(LayerKind::Backoff, StopReason::BodyTooLarge)]
    );
}

#[tokio::test(start_paused = true)]
async fn closures_on_status_and_head_may_capture_and_either_is_enough() {
    let (status, header) = (502, String::from("x-try-again"));
    let layer = BackoffLayer::new()
        .on_status(move |it| it == status)
        .retry_if(move |response| response.headers.contains_key(&header));
    let again = || Answer::Response(200, vec![("x-try-again", "1".into())]);
    let provider = Provider::script([rejected_without_hint(502), again(), ok()]);
    let response = call(&layer, &provider).await;
    assert_eq!(
        (response.status().as_u16(), provider.seen().len()),
        (200, 3)
    );

    let provider = Provider::script([rejected_without_hint(500), ok()]);
    assert_eq!(call(&layer, &provider).await.status(), 500);
}

#[tokio::test(start_paused = true)]
async fn closure_on_errors_may_capture() {
    let seen = Arc::new(AtomicU32::new(0));
    let count = seen.clone();
    let layer = BackoffLayer::new()
        .on_error(move |_: &std::io::Error| count.fetch_add(1, Ordering::Relaxed) < 2);
    let provider = Provider::new(|_| Answer::Error(std::io::ErrorKind::ConnectionReset));
    let error = layer.layer(provider.clone()).oneshot(chat("m")).await;
    assert!(error.is_err());
    let counted = seen.load(Ordering::Relaxed);
    assert_eq!((counted, provider.seen().len()), (3, 3));
}

fn rejected_without_hint(status: u16) -> Answer {
    Answer::Response(status, Vec::new())
}
