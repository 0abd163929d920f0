//! `KeyRotationLayer` through the public API, with a paused clock.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use crate::script::*;
use http::{Request, Uri};
use tokio::time::Instant;
use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, KeyPool, KeyRotationLayer,
    key_rotation::{Key, KeyState, PoolError},
    rejection::Reason,
    trail::{Action, LayerKind, StopReason},
};

async fn call(pool: &KeyPool, provider: &Provider) -> http::Response<String> {
    let service = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    service.oneshot(chat("m")).await.unwrap()
}

fn state(pool: &KeyPool, label: &str) -> KeyState {
    let mut keys = pool.snapshot().into_iter();
    keys.find(|key| &*key.label == label).expect(label)
}

/// Returns why a key is on cooldown, for the one model in these tests or for all models.
fn cooldown_reason(pool: &KeyPool, label: &str) -> Option<Reason> {
    let state = state(pool, label);
    let of_model = state.limited_models.first().map(|limited| limited.reason);
    state.cooldown_reason.or(of_model)
}

#[tokio::test(start_paused = true)]
async fn rotation_skips_a_limited_key_at_once_and_uses_each_key_once() {
    let provider = Provider::script([limited(20), limited(30), limited(10)]);
    let pool = pool(&["a", "b", "c"]);
    let response = call(&pool, &provider).await;
    assert_eq!(provider.keys(), ["a", "b", "c"]);
    assert!(provider.waits().iter().all(|wait| *wait <= secs(1)));
    assert_eq!(response.body(), "the provider's own 429");
    let next = vec![(LayerKind::KeyRotation, Action::NextKey)];
    let none = vec![(
        LayerKind::KeyRotation,
        Action::Return(StopReason::NoFreeKey),
    )];
    assert_eq!(steps(&response), [next.clone(), next, none]);
    let labels: Vec<_> = attempts(&response)
        .into_iter()
        .filter_map(|attempt| attempt.key)
        .collect();
    assert_eq!(labels, ["key-1".into(), "key-2".into(), "key-3".into()]);
}

