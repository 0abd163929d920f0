//! Calls that wait for a key or a target release the permit of an inner `ConcurrencyLimit`. The clock is paused.

use std::time::Duration;

use crate::script::*;
use http::{Request, Response};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer,
    util::BoxCloneSyncService,
};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer};

type Client = BoxCloneSyncService<Request<String>, Response<String>, std::io::Error>;

/// Returns services over a provider with one permit, whose calls wait up to two minutes for a key or a target.
fn patient(provider: &Provider) -> [(&'static str, Client); 2] {
    let permit = || ConcurrencyLimitLayer::new(1).layer(provider.clone());
    let pool = KeyPool::new(["a"]).unwrap();
    let keys = KeyRotationLayer::new(pool).wait_when_exhausted(secs(120));
    let fallback = FallbackLayer::new(["m"]).wait_when_exhausted(secs(120));
    [
        ("a key", Client::new(keys.layer(permit()))),
        ("a target", Client::new(fallback.layer(permit()))),
    ]
}

/// Sends a request. Returns the status and how long the call took.
async fn send<S>(service: S, model: &str) -> (u16, Duration)
where
    S: Service<Request<String>, Response = Response<String>, Error = std::io::Error>,
{
    let start = Instant::now();
    let response = service.oneshot(chat(model)).await.unwrap();
    (response.status().as_u16(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_key_or_a_target_holds_no_permit() {
    for index in 0..2 {
        let provider = Provider::new(|seen| match seen.model().as_str() {
            "m" if seen.at < secs(50) => limited(60),
            _ => ok(),
        });
        let (name, service) = patient(&provider).into_iter().nth(index).unwrap();
        let rejected = tokio::spawn(send(service.clone(), "m"));
        sleep(secs(1)).await;
        let waits_at_once = tokio::spawn(send(service.clone(), "m"));
        sleep(secs(1)).await;
        let (status, took) = send(service, "n").await;
        assert_eq!((status, took), (200, Duration::ZERO), "{name}");
        assert_eq!(rejected.await.unwrap().0, 200, "{name}");
        assert_eq!(waits_at_once.await.unwrap().0, 200, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn key_limited_while_the_client_is_busy_is_not_used() {
    let provider = Provider::new(|seen| match (seen.model().as_str(), seen.at.as_secs()) {
        ("m", 0..5) => limited(5),
        ("m", 5..40) => limited(30),
        ("m", _) => ok(),
        _ => Answer::Late(secs(20), 200),
    });
    let pool = KeyPool::new(["a"]).unwrap();
    let layer = KeyRotationLayer::new(pool).wait_when_exhausted(secs(120));
    let permit = ConcurrencyLimitLayer::new(1).layer(provider.clone());
    let waits = layer.layer(permit);
    let waits_for_key = tokio::spawn(send(waits.clone(), "m"));
    sleep(secs(1)).await;
    let holds_permit = tokio::spawn(send(waits, "n"));
    sleep(secs(9)).await;
    // Bypasses the queue, like another program with the same key.
    let impatient = ServiceBuilder::new().layer(layer).service(provider.clone());
    let rejected = tokio::spawn(send(impatient, "m"));
    assert_eq!(waits_for_key.await.unwrap().0, 200);
    assert_eq!(holds_permit.await.unwrap().0, 200);
    assert_eq!(rejected.await.unwrap().0, 200);
    assert_eq!(of_model("m", &provider), [0, 10, 40, 40]);
}

#[tokio::test(start_paused = true)]
async fn call_that_must_wait_longer_leaves_the_queue_for_a_permit() {
    let provider = Provider::new(|seen| match (seen.model().as_str(), seen.at.as_secs()) {
        ("m", 0..5) => limited(5),
        ("m", 5..40) => limited(30),
        ("long", _) => Answer::Late(secs(20), 200),
        _ => ok(),
    });
    let layer = FallbackLayer::new(["m"]).wait_when_exhausted(secs(120));
    let permit = ConcurrencyLimitLayer::new(1).layer(provider.clone());
    let service = layer.layer(permit);
    let waits = tokio::spawn(send(service.clone(), "m"));
    sleep(secs(1)).await;
    let holds_permit = tokio::spawn(send(service.clone(), "long"));
    sleep(secs(9)).await;
    // Bypasses the queue for the permit, but shares the limits.
    let rejected = tokio::spawn(send(layer.layer(provider.clone()), "m"));
    sleep(secs(12)).await;
    assert_eq!(send(service, "n").await, (200, Duration::ZERO));
    for call in [waits, holds_permit, rejected] {
        assert_eq!(call.await.unwrap().0, 200);
    }
    assert_eq!(of_model("m", &provider), [0, 10, 40, 40]);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_before_its_send_counts_at_no_target() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" => Answer::Response(
            200,
            vec![
                ("x-ratelimit-limit-requests", "2".into()),
                ("x-ratelimit-remaining-requests", "1".into()),
                ("x-ratelimit-reset-requests", "40s".into()),
            ],
        ),
        "rejected" => limited(60),
        _ => Answer::Late(secs(20), 200),
    });
    let permit = ConcurrencyLimitLayer::new(1).layer(provider.clone());
    let service = FallbackLayer::new(["m", "backup"]).layer(permit);
    send(service.clone(), "m").await;
    let sends_m_next = tokio::spawn(send(service.clone(), "rejected"));
    yield_now().await;
    let holds_permit = tokio::spawn(send(service.clone(), "n"));
    sleep(secs(1)).await;
    sends_m_next.abort();
    send(service, "m").await;
    holds_permit.await.unwrap();
    assert_eq!(provider.models(), ["m", "rejected", "n", "m"]);
}

#[tokio::test(start_paused = true)]
async fn retry_that_has_started_is_sent_though_the_client_is_ready_late() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" if seen.at < secs(5) => limited(1),
        "m" => ok(),
        _ => Answer::Late(secs(20), 200),
    });
    let permit = ConcurrencyLimitLayer::new(1).layer(provider.clone());
    let service = BackoffLayer::new().deadline(secs(5)).layer(permit);
    let rejected = tokio::spawn(send(service.clone(), "m"));
    yield_now().await;
    let holds_permit = tokio::spawn(send(service, "n"));
    assert_eq!(rejected.await.unwrap(), (200, secs(20)));
    assert_eq!(holds_permit.await.unwrap().0, 200);
}

/// Returns when requests for the model arrived, in whole seconds.
fn of_model(model: &str, provider: &Provider) -> Vec<u64> {
    let seen = provider.seen().into_iter();
    let of_model = seen.filter(|seen| seen.model() == model);
    of_model.map(|seen| seen.at.as_secs()).collect()
}
