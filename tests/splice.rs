//! The body is the caller's: nothing but the value of the top-level `"model"` changes.

mod script;

use http::Request;
use proptest::prelude::*;
use script::*;
use tower::{Layer as _, ServiceExt};
use tower_429::FallbackLayer;

/// A member of the top-level object, as it stands in the text.
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

/// Text in quotes, with escapes, unicode and what looks like a model.
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

/// What the provider gets after the first model was limited, and the length it was told.
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
