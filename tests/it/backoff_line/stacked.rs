//! Backoff queues no call if another layer is in the stack, because that layer decides when to send with which key.

use tower::Layer as _;
use tower_429::{BackoffLayer, FallbackLayer, KeyRotationLayer};

use super::*;

#[tokio::test(start_paused = true)]
async fn no_call_over_key_rotation_waits_if_another_key_can_serve_it() {
    let provider = Provider::new(|seen| match seen.key() {
        "a" => limited(30),
        _ => ok(),
    });
    let keys = KeyRotationLayer::new(pool(&["a", "b"]));
    let service = BackoffLayer::new().layer(keys.layer(provider.clone()));
    assert_eq!(calls(&service, 6).await, [200; 6]);
    assert_eq!(times(&provider).last(), Some(&millis(5)));
}

#[tokio::test(start_paused = true)]
async fn backoff_over_key_rotation_adds_no_second_queue() {
    // All keys are limited, and the inner layer sends anyway.
    let provider = Provider::new(|seen| match seen.at < secs(5) {
        true => limited(5),
        false => ok(),
    });
    let keys = KeyRotationLayer::new(pool(&["a"]));
    let service = BackoffLayer::new().layer(keys.layer(provider.clone()));
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert_eq!(times(&provider)[..4], [0, 1, 2, 3].map(millis));
}

#[tokio::test(start_paused = true)]
async fn no_call_over_fallback_waits_if_another_target_can_serve_it() {
    let provider = Provider::new(|seen| match &*seen.model() {
        "m" => limited(30),
        _ => ok(),
    });
    let models = FallbackLayer::new(["n"]);
    let service = BackoffLayer::new().layer(models.layer(provider.clone()));
    assert_eq!(calls(&service, 6).await, [200; 6]);
    assert_eq!(times(&provider).last(), Some(&millis(5)));
}

#[tokio::test(start_paused = true)]
async fn backoff_inside_key_rotation_and_fallback_queues_no_call() {
    let keys = KeyRotationLayer::new(pool(&["a"]));
    let provider = Provider::new(|seen| match seen.at < secs(5) {
        true => limited(5),
        false => ok(),
    });
    let service = keys.layer(BackoffLayer::new().layer(provider.clone()));
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert_eq!(times(&provider)[..4], [0, 1, 2, 3].map(millis));

    let provider = once(limited(5));
    let models = FallbackLayer::new(["n"]);
    let service = models.layer(BackoffLayer::new().layer(provider.clone()));
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert_eq!(times(&provider)[..4], [0, 1, 2, 3].map(millis));
}

#[tokio::test(start_paused = true)]
async fn layer_around_another_stack_does_not_disable_the_queue() {
    let layer = BackoffLayer::new();
    let provider = once(limited(5));
    let keys = KeyRotationLayer::new(pool(&["a"]));
    let over_keys = layer.layer(keys.layer(Provider::new(|_| ok())));
    let service = layer.layer(provider.clone());
    call(&over_keys, chat("m")).await;
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert!(times(&provider)[1] >= secs(5));
}
