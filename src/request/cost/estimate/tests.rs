//! Request bodies of the providers, and other bodies.

use http::{HeaderValue, header};
use proptest::prelude::*;

use super::*;

fn estimate(body: &str) -> Cost {
    Cost::estimate(&HeaderMap::new(), &Bytes::copy_from_slice(body.as_bytes()))
}

fn with_header(name: header::HeaderName, value: &'static str, body: &str) -> Cost {
    let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
    Cost::estimate(&headers, &Bytes::copy_from_slice(body.as_bytes()))
}

/// Each row has a body, the bytes of its text and the tokens that it reserves.
#[test]
fn estimate_counts_the_text_and_what_the_body_reserves() {
    let table = [
        // Chat Completions. The keys and the role count too.
        (
            r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Tell me a joke."}],
                "temperature":0.7,"stream":true,"max_tokens":100}"#,
            4 + 4 + 7 + 15,
            100,
        ),
        (
            r#"{"messages":[{"content":"a"}],"max_completion_tokens":300,"n":3}"#,
            7 + 1,
            900,
        ),
        // A schema of a tool has scalars of one token each.
        (
            r#"{"tools":[{"parameters":{"minimum":-1,"maximum":2.5,"strict":true,"default":null}}]}"#,
            10 + 7 + 7 + 6 + 7 + 4 * 4,
            0,
        ),
        // Responses.
        (
            r#"{"model":"m","instructions":"Be brief.","input":"Tell me.","max_output_tokens":50}"#,
            9 + 8,
            50,
        ),
        // Messages of Anthropic.
        (
            r#"{"model":"c","max_tokens":1024,"system":"Be kind.",
                "messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]}"#,
            8 + 4 + 4 + 7 + 4 + 4 + 4 + 2,
            1024,
        ),
        // Gemini.
        (
            r#"{"contents":[{"parts":[{"text":"Hi"}]}],
                "generationConfig":{"maxOutputTokens":200,"candidateCount":2,"temperature":1}}"#,
            5 + 4 + 2,
            400,
        ),
        (
            r#"{"generation_config":{"max_output_tokens":7,"candidate_count":2,"stop":["END"]}}"#,
            3,
            14,
        ),
        // Converse of Bedrock.
        (r#"{"inferenceConfig":{"maxTokens":512}}"#, 0, 512),
        // Embeddings: texts, and ids of tokens.
        (r#"{"model":"e","input":["four","more"]}"#, 8, 0),
        (r#"{"model":"e","input":[[1,20,300],[4]]}"#, 16, 0),
        // Three bytes for a character, also if it is escaped.
        (r#"{"input":"你好"}"#, 6, 0),
        (r#"{"input":"\u4f60\u597d"}"#, 6, 0),
        (r#"{"\u006dax_tokens":5}"#, 0, 5),
        ("{}", 0, 0),
    ];
    for (body, text, output) in table {
        let input = u64::div_ceil(text, 4);
        assert_eq!(estimate(body), Cost::new(input, output), "{body}");
    }
}

#[test]
fn odd_reserves_are_ignored() {
    let reserves = [
        r#""max_tokens":-5"#,
        r#""max_tokens":1e400"#,
        r#""max_tokens":4096.5"#,
        r#""max_tokens":"100""#,
        r#""max_tokens":null"#,
        r#""max_tokens":[100]"#,
        r#""max_tokens":99999999999999999999999"#,
        r#""generationConfig":null"#,
        r#""generationConfig":[{"maxOutputTokens":9}]"#,
        r#""generationConfig":{"maxOutputTokens":1e400}"#,
        r#""generationConfig":{"temperature":1e400,"maxOutputTokens":9}"#,
        r#""x":{"max_tokens":9}"#,
        r#""maxOutputTokens":9"#,
    ];
    for reserve in reserves {
        let cost = estimate(&format!("{{{reserve}}}"));
        assert_eq!(cost.output(), 0, "{reserve}");
    }
    let n = |n: &str| estimate(&format!(r#"{{"n":{n},"max_tokens":10}}"#)).output();
    assert_eq!([n("0"), n("-1"), n("1e400"), n("\"4\"")], [10; 4]);
}

#[test]
fn largest_reserve_counts_and_products_saturate() {
    let body = r#"{"max_tokens":5,"max_completion_tokens":9,"max_tokens":7,"n":1,"n":2}"#;
    assert_eq!(estimate(body).output(), 18);
    let most = u64::MAX;
    let cost = estimate(&format!(r#"{{"a":"b","max_tokens":{most},"n":{most}}}"#));
    assert_eq!((cost.output(), cost.total()), (most, most));
}

#[test]
fn data_in_base64_does_not_count() {
    let data = "iVBORw0KGgo/AA+".repeat(1_000);
    let bodies = [
        format!(r#"{{"image_url":"data:image/png;base64,{data}"}}"#),
        format!(r#"{{"image_url":"data:image/png;base64,{data} \n="}}"#),
        format!(r#"{{"data":"{data}=="}}"#),
        format!(
            r#"{{"data":"{}"}}"#,
            data.replace('/', "_").replace('+', "-")
        ),
        format!(r#"{{"data":"{}"}}"#, data.replace('/', "\\/")),
    ];
    for body in bodies {
        assert_eq!(estimate(&body), Cost::default(), "{}", &body[..40]);
        let deeper = format!(r#"{{"contents":[{{"parts":[{{"inline_data":{body}}}]}}]}}"#);
        assert!(estimate(&deeper).total() < 10, "{}", &body[..40]);
    }
}

#[test]
fn text_that_resembles_data_counts() {
    let texts = [
        "a".repeat(256),
        "word ".repeat(100),
        format!("https://example.com/{}", "a".repeat(300)),
        format!("{}.{}", "a".repeat(300), "b".repeat(300)),
        format!("data: {}", "a, ".repeat(200)),
        format!("data:{};base64,", "a, ".repeat(200)),
        "你".repeat(300),
    ];
    for text in texts {
        let cost = estimate(&format!(r#"{{"input":"{text}"}}"#));
        assert_eq!(cost.input(), (text.len() as u64).div_ceil(4), "{text}");
    }
}

#[test]
fn other_bodies_count_by_their_length() {
    let deep =
        |open: &str, close: &str| format!(r#"{{"a":{}{}}}"#, open.repeat(200), close.repeat(200));
    let bodies = [
        "",
        "null",
        "text of a prompt",
        r#"["text"]"#,
        r#"{"max_tokens":100"#,
        r#"{"max_tokens":100} x"#,
        r#"{"max_tokens":100,"temperature":1e400}"#,
        r#"{"max_tokens":100,"input":"\ud800"}"#,
        "--boundary\r\ncontent-disposition: form-data",
        &deep("[", "]"),
        &deep("{\"a\":", "}"),
        &"[".repeat(100_000),
    ];
    for body in bodies {
        let by_length = Cost::new((body.len() as u64).div_ceil(4), 0);
        assert_eq!(estimate(body), by_length, "{body}");
    }
    let body = r#"{"max_tokens":100}"#;
    for (name, value) in [
        (header::CONTENT_ENCODING, "gzip"),
        (header::CONTENT_TYPE, "multipart/form-data; boundary=x"),
    ] {
        assert_eq!(with_header(name, value, body), Cost::new(5, 0), "{value}");
    }
    let json = "application/json; charset=utf-8";
    assert_eq!(
        with_header(header::CONTENT_TYPE, json, body),
        Cost::new(0, 100)
    );
}

const SCALARS: [&str; 8] = [
    "1",
    "-2.5e3",
    "1e400",
    "null",
    "true",
    r#""""#,
    r#""你\n""#,
    r#""\ud800""#,
];

const KEYS: [&str; 6] = [
    "max_tokens",
    "n",
    "generationConfig",
    "maxOutputTokens",
    "model",
    "text",
];

/// A JSON value as text, with odd numbers and with members that matter.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        proptest::sample::select(&SCALARS[..]).prop_map(String::from),
        any::<u64>().prop_map(|number| number.to_string()),
        "[ -~]{0,300}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    scalar.prop_recursive(6, 40, 6, |inner| {
        let member = (proptest::sample::select(&KEYS[..]), inner.clone())
            .prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..6)
                .prop_map(|values| format!("[{}]", values.join(","))),
            proptest::collection::vec(member, 0..6)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn prompt_never_costs_more_than_its_length(body in value()) {
        prop_assert!(estimate(&body).input() <= body.len() as u64);
    }

    #[test]
    fn estimate_never_panics(
        body in value(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let length = body.len() as u64;
        let cost = Cost::estimate(&HeaderMap::new(), &Bytes::from(body));
        prop_assert!(cost.input() <= length);
    }

    #[test]
    fn output_is_what_the_body_reserves(most in 0..u64::MAX, n in 1..9_u64, text in "[a-z ]{0,40}") {
        let body = format!(r#"{{"input":"{text}","n":{n},"max_tokens":{most}}}"#);
        prop_assert_eq!(estimate(&body).output(), most.saturating_mul(n));
    }
}
