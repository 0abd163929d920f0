//! In the caller's body, only the value of the top-level `"model"` changes.

use std::{io, time::Duration};

use crate::script::*;
use http::{Request, Response, Uri};
use proptest::prelude::*;
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer, fallback::Target};

/// A member of the top-level object, as written in the text.
#[derive(Clone, Debug)]
struct Member {
    space: String,
    key: String,
    value: String,
    is_model: bool,
}

fn render(members: &[Member], end: &str, model: Option<&str>) -> String {
    let member = |member: &Member| {
        let Member {
            space,
            key,
            value,
            is_model,
        } = member;
        let value = model.filter(|_| *is_model).unwrap_or(value);
        format!("{space}{key}{space}:{space}{value}{space}")
    };
    let members: Vec<_> = members.iter().map(member).collect();
    format!("{end}{{{}}}{end}", members.join(","))
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

/// Returns quoted text with escapes, Unicode and text that looks like a model.
fn quoted() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9 .:/_-]{0,6}".prop_map(String::from),
        Just(r#"\"model\":\"x\""#.into()),
        Just(r"\\".into()),
        Just(r"\u00e9\n\ud83d\ude00".into()),
        Just("é漢😀".into()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        quoted(),
        Just("null".into()),
        Just("true".into()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![Just("\"model\"".to_owned()), quoted()];
        let member = (space(), key, inner.clone())
            .prop_map(|(space, key, value)| format!("{space}{key}:{space}{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec(member, 0..4)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn other_member() -> impl Strategy<Value = Member> {
    (space(), quoted(), value()).prop_map(|(space, key, value)| Member {
        space,
        key: format!("\"_{}", &key[1..]),
        value,
        is_model: false,
    })
}

fn model_member() -> impl Strategy<Value = Member> {
    let key = prop_oneof![
        Just(r#""model""#),
        Just(r#""mod\u0065l""#),
        Just(r#""\u006d\u006F\u0064el""#)
    ];
    (space(), key, quoted()).prop_map(|(space, key, value)| Member {
        space,
        key: key.into(),
        value,
        is_model: true,
    })
}

fn body() -> impl Strategy<Value = (Vec<Member>, String)> {
    let others = prop::collection::vec(other_member(), 0..5);
    let models = prop::collection::vec(model_member(), 1..3);
    let members = (others, models).prop_map(|(others, models)| [others, models].concat());
    (members.prop_shuffle(), space())
}

/// Returns the body that the provider gets after the first model was limited, and its `content-length`.
fn second_body(body: &str, other: &str) -> (String, String) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let provider = Provider::script([limited(1), ok()]);
        let request = Request::post("https://api.example/v1/chat")
            .header("content-length", body.len())
            .body(body.to_owned());
        let service = FallbackLayer::new([other]).layer(provider.clone());
        let response = service.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let seen = provider.seen();
        assert_eq!(seen[0].body, body);
        (
            seen[1].body.clone(),
            seen[1].header("content-length").into(),
        )
    })
}

proptest! {
    #[test]
    fn everything_outside_the_value_of_the_model_is_the_same_bytes(
        (members, end) in body(),
        other in "other-[a-z\"\\\\é😀\u{1}]{0,8}",
    ) {
        let (got, length) = second_body(&render(&members, &end, None), &other);
        let quoted = serde_json::Value::from(other).to_string();
        prop_assert_eq!(&got, &render(&members, &end, Some(&quoted)));
        prop_assert_eq!(length, got.len().to_string());
    }
}

/// Calls `$visit` with each of these stacks over a provider that responds with `$answers`.
macro_rules! each_order {
    ($answers:expr, $visit:expr; $([$($layer:expr),+])+) => {$(
        let provider = Provider::new($answers);
        let stack = ServiceBuilder::new()$(.layer($layer))+.service(provider.clone());
        $visit(stringify!($($layer),+), provider, stack).await;
    )+};
}

fn other() -> FallbackLayer {
    FallbackLayer::new(["other"])
}

fn backoff() -> BackoffLayer {
    BackoffLayer::new().attempts(2).jitter(0, Duration::ZERO)
}

fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap())
}

/// Limits every request for a model other than the fallback model.
fn limits_others(seen: &Seen) -> Answer {
    match seen.body.contains("other") {
        true => ok(),
        false => limited(1),
    }
}

const NOT_JSON: [&str; 8] = [
    r#"{"model":"a"}}"#,
    r#"{"model":"a" x}"#,
    r#"{"model":"a"}{"model":"a"}"#,
    r#"{"model":"a","x":[}"#,
    r#"{"model":"a",}"#,
    r#"{"model":"a","n":01}"#,
    "{\"model\":\"a\",\"x\":\"\u{1}\"}",
    "\u{feff}{\"model\":\"a\"}",
];

async fn is_sent_unchanged<S>(order: &str, provider: Provider, mut stack: S)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>,
{
    for body in NOT_JSON {
        // Makes a model known to be limited, so that the next request would be changed before its first send.
        for sent in [r#"{"model":"a"}"#, body] {
            let request = Request::post("https://api.example/v1/chat")
                .header("content-length", sent.len())
                .body(sent.to_owned());
            let before = provider.seen().len();
            let service = stack.ready().await.unwrap();
            let response = service.call(request.unwrap()).await.unwrap();
            let seen = &provider.seen()[before..];
            if sent != body {
                assert_eq!(response.status(), 200, "{order}");
                continue;
            }
            assert_eq!(response.status(), 429, "{order}: {body}");
            for seen in seen {
                assert_eq!(seen.body, body, "{order}");
                assert_eq!(seen.header("content-length"), body.len().to_string());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_is_not_json_is_sent_unchanged_in_every_order() {
    each_order!(limits_others, is_sent_unchanged;
        [other()] [backoff(), other()] [other(), backoff()] [keys(), other()]
        [other(), keys()] [backoff(), other(), keys()] [keys(), backoff(), other()]);
}

/// Sends a request with both headers of an idempotency key. Asserts that exactly the sends with the same body have them.
async fn keeps_its_idempotency_key_with_its_body<S>(order: &str, provider: Provider, stack: S)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>,
{
    let body = r#"{"model":"a"}"#;
    let request = Request::post("https://api.example/v1/chat")
        .header("idempotency-key", "k")
        .header("x-idempotency-key", "k")
        .body(body.to_owned());
    stack.oneshot(request.unwrap()).await.unwrap();
    let seen = provider.seen();
    assert!(seen.len() >= 3, "{order}: {seen:?}");
    for seen in seen {
        let kept = if seen.body == body { "k" } else { "" };
        for name in ["idempotency-key", "x-idempotency-key"] {
            assert_eq!(seen.header(name), kept, "{order}: {name} of {}", seen.body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn idempotency_key_stays_on_retries_and_not_with_a_changed_body() {
    let limits_four = || {
        let mut left = 4;
        move |_: &Seen| {
            left -= 1;
            if left < 0 { ok() } else { limited(1) }
        }
    };
    each_order!(limits_four(), keeps_its_idempotency_key_with_its_body;
        [other(), backoff()] [backoff(), other()] [keys(), other()] [other(), keys()]
        [backoff(), other(), keys()] [other(), keys(), backoff()]);
}

/// Does the same as [`keeps_its_idempotency_key_with_its_body`] for a path that names the model.
async fn keeps_its_idempotency_key_with_its_path<S>(order: &str, provider: Provider, stack: S)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>,
{
    let uri = "https://api.example/v1beta/models/a:generateContent";
    let request = Request::post(uri)
        .header("idempotency-key", "k")
        .header("x-idempotency-key", "k")
        .header("content-digest", "d")
        .body("{}".to_owned());
    stack.oneshot(request.unwrap()).await.unwrap();
    let seen = provider.seen();
    assert!(seen.len() >= 3, "{order}: {seen:?}");
    for seen in seen {
        let kept = if seen.uri == uri { "k" } else { "" };
        for name in ["idempotency-key", "x-idempotency-key"] {
            assert_eq!(seen.header(name), kept, "{order}: {name} of {}", seen.uri);
        }
        assert_eq!(seen.header("content-digest"), "d", "{order}");
    }
}

#[tokio::test(start_paused = true)]
async fn idempotency_key_is_removed_if_the_model_in_a_path_changes() {
    let limits_four = || {
        let mut left = 4;
        move |_: &Seen| {
            left -= 1;
            if left < 0 { ok() } else { limited(1) }
        }
    };
    each_order!(limits_four(), keeps_its_idempotency_key_with_its_path;
        [other(), backoff()] [backoff(), other()] [keys(), other()] [other(), keys()]
        [backoff(), other(), keys()] [other(), keys(), backoff()]);
}

/// The longest path and query that `http` accepts.
const LONGEST: usize = 65_534;

#[tokio::test(start_paused = true)]
async fn fallback_skips_a_target_whose_uri_would_be_too_long() {
    let head = "/v1beta/models/a:generateContent?";
    let uri = |length: usize| {
        let rest = "q".repeat(length - head.len());
        let uri = Uri::builder().scheme("https").authority("api.example");
        let uri = uri.path_and_query(format!("{head}{rest}"));
        uri.build().unwrap()
    };
    let model = "m".repeat(100);
    let elsewhere = Target::same_model_at("https://other.example/a/long/path").unwrap();
    for (length, sends) in [(LONGEST, 1), (LONGEST - 99, 2), (LONGEST - 12, 2)] {
        // The first target needs 99 bytes more, and the second 12.
        let targets = || match length {
            _ if length == LONGEST - 12 => vec![elsewhere.clone()],
            _ => vec![Target::from(model.as_str()), elsewhere.clone()],
        };
        let layers = ServiceBuilder::new;
        let provider = Provider::script([limited(90), ok()]);
        let stack = layers().layer(FallbackLayer::new(targets()));
        let request = Request::post(uri(length)).body("{}".to_owned()).unwrap();
        let answer = stack.service(provider.clone()).oneshot(request).await;
        let status = answer.unwrap().status();
        let seen = provider.seen();
        assert_eq!((seen.len(), status == 200), (sends, sends == 2), "{length}");
        assert!(seen.windows(2).all(|two| two[0].uri != two[1].uri));
    }
}
