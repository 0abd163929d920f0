//! Keys of one account, which responses name or whose counts fall together. Uses only the public API.

use std::time::Duration;

use crate::script::*;
#[cfg(feature = "tracing")]
use crate::subscriber::subscribe;
use tower::{Layer as _, ServiceExt};
use tower_429::{
    KeyPool, KeyRotationLayer,
    key_rotation::{GroupSource, Key},
};

fn pool<K: Into<Key>>(keys: impl IntoIterator<Item = K>) -> KeyPool {
    KeyPool::builder(keys).round_robin().build().unwrap()
}

async fn call(pool: &KeyPool, provider: &Provider) -> u16 {
    let service = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    response.status().as_u16()
}

/// Makes the response name an account.
fn named(answer: Answer, organization: &str) -> Answer {
    let Answer::Response(status, mut headers) = answer else {
        panic!("only a response has headers");
    };
    headers.push(("openai-organization", organization.into()));
    Answer::Response(status, headers)
}

fn groups(pool: &KeyPool) -> Vec<Option<(String, GroupSource)>> {
    let keys = pool.snapshot().into_iter();
    keys.map(|key| Some((key.group?.to_string(), key.group_source?)))
        .collect()
}

fn by_name(name: &str) -> Option<(String, GroupSource)> {
    Some((name.into(), GroupSource::Named))
}

#[tokio::test(start_paused = true)]
async fn limit_of_one_key_closes_the_other_if_responses_name_one_organization() {
    let provider = Provider::script([
        named(ok(), "org-1"),
        named(ok(), "org-1"),
        named(limited(20), "org-1"),
        named(ok(), "org-1"),
    ]);
    let pool = pool(["a", "b"]);
    for status in [200, 200, 429] {
        assert_eq!(call(&pool, &provider).await, status);
    }
    assert_eq!(
        provider.keys(),
        ["a", "b", "a"],
        "the second key would be rejected too"
    );
    assert_eq!(groups(&pool), [by_name("org-1"), by_name("org-1")]);
    assert!(
        pool.snapshot()
            .iter()
            .all(|key| key.limited_models.len() == 1)
    );
    tokio::time::advance(secs(21)).await;
    assert_eq!(call(&pool, &provider).await, 200);
}

#[tokio::test(start_paused = true)]
async fn rejection_may_be_the_first_response_that_names_the_account() {
    let provider = Provider::script([named(ok(), "org-1"), named(limited(20), "org-1")]);
    let pool = pool(["a", "b"]);
    assert_eq!(call(&pool, &provider).await, 200);
    assert_eq!(call(&pool, &provider).await, 429);
    assert_eq!(provider.keys(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn given_group_takes_precedence_over_the_account_in_responses() {
    let provider = Provider::script([
        named(ok(), "org-1"),
        named(ok(), "org-1"),
        named(limited(20), "org-1"),
        named(ok(), "org-1"),
    ]);
    let pool = pool([Key::new("a").group("one"), Key::new("b").group("two")]);
    for _ in 0..3 {
        assert_eq!(call(&pool, &provider).await, 200);
    }
    assert_eq!(provider.keys(), ["a", "b", "a", "b"]);
    let given = |name: &str| Some((name.into(), GroupSource::Given));
    assert_eq!(groups(&pool), [given("one"), given("two")]);
}

#[tokio::test(start_paused = true)]
async fn key_that_names_another_organization_later_has_its_limits() {
    let provider = Provider::script([
        named(ok(), "org-1"),
        named(ok(), "org-1"),
        named(ok(), "org-2"),
        named(limited(20), "org-1"),
        named(ok(), "org-2"),
    ]);
    let pool = pool(["a", "b"]);
    for _ in 0..4 {
        assert_eq!(call(&pool, &provider).await, 200);
    }
    assert_eq!(provider.keys(), ["a", "b", "a", "b", "a"]);
    assert_eq!(groups(&pool), [by_name("org-2"), by_name("org-1")]);
}

#[tokio::test(start_paused = true)]
async fn replaced_key_has_no_account_until_a_response_names_it() {
    let provider = Provider::script([
        named(ok(), "org-1"),
        named(ok(), "org-1"),
        named(limited(20), "org-1"),
        named(ok(), "org-2"),
    ]);
    let pool = pool(["a", "b"]);
    for _ in 0..2 {
        call(&pool, &provider).await;
    }
    pool.replace("key-2", "c").unwrap();
    assert_eq!(groups(&pool), [by_name("org-1"), None]);
    assert_eq!(
        call(&pool, &provider).await,
        200,
        "it does not share the limit"
    );
    assert_eq!(provider.keys(), ["a", "b", "a", "c"]);
    pool.remove("key-1").unwrap();
    assert_eq!(groups(&pool), [by_name("org-2")]);
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn first_key_that_shares_an_account_is_a_warning_and_each_is_logged_once() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = subscribe(subscriber);
    let provider = Provider::new(|_| named(ok(), "org-1"));
    let pool = pool(["a", "b", "c"]);
    for _ in 0..6 {
        call(&pool, &provider).await;
    }
    drop(guard);
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("shares its limits"))
        .map(|line| &line[line.find("key shares").expect("the message")..])
        .collect();
    let expected = [
        "key shares its limits with another, so it adds no quota: declare such keys with \
         `Key::group`, or use keys of separate accounts key=\"key-2\" with=\"key-1\" \
         source=\"named\"",
        "key shares its limits with another key=\"key-3\" with=\"key-1\" source=\"named\"",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        text.matches("WARN").count(),
        1,
        "only the first is a warning"
    );
}

/// The log output.
#[cfg(feature = "tracing")]
#[derive(Clone, Default)]
struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(feature = "tracing")]
impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn keys_whose_counts_fall_together_share_a_limit() {
    let mut left = 60;
    let provider = Provider::new(move |_| {
        left -= 1;
        let headers = [("limit", 60), ("remaining", left), ("reset", 50)];
        let header = |(name, value): (&str, u64)| match name {
            "limit" => ("x-ratelimit-limit-requests", value.to_string()),
            "remaining" => ("x-ratelimit-remaining-requests", value.to_string()),
            _ => ("x-ratelimit-reset-requests", format!("{value}s")),
        };
        Answer::Response(200, headers.map(header).to_vec())
    });
    let pool = pool(["a", "b"]);
    for _ in 0..30 {
        assert_eq!(call(&pool, &provider).await, 200);
        tokio::time::advance(Duration::from_millis(5)).await;
    }
    let inferred = Some(("key-1".into(), GroupSource::Inferred));
    assert_eq!(groups(&pool), [inferred.clone(), inferred]);
}
