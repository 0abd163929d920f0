//! Changes to a pool that is in use, by an operator.

use std::time::Duration;

use crate::script::*;
use http::Response;
use tower::{Layer as _, ServiceExt};
use tower_429::{
    KeyPool, KeyRotationLayer,
    key_rotation::{Key, KeyState, PoolError},
    rejection::Reason,
};

async fn call(pool: &KeyPool, provider: &Provider) -> Response<String> {
    let service = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    service.oneshot(chat("m")).await.unwrap()
}

fn state(pool: &KeyPool, label: &str) -> KeyState {
    let mut keys = pool.snapshot().into_iter();
    keys.find(|key| &*key.label == label).expect(label)
}

fn is_free(pool: &KeyPool, label: &str) -> bool {
    let state = state(pool, label);
    state.cooldown_until.is_none() && state.limited_models.is_empty()
}

#[tokio::test(start_paused = true)]
async fn key_is_used_again_after_a_reset_whatever_closed_it() {
    let no_credits = || Answer::Response(402, Vec::new());
    let nothing_left = || {
        let headers = [
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "10m"),
        ];
        let headers = headers.map(|(name, value)| (name, value.into()));
        Answer::Response(429, headers.into())
    };
    let no_tokens_left = || {
        let headers = [
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "10m"),
        ];
        let headers = headers.map(|(name, value)| (name, value.into()));
        Answer::Response(429, headers.into())
    };
    let answers = [limited(600), status(401), no_credits()];
    for rejected in answers
        .into_iter()
        .chain([nothing_left(), no_tokens_left()])
    {
        let provider = Provider::script([rejected, ok(), ok(), ok()]);
        let pool = pool(&["a", "b"]);
        assert_eq!(call(&pool, &provider).await.status(), 200);
        assert_eq!(call(&pool, &provider).await.status(), 200);
        assert_eq!(provider.keys(), ["a", "b", "b"]);
        pool.reset("key-1").unwrap();
        assert!(is_free(&pool, "key-1"), "{:?}", state(&pool, "key-1"));
        assert_eq!(state(&pool, "key-1").rejections, 1, "counts are kept");
        pool.cool_down("key-2", secs(1)).unwrap();
        assert_eq!(call(&pool, &provider).await.status(), 200);
        assert_eq!(provider.keys()[3], "a");
    }
}

#[tokio::test(start_paused = true)]
async fn reset_frees_the_group_but_no_sibling_that_was_rejected_itself() {
    let grouped = |secret: &str| Key::new(secret).label(secret).group("team");
    let pool = KeyPool::new([grouped("a"), grouped("b"), Key::new("c").label("c")]).unwrap();
    // The first key is rejected itself, and the second meets a limit of both.
    let provider = Provider::script([status(401), limited(600), ok()]);
    call(&pool, &provider).await;
    assert_eq!(provider.keys(), ["a", "b", "c"]);
    pool.reset("b").unwrap();
    assert!(is_free(&pool, "b"));
    assert_eq!(state(&pool, "a").cooldown_reason, Some(Reason::KeyRejected));
    assert!(state(&pool, "a").limited_models.is_empty());
}

#[tokio::test(start_paused = true)]
async fn first_guess_is_short_again_after_a_reset() {
    let provider = Provider::new(|_| status(401));
    let pool = pool(&["a"]);
    for _ in 0..3 {
        call(&pool, &provider).await;
        tokio::time::sleep(secs(300)).await;
    }
    pool.reset("key-1").unwrap();
    call(&pool, &provider).await;
    let until = state(&pool, "key-1").cooldown_until.expect("a cooldown");
    assert_eq!(until - tokio::time::Instant::now(), secs(60));
}

#[tokio::test(start_paused = true)]
async fn cooled_down_key_is_not_used_until_its_cooldown_ends() {
    let provider = Provider::new(|_| ok());
    let pool = pool(&["a", "b"]);
    pool.cool_down("key-1", secs(30)).unwrap();
    pool.cool_down("key-1", secs(10)).unwrap();
    assert_eq!(
        state(&pool, "key-1").cooldown_reason,
        Some(Reason::RateLimited)
    );
    call(&pool, &provider).await;
    tokio::time::sleep(secs(29)).await;
    call(&pool, &provider).await;
    assert_eq!(provider.keys(), ["b", "b"]);
    tokio::time::sleep(secs(1)).await;
    assert!(is_free(&pool, "key-1"));
    pool.cool_down("key-2", secs(10)).unwrap();
    call(&pool, &provider).await;
    assert_eq!(provider.keys()[2], "a");
}

#[tokio::test(start_paused = true)]
async fn cooldown_of_an_operator_has_sane_bounds() {
    let pool = pool(&["a", "b"]);
    pool.cool_down("key-1", Duration::ZERO).unwrap();
    assert!(is_free(&pool, "key-1"));
    pool.cool_down("key-1", Duration::MAX).unwrap();
    let until = state(&pool, "key-1").cooldown_until.expect("a cooldown");
    assert_eq!(until - tokio::time::Instant::now(), secs(24 * 60 * 60));
    let unknown = PoolError::UnknownLabel { label: "x".into() };
    assert_eq!(pool.cool_down("x", secs(1)), Err(unknown.clone()));
    assert_eq!(pool.reset("x"), Err(unknown));
}

#[tokio::test(start_paused = true)]
async fn waiting_call_is_sent_when_its_key_is_reset() {
    let provider = Provider::script([ok()]);
    let pool = pool(&["a"]);
    pool.cool_down("key-1", secs(600)).unwrap();
    let layer = KeyRotationLayer::new(pool.clone()).wait_when_exhausted(secs(3_600));
    let waiting = tokio::spawn(layer.layer(provider.clone()).oneshot(chat("m")));
    tokio::time::sleep(secs(5)).await;
    assert!(provider.seen().is_empty());
    pool.reset("key-1").unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert!(provider.seen()[0].at < secs(6), "{:?}", provider.seen());
}

#[test]
fn secret_is_in_a_pool_only_once() {
    let two = [Key::new("sk-a").label("one"), Key::new("sk-a").label("two")];
    let twice = PoolError::DuplicateSecret {
        label: "two".into(),
        other: "one".into(),
    };
    for built in [
        KeyPool::new(two.clone()),
        KeyPool::builder(two.clone()).header("x-api-key").build(),
        KeyPool::builder(two).query("key").build(),
    ] {
        assert_eq!(built.unwrap_err(), twice);
    }
    assert!(!format!("{twice} {twice:?}").contains("sk"));

    let pool = pool(&["sk-a", "sk-b"]);
    let of_first = |label: &str| PoolError::DuplicateSecret {
        label: label.into(),
        other: "key-1".into(),
    };
    let added = pool.add(Key::new("sk-a").label("more"));
    assert_eq!(added, Err(of_first("more")));
    assert_eq!(pool.replace("key-2", "sk-a"), Err(of_first("key-2")));
    let again = Key::new("sk-a").label("renamed");
    assert_eq!(pool.replace("key-1", again), Ok(()));
    pool.remove("renamed").unwrap();
    assert_eq!(pool.add("sk-a"), Ok(()), "the secret was removed");
}
