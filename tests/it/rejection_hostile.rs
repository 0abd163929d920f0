//! Hostile responses: the parsers never panic and never return an absurd hint.

use std::time::{Duration, SystemTime};

use crate::rows;
use http::{HeaderName, HeaderValue, Response, response};
use proptest::{collection::vec, prelude::*, sample::select};
use tower_429::rejection::{Provider, Reason, Rejection, Scope, buckets};

const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Returns a list of `hostile.json`, such as header names, or their values: real ones and extreme ones.
fn hostile(list: &str) -> Vec<String> {
    let lists = include_str!("../data/hostile.json");
    let lists: serde_json::Value = serde_json::from_str(lists).unwrap();
    serde_json::from_value(lists[list].clone()).unwrap()
}

fn fixtures() -> Vec<String> {
    let rows = rows::fixtures();
    rows.iter().map(|row| row["body"].to_string()).collect()
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let value = prop_oneof![
        4 => select(hostile("values")).prop_map(String::into_bytes),
        1 => "[0-9]{1,25}(\\.[0-9]{0,25})?(ms|s|m|h)?".prop_map(String::into_bytes),
        1 => vec(32..=255_u8, 0..24),
    ];
    (select(hostile("names")), value).prop_filter_map("not a header", |(name, value)| {
        let value = HeaderValue::from_bytes(&value).ok()?;
        Some((HeaderName::try_from(name).unwrap(), value))
    })
}

/// Returns the body in one of the forms of errors.
fn framed(body: &[u8], form: usize) -> Vec<u8> {
    let (before, after): (&[u8], &[u8]) = match form {
        0 => (b"\xef\xbb\xbf", b"\0\0"),
        1 => (b"event: error\ndata: ", b"\n\n"),
        2 => (b"id:1\n:HTTP_STATUS/99999\ndata:", b"\r"),
        3 => (b"<Error><Code>", b"</Code></Error>"),
        4 => (b"{\"message\":\"b'", b"'\"}"),
        _ => (b"", b""),
    };
    [before, body, after].concat()
}

/// Returns a fixture that was cut off or of which one part was replaced, or other bytes.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let mutated = (
        select(fixtures()),
        any::<prop::sample::Index>(),
        0..12_usize,
        vec(any::<u8>(), 0..12),
    )
        .prop_map(|(body, at, length, piece)| {
            let mut body = body.into_bytes();
            let start = at.index(body.len() + 1);
            let end = body.len().min(start + length);
            body.splice(start..end, piece);
            body
        });
    let delayed = (select(hostile("numbers")), select(hostile("values")), "[a-z ]{0,6}").prop_map(|(number, value, unit)| {
        let value = serde_json::Value::from(value);
        format!(
            r#"{{"error":{{"retry_after":{number},"retry_after_ms":{number},"retryDelay":{value},
            "resets_at":{value},"reset_after_seconds":{number},"retry_delay":{{"seconds":{number}}},
            "details":[{{"quotaResetDelay":{value},"quotaResetTimeStamp":{value}}}],
            "message":"Please try again in {number}{unit}. Wait {number} days, resets at {number}",
            "detail":"Limit: {number}, Used {number}{unit} (actual/limit): {number}/{number}, current rpm: {number}"}}}}"#
        )
        .into_bytes()
    });
    let parts = (
        select(fixtures()),
        0..5_usize,
        any::<prop::sample::Index>(),
        vec(any::<u8>(), 0..4),
    );
    let framed = parts.prop_map(|(body, form, at, piece)| {
        let mut body = framed(body.as_bytes(), form);
        let start = at.index(body.len() + 1);
        body.splice(start..start, piece);
        body
    });
    prop_oneof![
        2 => framed,
        4 => mutated,
        2 => delayed,
        1 => select(fixtures()).prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..256),
        1 => "\\PC{0,64}".prop_map(String::into_bytes),
    ]
}

fn head(status: u16, headers: Vec<(HeaderName, HeaderValue)>) -> response::Parts {
    let mut response = Response::builder().status(status).body(()).unwrap();
    response.headers_mut().extend(headers);
    response.into_parts().0
}

const PROVIDERS: &[Provider] = &[
    Provider::Generic,
    Provider::OpenAi,
    Provider::Azure,
    Provider::Anthropic,
    Provider::Gemini,
    Provider::Groq,
    Provider::Mistral,
    Provider::OpenRouter,
    Provider::Together,
    Provider::Nvidia,
    Provider::DashScope,
    Provider::Zai,
    Provider::MiniMax,
    Provider::Baidu,
];

