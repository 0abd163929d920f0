//! What KeyRotation and Fallback learn from retries of inner layers. The clock is paused.

use std::{io, time::Duration};

use crate::script::*;
use http::{Request, Response};
use tokio::time::{Instant, advance, sleep_until};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, timeout::TimeoutLayer};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    key_rotation::LimitedModel,
    rejection::{Reason, Rejection},
};

/// Returns the models for which the first key is limited.
fn limited_models(pool: &KeyPool) -> Vec<LimitedModel> {
    pool.snapshot().remove(0).limited_models
}

async fn call<S>(service: &S, model: &str) -> u16
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let response = service.clone().oneshot(chat(model)).await.unwrap();
    response.status().as_u16()
}

fn patient() -> BackoffLayer {
    BackoffLayer::new().jitter(0, Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn key_that_succeeded_after_its_rejections_is_not_on_cooldown() {
    for rejections in [
        vec![limited(20)],
        vec![limited(20), limited(30)],
        vec![status(429)],
    ] {
        let provider = Provider::script(rejections.into_iter().chain([ok(), ok()]));
        let pool = pool(&["a", "b"]);
        let service = ServiceBuilder::new()
            .layer(KeyRotationLayer::new(pool.clone()))
            .layer(patient())
            .service(provider.clone());
        assert_eq!(call(&service, "m").await, 200);
        assert_eq!(limited_models(&pool), []);
        assert_eq!(call(&service, "m").await, 200);
        assert!(provider.keys().iter().all(|key| key == "a"));
    }
}

#[tokio::test(start_paused = true)]
async fn hint_counts_from_its_arrival_even_if_the_pool_reads_it_later() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" => limited(20),
        _ => Answer::Late(secs(15), 200),
    });
    let pool = pool(&["a"]);
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(FallbackLayer::new(["small"]))
        .service(provider);
    let start = Instant::now();
    assert_eq!(call(&service, "m").await, 200);
    assert!(start.elapsed() >= secs(15));
    let models = limited_models(&pool);
    assert_eq!(models[0].until - start, secs(20));
}

#[tokio::test(start_paused = true)]
async fn report_on_the_fallback_model_does_not_limit_the_preferred_one() {
    let spent = vec![
        ("x-ratelimit-limit-requests", "100".into()),
        ("x-ratelimit-remaining-requests", "0".into()),
        ("x-ratelimit-reset-requests", "600s".into()),
    ];
    for small in [Answer::Response(200, spent), limited(600)] {
        let provider = Provider::new(move |seen| match seen.model().as_str() {
            "m" => limited(1),
            _ => small.clone(),
        });
        let pool = pool(&["a"]);
        let service = ServiceBuilder::new()
            .layer(KeyRotationLayer::new(pool.clone()))
            .layer(FallbackLayer::new(["small"]))
            .service(provider.clone());
        let start = Instant::now();
        call(&service, "m").await;
        assert_eq!(provider.models(), ["m", "small"]);
        let models = limited_models(&pool);
        assert_eq!((&*models[0].model, models.len()), ("m", 1));
        assert!(models[0].until <= start + secs(1), "{models:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn key_rejected_or_out_of_quota_at_one_model_is_limited_for_all() {
    for (refused, reason) in [(401, Reason::KeyRejected), (402, Reason::QuotaExhausted)] {
        let provider = Provider::new(move |seen| match (seen.key(), seen.model().as_str()) {
            ("a", "m") => limited(1),
            ("a", _) => status(refused),
            _ => ok(),
        });
        let pool = pool(&["a", "b"]);
        let service = ServiceBuilder::new()
            .layer(KeyRotationLayer::new(pool.clone()))
            .layer(FallbackLayer::new(["small"]))
            .service(provider.clone());
        assert_eq!(call(&service, "m").await, 200);
        assert_eq!(pool.snapshot()[0].cooldown_reason, Some(reason));
    }
}

#[tokio::test(start_paused = true)]
async fn key_denied_the_fallback_model_still_serves_the_preferred_one() {
    let provider = Provider::new(move |seen| match seen.model().as_str() {
        "m" => limited(1),
        _ => status(403),
    });
    // `InspectLayer` would read this from the body.
    let read = |mut response: Response<String>| {
        if response.status() == 403 {
            let mut rejection = Rejection::new(Reason::KeyRejected);
            rejection.remedies.model = Some(true);
            response.extensions_mut().insert(rejection);
        }
        response
    };
    let pool = pool(&["a"]);
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(FallbackLayer::new(["small"]))
        .map_response(read)
        .service(provider);
    assert_eq!(call(&service, "m").await, 403);
    let state = pool.snapshot().remove(0);
    assert_eq!(state.cooldown_reason, None);
    assert_eq!(&*state.limited_models[0].model, "m");
}

#[tokio::test(start_paused = true)]
async fn hint_of_a_fallback_for_all_its_targets_is_not_the_keys_hint() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" => limited(600),
        _ => limited(5),
    });
    let pool = pool(&["a"]);
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(FallbackLayer::new(["small"]))
        .service(provider.clone());
    // Fallback knows that the model `small` frees first, and does not send to it.
    call(&service, "small").await;
    let start = Instant::now();
    assert_eq!(call(&service, "m").await, 429);
    assert_eq!(provider.models(), ["small", "m"]);
    let models = limited_models(&pool);
    let of_m = models
        .iter()
        .find(|limited| &*limited.model == "m")
        .unwrap();
    assert!(of_m.until >= start + secs(600), "{models:?}");
}

async fn fails<S>(service: S)
where
    S: Service<Request<String>, Response = Response<String>, Error = BoxError>,
{
    service.oneshot(chat("m")).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn pool_records_the_rejection_that_backoff_waited_for_at_a_timeout() {
    let provider = Provider::script([limited(30)]);
    let pool = pool(&["a"]);
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(TimeoutLayer::new(secs(10)))
        .layer(patient())
        .service(provider.clone());
    let start = Instant::now();
    fails(service).await;
    assert_eq!(start.elapsed(), secs(10));
    assert_eq!(limited_models(&pool)[0].until - start, secs(30));
}

#[tokio::test(start_paused = true)]
async fn fallback_records_the_rejection_of_a_wait_cut_by_a_timeout() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" if seen.at < secs(30) => limited(30),
        _ => ok(),
    });
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]))
        .layer(TimeoutLayer::new(secs(10)))
        .layer(patient())
        .service(provider.clone());
    let start = Instant::now();
    fails(service.clone()).await;
    assert_eq!(start.elapsed(), secs(10));
    service.clone().oneshot(chat("m")).await.unwrap();
    sleep_until(start + secs(31)).await;
    service.oneshot(chat("m")).await.unwrap();
    assert_eq!(provider.models(), ["m", "small", "m"]);
}

#[tokio::test(start_paused = true)]
async fn fallback_records_what_a_pool_waited_for_and_not_its_last_rejection() {
    let provider = Provider::new(|seen| match (seen.model().as_str(), seen.key()) {
        ("m", "a") if seen.at < secs(30) => limited(30),
        ("m", "b") => limited(40),
        _ => ok(),
    });
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]))
        .layer(TimeoutLayer::new(secs(10)))
        .layer(KeyRotationLayer::new(pool(&["a", "b"])).wait_when_exhausted(secs(60)))
        .service(provider.clone());
    fails(service.clone()).await;
    service.clone().oneshot(chat("m")).await.unwrap();
    advance(secs(21)).await;
    service.oneshot(chat("m")).await.unwrap();
    assert_eq!(provider.models(), ["m", "m", "small", "m"]);
}
