//! What one process finds out, the others know.

use http::Request;
use proptest::prelude::*;
use tokio::time::sleep;
use tower::Layer as _;
use tower_429::{
    FallbackLayer, KeyPool,
    key_rotation::PoolError,
    share::{Fact, Facts, Id, InMemory, Name, share},
};

use super::{Process, near, pools};
use crate::{
    scheduling::{call, calls, left, waits},
    script::*,
};

/// Rejects one key, and accepts the others.
fn rejects(key: &'static str) -> Provider {
    Provider::new(move |seen| match seen.key() == key {
        true => Answer::Response(401, Vec::new()),
        false => Answer::Response(200, Vec::new()),
    })
}

#[tokio::test(start_paused = true)]
async fn key_that_one_process_found_rejected_is_not_used_by_another() {
    let provider = rejects("a");
    let (_processes, pools) = pools(&near(), &["a", "b"], 2).await;
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, &provider, secs(1)))
        .collect();
    assert_eq!(call(&services[0], chat("m")).await.status(), 200);
    sleep(millis(200)).await;
    assert_eq!(calls(&services[1], 3).await, [200; 3]);
    assert_eq!(provider.keys(), ["a", "b", "b", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn process_that_starts_knows_what_others_found_before() {
    let (provider, engine) = (rejects("a"), near());
    let (_processes, pools) = pools(&engine, &["a", "b"], 1).await;
    call(&waits(&pools[0], &provider, secs(1)), chat("m")).await;
    sleep(millis(200)).await;
    let process = Process::start_without_wait(&engine);
    let pool = process.pool(&["a", "b"]);
    process.sharing.ready().await;
    assert_eq!(
        call(&waits(&pool, &provider, secs(1)), chat("m"))
            .await
            .status(),
        200
    );
    assert_eq!(provider.keys(), ["a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn cooldown_that_was_heard_ends_no_sooner_than_it_was_told() {
    let provider = Provider::new(|seen| match seen.at < secs(20) {
        true => Answer::Response(429, vec![("retry-after", "20".into())]),
        false => Answer::Response(200, Vec::new()),
    });
    let (_processes, pools) = pools(&near(), &["a"], 2).await;
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, &provider, secs(60)))
        .collect();
    let first = tokio::spawn({
        let service = services[0].clone();
        async move { call(&service, chat("m")).await }
    });
    sleep(millis(500)).await;
    assert_eq!(call(&services[1], chat("m")).await.status(), 200);
    assert_eq!(first.await.unwrap().status(), 200);
    let at: Vec<_> = provider.seen().iter().map(|seen| seen.at).collect();
    assert_eq!(
        at.len(),
        3,
        "the first is sent again, and the other waits: {at:?}"
    );
    assert!(at[1] >= secs(20) && at[2] >= secs(20), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn success_after_a_rejection_opens_the_key_for_others() {
    let mut number = 0;
    let provider = Provider::new(move |_| match std::mem::replace(&mut number, 1) {
        0 => Answer::Response(401, Vec::new()),
        _ => Answer::Response(200, Vec::new()),
    });
    let (_processes, pools) = pools(&near(), &["a"], 2).await;
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, &provider, secs(1)))
        .collect();
    assert_eq!(call(&services[0], chat("m")).await.status(), 401);
    // A process that sends nothing hears each second.
    sleep(millis(1_100)).await;
    assert!(pools[1].snapshot()[0].cooldown_until.is_some());
    sleep(secs(61)).await;
    assert_eq!(call(&services[0], chat("m")).await.status(), 200);
    sleep(millis(200)).await;
    assert_eq!(call(&services[1], chat("m")).await.status(), 200);
    assert!(pools[1].snapshot()[0].cooldown_until.is_none());
}

#[tokio::test(start_paused = true)]
async fn pools_of_other_names_origins_and_secrets_share_nothing() {
    let (provider, engine) = (rejects("a"), near());
    let (_processes, pools) = pools(&engine, &["a", "b"], 1).await;
    call(&waits(&pools[0], &provider, secs(1)), chat("m")).await;
    sleep(millis(200)).await;
    let names = [
        (Name::new("other").secret("secret"), "https://api.example"),
        (Name::new("test").secret("other"), "https://api.example"),
        (Name::new("test").secret("secret"), "https://other.example"),
    ];
    for (name, origin) in names {
        let (sharing, driver) = share(engine.clone(), name);
        tokio::spawn(driver);
        let pool = KeyPool::builder(["a", "b"]).for_origin(origin);
        let pool = pool.shared(sharing.clone()).build().unwrap();
        sharing.ready().await;
        sleep(secs(2)).await;
        assert!(pool.snapshot()[0].cooldown_until.is_none(), "{origin}");
    }
}

#[tokio::test(start_paused = true)]
async fn target_that_one_process_found_limited_is_not_used_by_another() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" => Answer::Response(429, left(10, 0, secs(600))),
        _ => Answer::Response(200, Vec::new()),
    });
    let engine = near();
    let mut services = Vec::new();
    for _ in 0..2 {
        let process = Process::start(&engine).await;
        let layer = FallbackLayer::new(["other"]).shared(process.sharing.clone());
        services.push((layer.layer(provider.clone()), process));
    }
    // A target is shared from its first request on.
    let stream = |number: usize| call(&services[number].0, chat("m"));
    assert_eq!(stream(0).await.status(), 200);
    assert_eq!(stream(1).await.status(), 200);
    sleep(millis(200)).await;
    assert_eq!(stream(0).await.status(), 200);
    assert_eq!(stream(1).await.status(), 200);
    assert_eq!(
        provider.models(),
        ["m", "other", "m", "other", "other", "other"]
    );
}

