//! The closure of `on_attempt`: when each layer calls it, and with which attempts.

use std::{
    io::ErrorKind,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures::FutureExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyRotationLayer,
    rejection::Reason,
    trail::{Action, Attempt, LayerKind, StopReason},
};

use crate::script::{Answer, Provider, attempts, chat, limited, ok, pool, secs, status};

/// The attempts that a closure received.
#[derive(Clone, Default)]
struct Got(Arc<Mutex<Vec<Attempt>>>);

impl Got {
    fn closure(&self) -> impl Fn(&Attempt) + Send + Sync + 'static {
        let got = self.0.clone();
        move |attempt| got.lock().unwrap().push(attempt.clone())
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.0.lock().unwrap().clone()
    }

    /// Returns each attempt as a line of the trail.
    fn lines(&self) -> Vec<String> {
        self.attempts().iter().map(ToString::to_string).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn closure_gets_each_attempt_once_after_the_decision() {
    let got = Got::default();
    let layer = BackoffLayer::new()
        .on_error(|error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset)
        .on_attempt(got.closure());
    let reset = Answer::Error(ErrorKind::ConnectionReset);
    let provider = Provider::script([limited(2), reset, ok()]);
    let response = layer.layer(provider).oneshot(chat("m")).await.unwrap();

    let all = got.attempts();
    assert_eq!(all, attempts(&response), "the same as in the trail");
    let rejection = all[0].rejection.as_ref().unwrap();
    assert_eq!(rejection.reason, Reason::RateLimited);
    assert_eq!(rejection.retry_after, Some(secs(2)));
    let Action::Wait(wait) = all[0].steps[0].action else {
        panic!("{all:#?}");
    };
    assert!(wait >= secs(2));
    assert_eq!(all[1].error.as_ref().unwrap().kind, "ConnectionReset");
    assert!(all[2].steps.is_empty(), "the layer did nothing");
}

#[tokio::test(start_paused = true)]
async fn each_layer_of_a_stack_reports_its_own_decision() {
    let (backoff, keys, fallback) = (Got::default(), Got::default(), Got::default());
    let provider = Provider::script([limited(5), limited(6), ok()]);
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new().on_attempt(backoff.closure()))
        .layer(FallbackLayer::new(["small"]).on_attempt(fallback.closure()))
        .layer(KeyRotationLayer::new(pool(&["one", "two"])).on_attempt(keys.closure()))
        .service(provider);
    client.oneshot(chat("large")).await.unwrap();

    let last = |got: &Got| {
        let last = |attempt: &Attempt| attempt.steps.last().map(|it| (it.layer, it.action));
        got.attempts().iter().map(last).collect::<Vec<_>>()
    };
    let key = |attempt: &Attempt| attempt.key.as_deref().map(str::to_owned);
    let all = keys.attempts();
    assert_eq!(all.iter().filter_map(key).count(), 3, "{all:#?}");
    assert_eq!(
        last(&keys),
        [
            Some((LayerKind::KeyRotation, Action::NextKey)),
            Some((
                LayerKind::KeyRotation,
                Action::Return(StopReason::NoFreeKey)
            )),
            None
        ]
    );
    assert_eq!(
        last(&fallback),
        [Some((LayerKind::Fallback, Action::NextTarget)), None]
    );
    assert_eq!(last(&backoff), [None]);
    assert_eq!(all[2].model.as_deref(), Some("small"));
}

#[tokio::test(start_paused = true)]
async fn closure_gets_a_response_that_the_layer_made() {
    let got = Got::default();
    let layer = KeyRotationLayer::new(pool(&["one"]));
    let layer = layer.reject_when_exhausted().on_attempt(got.closure());
    let mut client = layer.layer(Provider::script([limited(9)]));
    for _ in 0..2 {
        let response = client.ready().await.unwrap().call(chat("m")).await.unwrap();
        assert_eq!(response.status(), 429);
    }
    let lines = got.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].contains("429, not sent"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn closure_gets_no_attempt_that_was_dropped_in_flight() {
    let got = Got::default();
    let silent = tower::service_fn(|_: http::Request<String>| {
        std::future::pending::<Result<http::Response<String>, std::io::Error>>()
    });
    let client = BackoffLayer::new().on_attempt(got.closure()).layer(silent);
    let timeout = tokio::time::timeout(secs(1), client.oneshot(chat("m"))).await;
    assert!(timeout.is_err() && got.lines().is_empty());
}

#[tokio::test(start_paused = true)]
async fn last_closure_replaces_the_one_before() {
    let (first, second) = (Got::default(), Got::default());
    let layer = BackoffLayer::new().on_attempt(first.closure());
    let client = layer
        .on_attempt(second.closure())
        .layer(Provider::script([ok()]));
    client.oneshot(chat("m")).await.unwrap();
    assert_eq!((first.lines().len(), second.lines().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_closure_reaches_the_caller_and_harms_no_other_call() {
    let layer = BackoffLayer::new().on_attempt(|attempt| {
        assert_ne!(attempt.status, Some(http::StatusCode::PAYMENT_REQUIRED));
    });
    let mut client = layer.layer(Provider::script([status(402), limited(1), ok()]));
    let call = client.ready().await.unwrap().call(chat("m"));
    assert!(AssertUnwindSafe(call).catch_unwind().await.is_err());
    let response = client.ready().await.unwrap().call(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
}
