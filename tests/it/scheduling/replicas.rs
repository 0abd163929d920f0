//! Several processes send with the same keys, and each takes its part.

use futures::future::join;
use http::Request;
use tower::Layer as _;
use tower_429::{Call, Cost, FallbackLayer, KeyPool, key_rotation::KeyRotation};

use super::{call, calls, left, waits};
use crate::script::*;

/// A pool of one of four processes.
fn one_of_four(provider: &Provider) -> KeyRotation<Provider> {
    let pool = KeyPool::builder(["a", "b"]).replicas(4).build().unwrap();
    waits(&pool, provider, secs(60))
}

/// The first response reports what is left, and the others take five seconds.
fn reports(headers: Vec<(&'static str, String)>) -> Provider {
    let mut first = Some(headers);
    Provider::new(move |_| match first.take() {
        Some(headers) => Answer::Response(200, headers),
        None => Answer::Late(secs(5), 200),
    })
}

#[tokio::test(start_paused = true)]
async fn process_takes_its_part_of_what_is_reported() {
    let provider = reports(left(10, 8, secs(600)));
    let service = one_of_four(&provider);
    call(&service, chat("m")).await;
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert_eq!(provider.keys(), ["a", "a", "a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn process_takes_one_if_less_than_one_each_is_left() {
    let provider = reports(left(10, 2, secs(600)));
    let service = one_of_four(&provider);
    call(&service, chat("m")).await;
    assert_eq!(calls(&service, 2).await, [200; 2]);
    assert_eq!(provider.keys(), ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn one_request_may_take_more_tokens_than_the_part_of_its_process() {
    let provider = reports(vec![
        ("x-ratelimit-limit-tokens", "10000".into()),
        ("x-ratelimit-remaining-tokens", "1000".into()),
        ("x-ratelimit-reset-tokens", "600s".into()),
    ]);
    let service = one_of_four(&provider);
    let costing = |tokens| -> Request<String> {
        let mut request = chat("m");
        let call = Call::new().cost(Cost::new(tokens, 0));
        request.extensions_mut().insert(call);
        request
    };
    call(&service, costing(1)).await;
    join(call(&service, costing(800)), call(&service, costing(100))).await;
    assert_eq!(provider.keys(), ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn fallback_takes_its_part_of_what_a_target_reports() {
    let provider = reports(left(10, 8, secs(600)));
    let service = FallbackLayer::new(["other"]).replicas(4);
    let service = service.layer(provider.clone());
    call(&service, chat("m")).await;
    assert_eq!(calls(&service, 3).await, [200; 3]);
    assert_eq!(provider.models(), ["m", "m", "m", "other"]);
}
