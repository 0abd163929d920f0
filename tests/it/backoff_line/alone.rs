//! A call that is alone waits as if no other call had ever been made.

use tokio::time::Instant;
use tower::Layer as _;
use tower_429::BackoffLayer;

use super::*;

#[tokio::test(start_paused = true)]
async fn lone_call_waits_as_long_as_an_independent_one_to_the_millisecond() {
    let scripts = [
        vec![status(429), status(429), status(429), ok()],
        vec![limited(20), rejected(503, 1), status(529), ok()],
        vec![limited(1), limited(1), limited(30), ok()],
        vec![
            limited(0),
            Answer::Slow(secs(2), 429, vec![]),
            limited(60),
            ok(),
        ],
        vec![Answer::Response(429, vec![("retry-after-ms", "1".into())]); 5],
    ];
    for script in scripts {
        for seed in 0..20 {
            let waits = async |layer: BackoffLayer| {
                let provider = Provider::script(script.clone());
                call(&layer.seed(seed).layer(provider.clone()), chat("m")).await;
                provider.waits()
            };
            let shared = waits(BackoffLayer::new()).await;
            assert_eq!(shared, waits(BackoffLayer::new().independent()).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn short_custom_delays_are_not_prolonged_by_a_guess() {
    let provider = Provider::script([status(429), status(429), status(429), ok()]);
    let layer = BackoffLayer::new().delays(|_| std::iter::repeat(millis(100)));
    call(&layer.layer(provider.clone()), chat("m")).await;
    assert_eq!(provider.waits(), [millis(100); 3]);
}

#[tokio::test(start_paused = true)]
async fn sequential_calls_are_sent_at_once_whatever_the_headers_report() {
    let provider = Provider::new(|_| {
        let left = ("x-ratelimit-remaining-requests", "0".into());
        let reset = ("x-ratelimit-reset-requests", "30s".into());
        Answer::Response(200, vec![left, reset])
    });
    let service = BackoffLayer::new().layer(provider);
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(call(&service, chat("m")).await.status(), 200);
    }
    assert_eq!(start.elapsed(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn ended_call_delays_the_next_one_by_its_hint_and_not_by_a_guess() {
    let layer = BackoffLayer::new().attempts(1);
    let provider = Provider::script([status(429), ok()]);
    let service = layer.layer(provider.clone());
    call(&service, chat("m")).await;
    call(&service, chat("m")).await;
    assert_eq!(provider.waits(), [secs(0)]);

    let provider = Provider::script([limited(5), ok()]);
    let service = BackoffLayer::new().attempts(1).layer(provider.clone());
    call(&service, chat("m")).await;
    call(&service, chat("m")).await;
    let waits = provider.waits();
    assert!(
        waits[0] >= secs(5) && waits[0] <= millis(5_101),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn independent_calls_share_no_state() {
    let provider = once(limited(5));
    let service = BackoffLayer::new().independent().layer(provider.clone());
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert_eq!(times(&provider)[..4], [0, 1, 2, 3].map(millis));
}

#[tokio::test(start_paused = true)]
async fn debug_of_the_layer_and_its_service_shows_no_key() {
    let layer = BackoffLayer::new();
    let service = layer.layer(once(limited(5)));
    call(&service, with_key("Bearer sk-secret")).await;
    let printed = format!("{layer:?}");
    assert!(printed.contains("is_independent: false"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");
}