#[tokio::test(start_paused = true)]
async fn returned_rejection_says_when_the_first_key_frees() {
    let provider = Provider::script([limited(5), limited(3600)]);
    let response = call(&pool(&["a", "b"]), &provider).await;
    assert_eq!(
        response.headers()["retry-after"],
        "3600",
        "the head is unchanged"
    );
    let told = rejection(&response).retry_after.unwrap();
    assert!(told > secs(4) && told <= secs(5), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn rejected_last_key_does_not_hide_that_another_frees_soon() {
    let provider = Provider::script([limited(5), status(401)]);
    let response = call(&pool(&["a", "b"]), &provider).await;
    assert_eq!(response.status(), 401);
    assert_eq!(rejection(&response).reason, Reason::RateLimited);
    assert!(rejection(&response).retry_after.unwrap() <= secs(5));
}

#[tokio::test(start_paused = true)]
async fn sticky_pool_uses_a_key_until_it_is_limited() {
    let provider = Provider::script([ok(), ok(), limited(60), ok(), ok()]);
    let pool = pool(&["a", "b"]);
    for _ in 0..4 {
        assert_eq!(call(&pool, &provider).await.status(), 200);
    }
    assert_eq!(provider.keys(), ["a", "a", "a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn round_robin_uses_the_next_key_for_each_call() {
    let provider = Provider::new(|_| ok());
    let pool = KeyPool::builder(["a", "b", "c"])
        .round_robin()
        .build()
        .unwrap();
    for _ in 0..4 {
        call(&pool, &provider).await;
    }
    assert_eq!(provider.keys(), ["a", "b", "c", "a"]);
}

#[tokio::test(start_paused = true)]
async fn limit_closes_the_group_and_a_rejected_key_only_itself() {
    let grouped = |secret: &str, group: &str| Key::new(secret).label(secret).group(group);
    let keys = || [grouped("a1", "a"), grouped("a2", "a"), grouped("b1", "b")];

    let provider = Provider::script([limited(20), ok()]);
    let pool = KeyPool::new(keys()).unwrap();
    assert_eq!(call(&pool, &provider).await.status(), 200);
    assert_eq!(
        provider.keys(),
        ["a1", "b1"],
        "the sibling shares the limit"
    );
    assert_eq!(cooldown_reason(&pool, "a2"), Some(Reason::RateLimited));

    let provider = Provider::script([status(401), ok()]);
    let pool = KeyPool::new(keys()).unwrap();
    assert_eq!(call(&pool, &provider).await.status(), 200);
    assert_eq!(provider.keys(), ["a1", "a2"], "the sibling is not rejected");
    assert_eq!(cooldown_reason(&pool, "a1"), Some(Reason::KeyRejected));
    assert_eq!(cooldown_reason(&pool, "a2"), None);
}

#[tokio::test(start_paused = true)]
async fn key_is_used_again_when_its_cooldown_ends() {
    let provider = Provider::script([limited(20), ok(), limited(600), ok()]);
    let pool = pool(&["a", "b"]);
    call(&pool, &provider).await;
    let until = state(&pool, "key-1").limited_models[0].until;
    assert!(until <= Instant::now() + secs(20));
    tokio::time::sleep_until(until).await;
    assert_eq!(cooldown_reason(&pool, "key-1"), None);
    call(&pool, &provider).await;
    assert_eq!(provider.keys(), ["a", "b", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn rejection_is_returned_if_another_key_does_not_help() {
    for refused in [400, 403, 404, 408, 413, 498, 500, 503, 529] {
        let provider = Provider::script([status(refused)]);
        let pool = pool(&["a", "b"]);
        assert_eq!(call(&pool, &provider).await.status(), refused);
        assert!(
            pool.snapshot()
                .iter()
                .all(|key| key.cooldown_reason.is_none() && key.rejections == 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_frees_first_is_used_if_all_are_on_cooldown() {
    let provider = Provider::script([limited(60), limited(30), ok(), ok()]);
    let pool = pool(&["a", "b"]);
    assert_eq!(call(&pool, &provider).await.status(), 429);
    // A success counts only if its request was sent after the rejection arrived.
    tokio::time::advance(secs(1)).await;
    assert_eq!(call(&pool, &provider).await.status(), 200);
    assert_eq!(provider.keys(), ["a", "b", "b"]);
    assert_eq!(
        cooldown_reason(&pool, "key-2"),
        None,
        "the success has ended the cooldown"
    );
    assert_eq!(cooldown_reason(&pool, "key-1"), Some(Reason::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn layer_can_reject_without_sending_if_all_keys_are_on_cooldown() {
    let provider = Provider::script([limited(60), limited(30)]);
    let layer = KeyRotationLayer::new(pool(&["a", "b"])).reject_when_exhausted();
    let service = layer.layer(provider.clone());
    service.clone().oneshot(chat("m")).await.unwrap();
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.body().as_str()),
        (429, "")
    );
    assert_eq!(response.headers()["retry-after"], "30");
    assert!(rejection(&response).retry_after.unwrap() <= secs(30));
    assert_eq!(provider.seen().len(), 2, "nothing was sent");
    let told = &attempts(&response)[0];
    assert_eq!((told.sent, told.key.as_deref()), (false, None));
    assert_eq!(
        whys(&response),
        [(LayerKind::KeyRotation, StopReason::NoFreeKey)]
    );
}

#[tokio::test(start_paused = true)]
async fn key_replaces_the_value_at_its_configured_place() {
    let provider = Provider::script([limited(1), ok()]);
    let pool = KeyPool::builder(["a", "b"])
        .header("x-api-key")
        .build()
        .unwrap();
    let mut request = chat("m");
    request
        .headers_mut()
        .append("x-api-key", "theirs".parse().unwrap());
    request
        .headers_mut()
        .append("x-api-key", "theirs too".parse().unwrap());
    let service = KeyRotationLayer::new(pool).layer(provider.clone());
    service.oneshot(request).await.unwrap();
    for (seen, key) in provider.seen().iter().zip(["a", "b"]) {
        let keys: Vec<_> = seen.headers.get_all("x-api-key").iter().collect();
        assert_eq!(keys, [key]);
        assert!(seen.headers["x-api-key"].is_sensitive());
    }

    let provider = Provider::script([limited(1), ok()]);
    let pool = KeyPool::builder(["a&b", "c"]).query("key").build().unwrap();
    let service = KeyRotationLayer::new(pool).layer(provider.clone());
    let request =
        Request::post("https://g.example/v1beta/models/m:generateContent?key=theirs&alt=sse");
    service
        .oneshot(request.body(String::new()).unwrap())
        .await
        .unwrap();
    let queries: Vec<_> = provider
        .seen()
        .iter()
        .map(|seen| seen.uri.query().unwrap().to_owned())
        .collect();
    assert_eq!(queries, ["alt=sse&key=a%26b", "alt=sse&key=c"]);
}

#[tokio::test(start_paused = true)]
async fn pool_for_a_named_origin_serves_no_other() {
    let provider = Provider::new(|_| status(401));
    let one = KeyPool::builder(["one"])
        .for_origin("https://api.example")
        .build()
        .unwrap();
    let two = KeyPool::builder(["two"])
        .for_origin("https://b.example:8443")
        .build()
        .unwrap();
    let service = KeyRotationLayer::new(one).pool(two).layer(provider.clone());
    let uris = [
        ("https://API.example:443/x", "one"),
        ("https://b.example:8443/x", "two"),
        ("https://b.example/x", ""),
        ("http://api.example/x", ""),
        ("https://api.example.evil/x", ""),
        ("/x", ""),
    ];
    for (uri, _) in uris {
        let request = Request::get(uri).body(String::new()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 401);
    }
    assert_eq!(provider.keys(), uris.map(|(_, key)| key));
}

#[tokio::test(start_paused = true)]
async fn pool_without_an_origin_is_bound_to_the_first_that_it_serves() {
    let provider = Provider::new(|_| ok());
    let service = KeyRotationLayer::new(pool(&["a"])).layer(provider.clone());
    for uri in [
        "https://api.example/x",
        "https://other.example/x",
        "/x",
        "https://api.example/y",
    ] {
        let request = Request::get(uri).body(String::new()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(provider.keys(), ["a", "", "", "a"]);
}

#[tokio::test(start_paused = true)]
async fn trail_says_that_no_pool_has_a_key() {
    let provider = Provider::script([status(401)]);
    let pool = KeyPool::builder(["a"])
        .for_origin("https://b.example")
        .build()
        .unwrap();
    let response = call(&pool, &provider).await;
    assert_eq!(
        whys(&response),
        [(LayerKind::KeyRotation, StopReason::NoKeyForOrigin)]
    );
}

#[tokio::test(start_paused = true)]
async fn keys_are_added_removed_and_replaced_while_calls_are_in_flight() {
    let pool = pool(&["a", "b"]);
    let changing = pool.clone();
    let mut answers = vec![limited(60), ok()].into_iter();
    let provider = Provider::new(move |seen| {
        if seen.key() == "a" {
            changing.remove("key-1").unwrap();
            changing.add(Key::new("c").label("c")).unwrap();
            changing.replace("key-2", "d").unwrap();
        }
        answers.next().unwrap()
    });
    assert_eq!(call(&pool, &provider).await.status(), 200);
    assert_eq!(provider.keys(), ["a", "d"]);
    let labels: Vec<_> = pool
        .snapshot()
        .into_iter()
        .map(|key| key.label.to_string())
        .collect();
    assert_eq!(labels, ["key-2", "c"]);
    assert!(
        pool.snapshot()
            .iter()
            .all(|key| key.cooldown_reason.is_none() && key.in_flight == 0)
    );
    let unknown = |label: &str| {
        Err(PoolError::UnknownLabel {
            label: label.into(),
        })
    };
    assert_eq!(pool.remove("key-1"), unknown("key-1"));
    assert_eq!(pool.replace("x", "y"), unknown("x"));
    assert_eq!(
        pool.add(Key::new("e").label("c")),
        Err(PoolError::DuplicateLabel { label: "c".into() })
    );
    pool.remove("c").unwrap();
    assert_eq!(
        pool.remove("key-2"),
        Err(PoolError::LastKey {
            label: "key-2".into()
        })
    );
}

#[test]
fn invalid_pool_is_not_built_and_the_error_says_what_to_do() {
    let none: [&str; 0] = [];
    assert_eq!(KeyPool::new(none).unwrap_err(), PoolError::Empty);
    for bad in ["", "sk-1\n", "sk 1", "sk-\u{e9}", " "] {
        let error = KeyPool::new(["sk-0", bad]).unwrap_err();
        assert_eq!(
            error,
            PoolError::UnusableKey {
                label: "key-2".into()
            }
        );
        assert!(error.to_string().contains("trim"));
    }
    let twice = [Key::new("a").label("x"), Key::new("b").label("x")];
    assert_eq!(
        KeyPool::new(twice).unwrap_err(),
        PoolError::DuplicateLabel { label: "x".into() }
    );
    for bad in ["", "x y", "a=b"] {
        assert_eq!(
            KeyPool::builder(["a"]).query(bad).build().unwrap_err(),
            PoolError::InvalidName
        );
    }
    assert_eq!(
        KeyPool::builder(["a"]).header("x y").build().unwrap_err(),
        PoolError::InvalidName
    );
    for bad in [
        "",
        "api.example",
        "https://api.example/v1",
        "https://me:pw@api.example",
        "https://api.example#x",
        "https://api.example:",
        "https://api.example:x",
        "https://api.example:99999",
        "https://api.example:+8443",
        "/v1",
    ] {
        let pool = KeyPool::builder(["a"])
            .for_origin("https://ok.example")
            .for_origin(bad);
        assert_eq!(
            pool.build().unwrap_err(),
            PoolError::InvalidOrigin { number: 2 }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn snapshot_counts_the_outcomes_of_each_key() {
    let provider = Provider::script([
        ok(),
        status(402),
        ok(),
        Answer::Error(std::io::ErrorKind::Other),
    ]);
    let pool = pool(&["a", "b"]);
    call(&pool, &provider).await;
    call(&pool, &provider).await;
    let service = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    assert!(
        service.oneshot(chat("m")).await.is_err(),
        "an error of the client is returned"
    );
    let (one, two) = (state(&pool, "key-1"), state(&pool, "key-2"));
    assert_eq!(
        (one.uses, one.rejections, one.in_flight, one.cooldown_reason),
        (2, 1, 0, Some(Reason::QuotaExhausted))
    );
    assert_eq!(
        (two.uses, two.rejections, two.in_flight, two.cooldown_reason),
        (2, 0, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn dropped_call_releases_its_key() {
    let provider = Provider::script([limited(60), Answer::Never]);
    let pool = pool(&["a", "b"]);
    let mut call = std::pin::pin!(Some(call(&pool, &provider)));
    // The second request is sent after the first response has been drained.
    while provider.seen().len() < 2 {
        let mut step = call.as_mut().as_pin_mut().unwrap();
        let pending = poll_fn(|cx| Poll::Ready(step.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(state(&pool, "key-2").in_flight, 1);
    call.set(None);
    assert!(pool.snapshot().iter().all(|key| key.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn uri_too_long_for_a_key_is_passed_through_and_limits_no_key() {
    // `http` accepts no longer path and query.
    let longest = 65_534;
    let keys = || {
        KeyPool::builder(["one", "other"])
            .query("key")
            .build()
            .unwrap()
    };
    let backoff = || BackoffLayer::new().attempts(2);
    for (room, lent) in [("?key=other".len(), true), ("?key=other".len() - 1, false)] {
        let path = format!("/{}", "a".repeat(longest - room - 1));
        for is_outermost in [true, false] {
            let pool = keys();
            let provider = Provider::new(|_| status(401));
            let uri = Uri::builder().scheme("https").authority("api.example");
            let uri = uri.path_and_query(path.as_str()).build().unwrap();
            let request = Request::get(uri).body(String::new()).unwrap();
            let layers = ServiceBuilder::new();
            let rotation = KeyRotationLayer::new(pool.clone());
            let answer = match is_outermost {
                true => {
                    let stack = layers.layer(rotation).layer(backoff());
                    stack.service(provider.clone()).oneshot(request).await
                }
                false => {
                    let stack = layers.layer(backoff()).layer(rotation);
                    stack.service(provider.clone()).oneshot(request).await
                }
            };
            assert_eq!(answer.unwrap().status(), 401);
            let of_key = |seen: &Seen| seen.uri.query().is_some();
            assert!(provider.seen().iter().all(|seen| of_key(seen) == lent));
            let cooling = pool.snapshot();
            let cooling = cooling.iter().filter(|key| key.cooldown_reason.is_some());
            assert_eq!(cooling.count(), if lent { 2 } else { 0 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_with_one_call_get_a_key_of_each_origin_they_address() {
    let call = Call::new();
    for (origin, key) in [
        ("https://one.example", "one"),
        ("https://two.example", "two"),
    ] {
        let provider = Provider::script([limited(1), ok()]);
        let stack = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(KeyRotationLayer::new(KeyPool::new([key]).unwrap()))
            .service(provider.clone());
        let request = Request::get(origin).extension(call.clone());
        let request = request.body(String::new()).unwrap();
        assert_eq!(stack.oneshot(request).await.unwrap().status(), 200);
        assert_eq!(provider.keys(), [key, key]);
        assert_eq!(call.trail().attempts().len(), 2);
    }
}
