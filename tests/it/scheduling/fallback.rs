//! Fallback with a wait: the preferred target is used first, and the next target while that is limited.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer as _, ServiceExt, service_fn};
use tower_429::{Call, FallbackLayer, KeyPool, KeyRotationLayer, rejection::Reason};

use super::{call, pool};
use crate::script::*;

#[tokio::test(start_paused = true)]
async fn calls_use_the_next_target_while_the_preferred_one_is_limited() {
    let provider = Provider::script([limited(20), ok(), ok(), ok()]);
    let layer = FallbackLayer::new(["small"]).wait_when_exhausted(secs(60));
    let service = layer.layer(provider.clone());
    let start = Instant::now();
    for _ in 0..2 {
        call(&service, chat("m")).await;
    }
    assert_eq!(provider.models(), ["m", "small", "small"]);
    assert!(start.elapsed() < secs(1));
    sleep(secs(20)).await;
    call(&service, chat("m")).await;
    assert_eq!(provider.models().last().unwrap(), "m");
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_the_first_target_that_frees_if_all_are_limited() {
    let provider = Provider::script([limited(20), limited(7), ok()]);
    let layer = FallbackLayer::new(["small"]).wait_when_exhausted(secs(60));
    let start = Instant::now();
    let response = call(&layer.layer(provider.clone()), chat("m")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(provider.models(), ["m", "small", "small"]);
    assert!(start.elapsed() >= secs(7) && start.elapsed() < secs(8));
}

#[tokio::test(start_paused = true)]
async fn target_is_used_again_if_it_frees_before_a_slow_one_rejects() {
    let slow = Answer::Slow(secs(9), 429, vec![("retry-after", "60".into())]);
    let provider = Provider::script([limited(5), slow, ok()]);
    let layer = FallbackLayer::new(["small"]).wait_when_exhausted(secs(60));
    let response = call(&layer.layer(provider.clone()), chat("m")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(provider.models(), ["m", "small", "m"]);
}

/// Limits `m` for ten seconds, and no other model.
fn limited_for_ten_seconds() -> Provider {
    Provider::new(|seen| match (seen.model().as_str(), seen.at) {
        ("m", at) if at < secs(10) => limited(10),
        _ => ok(),
    })
}

#[tokio::test(start_paused = true)]
async fn call_uses_the_next_target_if_it_cannot_wait_for_the_preferred_one() {
    let provider = limited_for_ten_seconds();
    let layer = FallbackLayer::new(["small"]).wait_when_exhausted(Duration::from_millis(100));
    let service = layer.layer(provider.clone());
    call(&service, chat("m")).await;
    sleep(Duration::from_millis(9_800)).await;
    call(&service, chat("m")).await;
    assert_eq!(provider.models(), ["m", "small", "small"], "its max_wait");

    let provider = limited_for_ten_seconds();
    let layer = FallbackLayer::new(["small"]).wait_when_exhausted(secs(60));
    let service = layer.layer(provider.clone());
    call(&service, chat("m")).await;
    sleep(Duration::from_millis(9_800)).await;
    let mut hurried = chat("m");
    let limits = Call::new()
        .max_sends(1)
        .deadline(Duration::from_millis(150));
    hurried.extensions_mut().insert(limits);
    assert_eq!(call(&service, hurried).await.status(), 200);
    assert_eq!(provider.models(), ["m", "small", "small"], "its deadline");
}

#[tokio::test(start_paused = true)]
async fn waiting_call_wakes_when_a_response_shows_that_a_target_is_free() {
    let provider = Provider::script([status(429), status(429), ok(), ok()]);
    let layer = FallbackLayer::new(["small"]).wait_when_exhausted(secs(120));
    let service = layer.layer(provider.clone());
    let start = Instant::now();
    let waiting = tokio::spawn(service.clone().oneshot(chat("m")));
    sleep(secs(5)).await;
    let mut hurried = chat("m");
    hurried
        .extensions_mut()
        .insert(Call::new().deadline(secs(1)));
    assert_eq!(call(&service, hurried).await.status(), 200);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert_eq!(start.elapsed().as_secs(), 5, "not when the cooldown ends");
}

type Body = BoxBody<Bytes, Infallible>;

/// Returns a body that stalls after the beginning of a chat request.
fn stalled() -> Body {
    let part = Frame::data(Bytes::from_static(b"{\"model\": "));
    let part = stream::iter([Ok(part)]);
    StreamBody::new(futures::StreamExt::chain(part, stream::pending())).boxed()
}

#[tokio::test(start_paused = true)]
async fn call_does_not_wait_past_the_deadline_for_the_model_of_an_upload() {
    let start = Instant::now();
    let inner = service_fn(move |request: Request<Body>| async move {
        let is_whole = request.headers().contains_key("whole");
        let status = if is_whole { 429 } else { 200 };
        let response = Response::builder()
            .status(status)
            .header("retry-after", "600")
            .header("at", start.elapsed().as_millis().to_string());
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let service = FallbackLayer::new(Vec::<&str>::from(["small"])).layer(inner);
    let request = |body: Body| {
        Request::post("https://api.example/v1/chat")
            .header("content-type", "application/json")
            .extension(Call::new().deadline(Duration::from_secs(30)))
            .body(body)
            .unwrap()
    };
    let whole = Full::from(r#"{"model": "m"}"#).boxed();
    let mut limits = request(whole);
    limits.headers_mut().insert("whole", "yes".parse().unwrap());
    service.clone().oneshot(limits).await.unwrap();

    let before = start.elapsed().as_millis();
    let stalled = service.oneshot(request(stalled()));
    let response = timeout(secs(3_600), stalled)
        .await
        .expect("an end")
        .unwrap();
    let at: u128 = response.headers()["at"].to_str().unwrap().parse().unwrap();
    assert_eq!(response.status(), 200, "it was sent unchanged");
    assert_eq!(at - before, 30_000);
}

/// Returns a chat request whose body arrives a moment later.
fn streams(model: &str) -> Body {
    let whole = Bytes::from(format!(r#"{{"model": "{model}"}}"#));
    let later = stream::once(async move {
        sleep(Duration::from_millis(1)).await;
        Ok(Frame::data(whole))
    });
    StreamBody::new(later).boxed()
}

#[tokio::test(start_paused = true)]
async fn limit_of_a_streaming_body_applies_to_all_models_unless_it_was_read() {
    let inner = service_fn(|request: Request<Body>| async move {
        request.into_body().collect().await.unwrap();
        let response = Response::builder().status(429).header("retry-after", "60");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let request = |body: Body| {
        Request::post("https://api.example/v1/chat")
            .header("content-type", "application/json")
            .body(body)
            .unwrap()
    };
    let limited = |pool: &KeyPool| {
        let key = pool.snapshot().remove(0);
        let models = key.limited_models.iter().map(|of| of.model.to_string());
        (key.cooldown_reason, models.collect::<Vec<_>>())
    };

    let pool = pool(&["a"]);
    let keys = KeyRotationLayer::new(pool.clone());
    keys.layer(inner)
        .oneshot(request(streams("m")))
        .await
        .unwrap();
    assert_eq!(limited(&pool), (Some(Reason::RateLimited), vec![]));

    pool.replace("key-1", "b").unwrap();
    let fallback = FallbackLayer::new(["small"]);
    let whole = Full::from(r#"{"model": "m"}"#).boxed();
    fallback.layer(inner).oneshot(request(whole)).await.unwrap();
    // Fallback knows that models are limited here, so it reads the body first.
    let stack = fallback.layer(keys.layer(inner));
    stack.oneshot(request(streams("n"))).await.unwrap();
    assert_eq!(limited(&pool), (None, vec!["n".into()]));
}