#[test]
fn pool_that_is_shared_needs_an_origin() {
    let (sharing, _driver) = share(InMemory::new(), Name::new("test"));
    let error = KeyPool::builder(["a"]).shared(sharing).build().unwrap_err();
    assert_eq!(error, PoolError::SharedWithoutOrigin);
}

#[tokio::test(start_paused = true)]
async fn no_key_and_no_model_is_in_what_is_printed() {
    let provider = rejects("sk-secret-1");
    let (processes, pools) = pools(&near(), &["sk-secret-1", "sk-secret-2"], 1).await;
    let request: Request<String> = chat("model-of-a-tenant");
    call(&waits(&pools[0], &provider, secs(1)), request).await;
    sleep(millis(200)).await;
    let printed = format!("{:?} {:?}", processes[0].sharing, near());
    for secret in [
        "sk-secret",
        "model-of-a-tenant",
        "api.example",
        "\"secret\"",
    ] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

fn facts() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
    prop::collection::vec((0..3_u8, 0..3_u8, 0..20_u64), 0..40)
}

/// Merges facts of some limits and processes, each with a version, in this order.
fn merged(facts: &[(u8, u8, u64)]) -> Facts {
    let mut merged = Facts::default();
    for (limit, replica, version) in facts {
        let mut fact = Fact::default();
        (fact.version, fact.sent) = (*version, version * 10);
        merged.merge(
            Id::from_bytes([*limit; 16]),
            Id::from_bytes([*replica; 16]),
            fact,
        );
    }
    merged
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_in_any_order_and_again_give_the_same(
        (facts, shuffled) in facts().prop_flat_map(|facts| {
            let again = facts.iter().chain(&facts).copied().collect::<Vec<_>>();
            (Just(facts), Just(again).prop_shuffle())
        })
    ) {
        prop_assert_eq!(merged(&facts), merged(&shuffled));
    }

    #[test]
    fn older_facts_that_are_lost_do_not_matter(facts in facts()) {
        let is_newest = |(at, fact): (usize, &(u8, u8, u64))| {
            let newer = |other: &(u8, u8, u64)| {
                (other.0, other.1) == (fact.0, fact.1) && other.2 > fact.2
            };
            let _ = at;
            !facts.iter().any(newer)
        };
        let newest: Vec<_> = facts
            .iter()
            .enumerate()
            .filter(|it| is_newest(*it))
            .map(|(_, fact)| *fact)
            .collect();
        prop_assert_eq!(merged(&facts), merged(&newest));
    }
}