/// Returns whether the hint is at most a year, in whole milliseconds.
fn is_sane(rejection: Option<&Rejection>) -> bool {
    rejection
        .and_then(|it| it.retry_after)
        .is_none_or(|wait| wait <= LONGEST && wait.subsec_nanos() % 1_000_000 == 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_response_is_parsed_without_panic_and_twice_the_same(
        status in prop_oneof![select(&[200_u16, 400, 401, 402, 403, 413, 429, 498, 500, 503, 529][..]), 100..1_000_u16],
        headers in vec(header(), 0..12),
        body in body(),
        provider in select(PROVIDERS),
        seconds in prop_oneof![Just(0_u64), Just(1_770_681_600), 0..300_000_000_000_u64],
    ) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let head = head(status, headers);
        let read = provider.rejection(&head, &body, now);
        prop_assert!(is_sane(read.as_ref()));
        prop_assert_eq!(read, provider.rejection(&head, &body, now));
        prop_assert!(is_sane(Rejection::from_head(&head, now).as_ref()));
        for bucket in buckets(&head.headers, provider, now) {
            prop_assert!(bucket.reset.is_none_or(|wait| wait <= LONGEST));
        }
    }

    #[test]
    fn any_event_is_parsed_without_panic(name in "[a-zA-Z.]{0,16}", data in body()) {
        let now = SystemTime::UNIX_EPOCH;
        prop_assert!(is_sane(Rejection::from_event(Some(&name), &data, now).as_ref()));
        let unnamed = Rejection::from_event(None, &data, now);
        prop_assert!(is_sane(unnamed.as_ref()));
        let at = unnamed.and_then(|it| it.available_at);
        prop_assert!(at.is_none_or(|at| at <= now + LONGEST));
    }

    #[test]
    fn hint_is_never_shorter_than_stated(millis in 0..31_000_000_000_u64, digits in 1..999_u64) {
        let now = SystemTime::UNIX_EPOCH;
        let said = Duration::from_millis(millis) + Duration::from_micros(digits);
        let seconds = format!("{}.{:06}", said.as_secs(), said.subsec_micros());
        let of_header = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            Rejection::from_head(&head(429, vec![(HeaderName::try_from(name).unwrap(), value)]), now)
        };
        let of_message = |text: String| {
            let body = serde_json::json!({ "error": { "message": text } }).to_string();
            Rejection::from_parts(&head(429, vec![]), body.as_bytes(), now)
        };
        let rounded = Some(Duration::from_millis(millis + 1));
        for read in [
            of_header("retry-after", &seconds),
            of_header("x-ratelimit-reset", &format!("{seconds}s")),
            of_message(format!("Please try again in {seconds}s.")),
            of_message(format!("Try again in {seconds} seconds, please")),
        ] {
            prop_assert_eq!(read.unwrap().retry_after, rounded);
        }
    }
}

/// Formats a number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_of_a_limit_are_parsed_in_any_order_and_with_separators(
        numbers in [any::<u64>(), any::<u64>(), any::<u64>()].prop_filter("a status", |it| it[0] != 429),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
        has_commas in any::<bool>(),
    ) {
        let labels = ["Limit", "Used", "Requested"];
        let written = |number| if has_commas { grouped(number) } else { number.to_string() };
        let parts = order.map(|at| format!("{} {}", labels[at], written(numbers[at])));
        let message = format!("Rate limit reached on tokens per min (TPM): {}. Please try again in 2s.", parts.join(", "));
        let body = serde_json::json!({ "error": { "message": message } }).to_string();
        let read = Rejection::from_parts(&head(429, vec![]), body.as_bytes(), SystemTime::UNIX_EPOCH).unwrap();
        let read = [read.numbers.limit, read.numbers.used, read.numbers.requested];
        prop_assert_eq!(read, numbers.map(Some), "{}", message);
    }
}

/// Messages of providers about an unknown model or value, which repeat the caller's text.
const FAULTS: &[(u16, &str)] = &[
    (
        404,
        "The model `{}` does not exist or you do not have access to it.",
    ),
    (404, "models/{} is not found for API version v1beta"),
    (
        400,
        "Invalid value: '{}'. Supported values are: 'auto' and 'flex'.",
    ),
    (400, "{} is not a valid model ID"),
    (400, "Invalid model: {}"),
    (403, "Project `proj_1` does not have access to model `{}`"),
    (422, "Input should be 'a' or 'b', input: \"{}\""),
];

/// Texts that would cause a cooldown if a provider said them about an account.
const NAMES_OF_MODELS: &[&str] = &[
    "out of credits",
    "insufficient balance",
    "account suspended",
    "invalid api key",
    "too many requests",
    "x` out of credits `y",
    "x' invalid api key 'y",
    r#"{"code":"insufficient_quota"}"#,
    r#"[{"error":{"code":"invalid_api_key","message":"Out of credits"}}]"#,
];

#[test]
fn name_of_a_model_is_not_mistaken_for_text_of_the_provider() {
    for (status, sentence) in FAULTS {
        for name in NAMES_OF_MODELS {
            let message = sentence.replace("{}", name);
            let body = serde_json::json!({ "error": {
                "message": message, "type": "invalid_request_error", "code": "model_not_found",
            }});
            let (head, ()) = Response::builder()
                .status(*status)
                .body(())
                .unwrap()
                .into_parts();
            let read =
                Rejection::from_parts(&head, body.to_string().as_bytes(), SystemTime::UNIX_EPOCH);
            match status {
                // The project lacks permission for the model. Another key may have it, whatever the model's name is.
                403 => {
                    let read = read.expect("a denial");
                    let expected = (Reason::KeyRejected, Some(Scope::AccountModel));
                    assert_eq!((read.reason, read.scope), expected, "{message}");
                }
                _ => assert_eq!(read, None, "{status} {message}"),
            }
        }
    }
}
