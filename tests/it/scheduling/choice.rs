//! Which key is chosen if several have capacity.

use std::{collections::HashMap, time::Duration};

use http::Request;
use tokio::time::sleep;
use tower::Layer as _;
use tower_429::{
    KeyRotationLayer,
    key_rotation::{KeyPool, Session},
};

use super::{SlowlyReady, call, calls, left, pool, waits};
use crate::script::*;

fn of_session(number: u32) -> Request<String> {
    let mut request = chat("m");
    request.extensions_mut().insert(Session::new(number));
    request
}

/// Returns the key of each session.
async fn keys_of_sessions(pool: &KeyPool, provider: &Provider) -> HashMap<u32, String> {
    let service = waits(pool, provider, secs(5));
    let mut keys = HashMap::new();
    for session in 0..30 {
        call(&service, of_session(session)).await;
        keys.insert(session, provider.keys().pop().unwrap());
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn only_sessions_of_a_key_on_cooldown_move_and_they_return() {
    let provider = Provider::new(|seen| match (seen.key(), seen.header("limit")) {
        ("b", "b") => limited(60),
        _ => ok(),
    });
    let pool = pool(&["a", "b", "c"]);
    let before = keys_of_sessions(&pool, &provider).await;
    for key in ["a", "b", "c"] {
        assert!(before.values().any(|of| of == key), "{key} has sessions");
    }
    assert_eq!(keys_of_sessions(&pool, &provider).await, before);

    let of_b = before.iter().find(|(_, key)| *key == "b").unwrap();
    let mut request = of_session(*of_b.0);
    request.headers_mut().insert("limit", "b".parse().unwrap());
    call(&waits(&pool, &provider, secs(5)), request).await;
    let meanwhile = keys_of_sessions(&pool, &provider).await;
    for (session, key) in &before {
        match key.as_str() {
            "b" => assert_ne!(meanwhile[session], "b"),
            key => assert_eq!(meanwhile[session], key),
        }
    }
    sleep(secs(60)).await;
    assert_eq!(keys_of_sessions(&pool, &provider).await, before);
}

#[tokio::test(start_paused = true)]
async fn session_has_the_same_key_in_a_pool_with_another_order() {
    let provider = Provider::new(|_| ok());
    let one = keys_of_sessions(&pool(&["a", "b", "c"]), &provider).await;
    let other = pool(&["x", "c", "a"]);
    other.add("b").unwrap();
    other.remove("key-1").unwrap();
    assert_eq!(keys_of_sessions(&other, &provider).await, one);
}

/// Sends calls with two keys, one with ten times the quota of the other. Returns how often each was used.
async fn uses(pool: &KeyPool, count: u64) -> HashMap<String, u64> {
    let mut used: HashMap<String, u64> = HashMap::new();
    let provider = Provider::new(move |seen| {
        let limit = if seen.key() == "large" { 100 } else { 10 };
        let used = used.entry(seen.key().into()).or_default();
        *used += 1;
        match *used <= limit {
            true => Answer::Response(200, left(limit, limit - *used, secs(600))),
            false => limited(600),
        }
    });
    let service = waits(pool, &provider, secs(5));
    assert!(
        calls(&service, count)
            .await
            .iter()
            .all(|status| *status == 200)
    );
    let mut keys = HashMap::new();
    for key in provider.keys() {
        *keys.entry(key).or_default() += 1;
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn spread_uses_quotas_of_any_size_by_their_remainder() {
    let keys = ["large", "small"];
    let spread = KeyPool::builder(keys).least_loaded().build().unwrap();
    let used = uses(&spread, 60).await;
    // One request may verify that nothing is left.
    assert!(used.values().sum::<u64>() <= 61, "{used:?}");
    assert!(used["large"] > 45 && used["small"] > 2, "{used:?}");

    let round_robin = KeyPool::builder(keys).round_robin().build().unwrap();
    let used = uses(&round_robin, 18).await;
    assert_eq!((used["large"], used["small"]), (9, 9));

    let used = uses(&pool(&keys), 60).await;
    assert_eq!(used.get("small"), None, "a sticky pool uses only the first");
}

/// Sends two calls. The first is rejected and reserves the key of the second, but its client is not ready. Meanwhile
/// the second is rejected, so the reserved key is limited. Returns the keys of the requests.
async fn rejected_while_reserved(keys: &[&str], meanwhile: impl FnOnce(&KeyPool)) -> Vec<String> {
    let after = |millis, hint: u64| {
        let hint = vec![("retry-after", hint.to_string())];
        Answer::Slow(Duration::from_millis(millis), 429, hint)
    };
    let provider = Provider::script([after(1_000, 10), after(1_200, 20), ok()]);
    let keys = keys.iter().copied();
    let pool = KeyPool::builder(keys).round_robin().build().unwrap();
    let slowly = SlowlyReady::new(&provider, 2, Duration::from_millis(500));
    let service = KeyRotationLayer::new(pool.clone()).layer(slowly);
    let changed = async {
        sleep(Duration::from_millis(1_300)).await;
        meanwhile(&pool);
    };
    let (first, second) = (call(&service, chat("m")), call(&service, chat("m")));
    tokio::join!(first, second, changed);
    provider.keys()
}

#[tokio::test(start_paused = true)]
async fn call_that_may_not_wait_uses_no_key_twice_if_another_is_left() {
    let keys = rejected_while_reserved(&["a", "b"], |_| {}).await;
    assert_eq!(keys, ["a", "b", "b"], "the first call uses a, then b");
    let more = |pool: &KeyPool| pool.add("c").unwrap();
    let keys = rejected_while_reserved(&["a", "b"], more).await;
    assert_eq!(
        keys,
        ["a", "b", "c"],
        "a key that is not limited is preferred"
    );
}

#[tokio::test(start_paused = true)]
async fn key_removed_while_reserved_is_not_used() {
    let gone = |pool: &KeyPool| pool.remove("key-2").unwrap();
    let keys = rejected_while_reserved(&["a", "b"], gone).await;
    assert_eq!(keys, ["a", "b", "a"]);
}
