//! Requests that are pinned to a key, or that keep the caller's key.

use crate::script::*;
use http::{Request, Response};
use tower::{Layer as _, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    fallback::Target,
    key_rotation::{Key, OwnKey, PinnedKey, Session},
    rejection::Reason,
    trail::{LayerKind, StopReason},
};

fn pinned(label: &str) -> Request<String> {
    let mut request = chat("m");
    request.extensions_mut().insert(PinnedKey::new(label));
    request
}

async fn call(pool: &KeyPool, provider: &Provider, request: Request<String>) -> Response<String> {
    let service = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    service.oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn pinned_call_is_sent_with_its_key_in_every_order() {
    let builder = || KeyPool::builder(["a", "b", "c"]);
    for builder in [builder(), builder().round_robin(), builder().least_loaded()] {
        let (pool, provider) = (builder.build().unwrap(), Provider::new(|_| ok()));
        for session in 0..5 {
            let mut request = pinned("key-3");
            request.extensions_mut().insert(Session::new(session));
            call(&pool, &provider, request).await;
        }
        assert_eq!(provider.keys(), ["c"; 5]);
    }
}

#[tokio::test(start_paused = true)]
async fn pinned_call_returns_the_rejection_of_its_key() {
    for (answer, reason) in [
        (limited(20), Reason::RateLimited),
        (status(401), Reason::KeyRejected),
    ] {
        let provider = Provider::script([answer]);
        let pool = pool(&["a", "b"]);
        let response = call(&pool, &provider, pinned("key-2")).await;
        assert_eq!(provider.keys(), ["b"]);
        assert_eq!(rejection(&response).reason, reason);
        let why = (LayerKind::KeyRotation, StopReason::NoFreeKey);
        assert_eq!(whys(&response), [why]);
    }
}

#[tokio::test(start_paused = true)]
async fn pinned_call_waits_for_its_key_while_another_is_free() {
    let provider = Provider::script([limited(20), ok(), ok()]);
    let pool = pool(&["a", "b"]);
    let layer = KeyRotationLayer::new(pool.clone()).wait_when_exhausted(secs(60));
    let waiting = layer.layer(provider.clone()).oneshot(pinned("key-1"));
    let waiting = tokio::spawn(waiting);
    tokio::time::sleep(secs(10)).await;
    assert_eq!(call(&pool, &provider, chat("m")).await.status(), 200);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert_eq!(provider.keys(), ["a", "b", "a"]);
    let at = provider.seen()[2].at;
    assert!(at >= secs(20) && at < secs(21), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn pinned_call_that_may_not_wait_acts_as_if_all_keys_are_on_cooldown() {
    let provider = Provider::script([limited(20), ok()]);
    let pool = pool(&["a", "b"]);
    call(&pool, &provider, pinned("key-1")).await;
    let rejects = KeyRotationLayer::new(pool.clone()).reject_when_exhausted();
    let service = rejects.layer(provider.clone());
    let response = service.oneshot(pinned("key-1")).await.unwrap();
    assert_eq!(
        (response.status(), &**response.body()),
        (429.try_into().unwrap(), "")
    );
    assert_eq!(response.headers()["retry-after"], "20");
    assert_eq!(provider.keys(), ["a"]);
    assert_eq!(call(&pool, &provider, pinned("key-1")).await.status(), 200);
    assert_eq!(provider.keys(), ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn outer_backoff_retries_a_pinned_call_with_its_key() {
    let provider = Provider::script([limited(20), ok()]);
    let rotation = KeyRotationLayer::new(pool(&["a", "b"]));
    let service = BackoffLayer::new().layer(rotation.layer(provider.clone()));
    assert_eq!(
        service.oneshot(pinned("key-1")).await.unwrap().status(),
        200
    );
    assert_eq!(provider.keys(), ["a", "a"]);
    assert!(provider.waits()[0] >= secs(20));
}

#[tokio::test(start_paused = true)]
async fn call_pinned_to_an_unknown_key_is_sent_without_a_key() {
    let provider = Provider::script([status(401), ok()]);
    let pool = pool(&["a", "b"]);
    let response = call(&pool, &provider, pinned("key-3")).await;
    assert_eq!(provider.keys(), [""]);
    let why = (LayerKind::KeyRotation, StopReason::NoKeyForOrigin);
    assert_eq!(whys(&response), [why]);
    // That call did not bind the pool to its origin either.
    let mut elsewhere = chat("m");
    *elsewhere.uri_mut() = "https://other.example/chat".parse().unwrap();
    call(&pool, &provider, elsewhere).await;
    assert_eq!(provider.keys(), ["", "a"]);
}

#[tokio::test(start_paused = true)]
async fn pool_that_has_the_pinned_key_serves_the_call() {
    let provider = Provider::new(|_| ok());
    let named = |label: &str| {
        let pool = KeyPool::builder([Key::new(format!("sk-{label}")).label(label)]);
        pool.for_origin("https://api.example").build().unwrap()
    };
    let layer = KeyRotationLayer::new(named("one")).pool(named("two"));
    let service = layer.layer(provider.clone());
    for label in ["two", "one"] {
        service.clone().oneshot(pinned(label)).await.unwrap();
    }
    assert_eq!(provider.keys(), ["sk-two", "sk-one"]);
}

#[tokio::test(start_paused = true)]
async fn key_that_replaces_the_pinned_one_takes_over_its_waiting_calls() {
    let provider = Provider::script([limited(600), ok()]);
    let pool = pool(&["a", "b"]);
    let layer = KeyRotationLayer::new(pool.clone()).wait_when_exhausted(secs(3_600));
    let waiting = tokio::spawn(layer.layer(provider.clone()).oneshot(pinned("key-1")));
    tokio::time::sleep(secs(10)).await;
    pool.replace("key-1", "c").unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert_eq!(provider.keys(), ["a", "c"]);
    assert!(provider.waits()[0] < secs(11));
}

#[tokio::test(start_paused = true)]
async fn waiting_call_is_sent_without_a_key_if_its_key_is_removed() {
    for rejects in [false, true] {
        let provider = Provider::script([limited(600), status(401)]);
        let pool = pool(&["a", "b"]);
        let layer = KeyRotationLayer::new(pool.clone()).wait_when_exhausted(secs(3_600));
        let request = pinned("key-1");
        let waiting = match rejects {
            false => tokio::spawn(layer.layer(provider.clone()).oneshot(request)),
            true => {
                let layer = layer.reject_when_exhausted();
                tokio::spawn(layer.layer(provider.clone()).oneshot(request))
            }
        };
        tokio::time::sleep(secs(10)).await;
        pool.remove("key-1").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().status(), 401);
        assert_eq!(provider.keys(), ["a", ""]);
        assert!(provider.waits()[0] < secs(11));
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_is_removed_during_its_send_leaves_the_response_as_it_is() {
    let pool = pool(&["a", "b"]);
    let removes = pool.clone();
    let provider = Provider::new(move |_| {
        removes.remove("key-1").unwrap();
        status(401)
    });
    let response = call(&pool, &provider, pinned("key-1")).await;
    assert_eq!(rejection(&response).reason, Reason::KeyRejected);
    assert_eq!(provider.keys(), ["a"]);
    let why = (LayerKind::KeyRotation, StopReason::NoKeyForOrigin);
    assert_eq!(whys(&response), [why]);
}

fn of_caller() -> Request<String> {
    let mut request = pinned("key-1");
    request.extensions_mut().insert(OwnKey);
    let headers = request.headers_mut();
    headers.insert("authorization", "Bearer own".parse().unwrap());
    request
}

#[tokio::test(start_paused = true)]
async fn own_key_of_the_caller_is_neither_replaced_nor_rotated() {
    let provider = Provider::script([limited(20), ok(), ok()]);
    let pool = pool(&["a", "b"]);
    let response = call(&pool, &provider, of_caller()).await;
    assert_eq!(response.body(), "the provider's own 429");
    assert_eq!(rejection(&response).retry_after, Some(secs(20)));
    assert_eq!(whys(&response), [], "the layer takes no decision");
    let states = pool.snapshot();
    assert!(states.iter().all(|key| key.uses + key.rejections == 0));
    assert_eq!(call(&pool, &provider, of_caller()).await.status(), 200);
    assert_eq!(call(&pool, &provider, chat("m")).await.status(), 200);
    assert_eq!(provider.keys(), ["own", "own", "a"]);
}

#[tokio::test(start_paused = true)]
async fn own_key_is_sent_to_no_other_origin_and_not_replaced_there() {
    let provider = Provider::script([limited(20), ok()]);
    let target = Target::same_model_at("https://other.example").unwrap();
    let other = KeyPool::builder(["theirs"]).for_origin("https://other.example");
    let rotation = KeyRotationLayer::new(pool(&["a"])).pool(other.build().unwrap());
    let service = FallbackLayer::new([target]).layer(rotation.layer(provider.clone()));
    assert_eq!(service.oneshot(of_caller()).await.unwrap().status(), 200);
    assert_eq!(provider.keys(), ["own", ""]);
}
