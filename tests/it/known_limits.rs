//! The limits of keys in the snapshot of a pool.

use std::future::Future;

use crate::script::*;
use http::Request;
use tower::{Layer as _, ServiceExt};
use tower_429::{
    Call, Cost, KeyPool, KeyRotationLayer,
    key_rotation::{Key, LimitSnapshot},
    rejection::{Dimension, Window},
};

const COST: Cost = Cost::new(1_200, 400);

/// Returns a success that reports the remaining requests and tokens of a minute.
fn reports() -> Answer {
    let headers = [
        ("x-ratelimit-limit-requests", "500"),
        ("x-ratelimit-remaining-requests", "499"),
        ("x-ratelimit-reset-requests", "60s"),
        ("x-ratelimit-limit-tokens", "30000"),
        ("x-ratelimit-remaining-tokens", "28400"),
        ("x-ratelimit-reset-tokens", "60s"),
    ];
    let headers = headers.map(|(name, value)| (name, value.into()));
    Answer::Response(200, headers.into())
}

fn costly(model: &str) -> Request<String> {
    let mut request = chat(model);
    request.extensions_mut().insert(Call::new().cost(COST));
    request
}

/// Sends a request. The future waits for its response.
fn send(pool: &KeyPool, provider: &Provider, model: &str) -> impl Future<Output = ()> + use<> {
    let layer = KeyRotationLayer::new(pool.clone());
    let response = layer.layer(provider.clone()).oneshot(costly(model));
    async move { drop(response.await) }
}

fn limits(pool: &KeyPool, label: &str) -> Vec<LimitSnapshot> {
    let mut keys = pool.snapshot().into_iter();
    keys.find(|key| &*key.label == label).expect(label).limits
}

#[tokio::test(start_paused = true)]
async fn snapshot_shows_limits_by_model_and_unit_with_what_is_in_flight() {
    let pool = pool(&["a", "b"]);
    let provider = Provider::script([reports(), Answer::Never]);
    send(&pool, &provider, "m").await;
    let before = limits(&pool, "key-1");
    let in_flight = tokio::spawn(send(&pool, &provider, "m"));
    tokio::task::yield_now().await;

    let shown = limits(&pool, "key-1");
    let numbers = |limits: &[LimitSnapshot]| -> Vec<_> {
        let numbers = limits
            .iter()
            .map(|it| (it.dimension, it.remaining, it.reserved));
        numbers.collect()
    };
    assert_eq!(
        numbers(&before),
        [
            (Dimension::Requests, 499, 0),
            (Dimension::Tokens, 28_400, 0)
        ]
    );
    assert_eq!(
        numbers(&shown),
        [
            (Dimension::Requests, 498, 1),
            (Dimension::Tokens, 26_800, 1_600)
        ]
    );
    for limit in &shown {
        assert_eq!(limit.model.as_deref(), Some("m"));
        assert_eq!(limit.window, Some(Window::Minute));
        assert!(limit.resets.is_some() && !limit.is_learned);
    }
    assert_eq!((shown[0].limit, shown[1].limit), (Some(500), Some(30_000)));
    assert_eq!(limits(&pool, "key-2"), []);

    in_flight.abort();
    pool.reset("key-1").unwrap();
    assert_eq!(limits(&pool, "key-1"), []);
}

#[tokio::test(start_paused = true)]
async fn snapshot_shows_the_limits_of_a_group_with_models_in_order() {
    let grouped = |secret: &str| Key::new(secret).label(secret).group("team");
    let pool = KeyPool::new([grouped("a"), grouped("b")]).unwrap();
    let provider = Provider::new(|_| reports());
    for model in ["n", "m"] {
        send(&pool, &provider, model).await;
    }
    let models = |label| -> Vec<_> {
        let limits = limits(&pool, label).into_iter();
        limits.filter_map(|limit| limit.model).collect()
    };
    assert_eq!(models("a"), ["m", "m", "n", "n"].map(Into::into));
    assert_eq!(limits(&pool, "a"), limits(&pool, "b"));
}

#[tokio::test(start_paused = true)]
async fn snapshot_distinguishes_an_exhausted_key_from_a_rejected_one() {
    let pool = pool(&["a", "b"]);
    let nothing_left = [
        ("x-ratelimit-limit-requests", "500"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "60s"),
    ];
    let nothing_left = nothing_left.map(|(name, value)| (name, value.into()));
    let last = Answer::Response(200, nothing_left.into());
    let provider = Provider::script([last, limited(30), limited(30)]);
    let is_reported = || -> Vec<_> {
        let keys = pool.snapshot();
        let models = keys.iter().flat_map(|key| &key.limited_models);
        models.map(|limited| limited.is_reported).collect()
    };
    send(&pool, &provider, "m").await;
    assert_eq!(is_reported(), [true]);
    assert!(pool.snapshot()[0].cooldown_reason.is_none());
    // The second key is rejected, and so is the first when it verifies the report.
    send(&pool, &provider, "m").await;
    assert_eq!(provider.keys(), ["a", "b", "a"]);
    assert_eq!(is_reported(), [false, false]);
}
