//! Wire form: the JSON of an error, in all the shapes in which providers nest it.
//!
//! `{"error":{..}}`, `{"error":"text"}`, flat `{message, type, code}`, `[{"error":{..}}]`,
//! `{"errors":[..]}`, `{"detail":".."}`, `{"statusCode":..}`, problem details, and any of them again as
//! a string inside a message. Only known keys are read, so an echoed request is not taken for the error.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{
    Provider, codes, delay_field,
    framing::{self, Framed},
    google,
};

/// More of a body is not read; the largest error seen is a few KiB.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// More of a message is an echo of the request.
const MOST_TEXT: usize = 8 * 1024;

/// An error in a message in an error: deeper nesting has not been seen.
const MOST_NESTING: u8 = 3;

const MOST_CODES: usize = 32;
const MOST_ELEMENTS: usize = 16;

#[rustfmt::skip]
const CODE_KEYS: &[&str] = &[
    "code", "type", "status", "error_type", "error_code", "reason", "limit_source", "__type",
    "statusCode", "status_code", "provider_code", "domain",
];
#[rustfmt::skip]
const TEXT_KEYS: &[&str] = &[
    "message", "Message", "error", "detail", "details", "title", "error_message", "errorMessage",
    "error_description", "raw", "msg", "error_msg", "status_msg", "upstreamResponse", "upstream_response",
    "upstreamError", "upstream_error", "original_error", "originalError", "responseBody", "response_body",
    "provider_error", "providerError",
];
#[rustfmt::skip]
const NESTED_KEYS: &[&str] = &[
    "error", "errors", "detail", "details", "metadata", "response", "availability", "last_error", "raw",
    "upstreamResponse", "upstream_response", "upstreamError", "upstream_error", "original_error",
    "originalError", "responseBody", "response_body", "provider_error", "providerError", "innererror",
];

/// What an error's JSON says, before anything is concluded from it.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Codes, types and statuses in [normal form](codes::normal).
    pub(super) codes: Vec<String>,
    /// All messages as they are, one to a line.
    pub(super) text: String,
    /// The HTTP status that the body repeats, or has where the response has none.
    pub(super) status: Option<u16>,
    /// A delay in a field of its own.
    pub(super) delay: Option<Duration>,
    pub(super) quotas: Vec<google::Quota>,
    /// Headers of an upstream provider that are told in the body (OpenRouter).
    pub(super) headers: HeaderMap,
    /// Whose shape this is, where the shape tells.
    pub(super) provider: Option<Provider>,
    /// Errors that a message ends with.
    ends: Vec<End>,
}

/// An error that a message ends with after some words: that of an upstream, or a part of the request.
#[derive(Debug)]
struct End {
    report: Report,
    is_in_a_sentence: bool,
}

/// How far what a message ends with is believed to be an upstream's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// Its words, if they are not in a sentence of the provider's.
    Words,
    /// All of it, if it is not in such a sentence.
    Unquoted,
    All,
}

/// What the body of an error response says; `None` if it holds no fields that can be read.
pub(super) fn of_body(body: &[u8], now: SystemTime) -> Option<Report> {
    Some(of_framed(framing::error(body)?, now))
}

/// As [`of_body`], of the JSON of what may also be a success: only what is marked as an error is read.
pub(super) fn of_event(
    name: Option<&str>,
    status: Option<u16>,
    data: &[u8],
    now: SystemTime,
) -> Option<Report> {
    let value = framing::json(data)?;
    let named = name.is_some_and(|name| {
        matches!(name, "error" | "response.failed") || name.ends_with("Exception")
    });
    let failed = status.is_some_and(|status| status >= 400);
    if !named && !failed && !is_error(&value) {
        return None;
    }
    let event = name.map(str::to_owned);
    let framed = Framed {
        value,
        event,
        status,
    };
    Some(of_framed(framed, now))
}

fn of_framed(framed: Framed, now: SystemTime) -> Report {
    let mut report = Report {
        status: framed.status,
        ..Report::default()
    };
    report.read(
        &framed.value,
        &Place {
            now,
            space: None,
            nesting: 0,
        },
    );
    if let Some(name) = &framed.event {
        report.code(name, None);
    }
    report
}

fn is_error(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.first().is_some_and(is_error),
        Value::Object(object) => {
            let has = |key| matches!(object.get(key), Some(Value::Object(_) | Value::String(_)));
            let kind = object.get("type").and_then(Value::as_str);
            let failed = object.get("success") == Some(&Value::Bool(false));
            let is_named = matches!(kind, Some("error" | "response.failed"));
            has("error") || failed || is_named || has_error_code(object)
        }
        _ => false,
    }
}

/// As MiniMax and Baidu mark an error; their successes have a zero there, or nothing.
fn has_error_code(object: &Map<String, Value>) -> bool {
    let base = object.get(codes::BASE_RESP);
    let code = match base.and_then(|base| base.get("status_code")) {
        None if is_of_baidu(object) => object.get(codes::ERROR_CODE),
        code => code,
    };
    let number = |code: &Value| match code {
        Value::String(code) => code.parse().ok(),
        code => code.as_u64(),
    };
    code.and_then(number).is_some_and(|code: u64| code != 0)
}

/// Whether the number under `error_code` is Baidu's.
fn is_of_baidu(object: &Map<String, Value>) -> bool {
    object.contains_key(codes::ERROR_CODE) && object.contains_key("error_msg")
}

/// The space of a code that stands in no object of its own.
fn own_space(key: &str, code: &str, object: &Map<String, Value>) -> Option<codes::Space> {
    let is_number = code.bytes().all(|byte| byte.is_ascii_digit());
    let is_baidu = key == codes::ERROR_CODE && is_number && is_of_baidu(object);
    is_baidu.then_some(codes::ERROR_CODE)
}

/// As the codes of Z.ai are.
fn has_four_digits(code: &str) -> bool {
    code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Place {
    now: SystemTime,
    /// Inside what has numbers of its own for codes.
    space: Option<codes::Space>,
    /// How many strings of JSON have been opened on the way.
    nesting: u8,
}

// === impl Report ===

impl Report {
    fn read(&mut self, value: &Value, place: &Place) {
        match value {
            Value::Object(object) => self.object(object, place),
            Value::Array(elements) => {
                for element in elements.iter().take(MOST_ELEMENTS) {
                    self.read(element, place);
                }
            }
            Value::String(text) => self.message(text, place),
            _ => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>, place: &Place) {
        self.recognise(object);
        for (key, value) in object {
            let key = key.as_str();
            // The longest of all delays: a wait must not be shorter than any of them.
            self.delay = self.delay.max(delay_field::read(key, value, place.now));
            match value {
                Value::String(text) => {
                    if CODE_KEYS.contains(&key) || (key == "error" && is_code(text)) {
                        let own = own_space(key, text, object);
                        self.code(text, place.space.or(own));
                    }
                    if TEXT_KEYS.contains(&key) {
                        self.message(text, place);
                    }
                }
                Value::Number(number) => {
                    let number = number.to_string();
                    if CODE_KEYS.contains(&key) {
                        let own = own_space(key, &number, object);
                        self.code(&number, place.space.or(own));
                    }
                }
                Value::Object(_) | Value::Array(_) if NESTED_KEYS.contains(&key) => {
                    let list = (key == codes::ERRORS).then_some(codes::ERRORS);
                    let space = place.space.or(list);
                    self.read(value, &Place { space, ..*place });
                }
                Value::Object(base) if key == codes::BASE_RESP => {
                    let space = Some(codes::BASE_RESP);
                    self.object(base, &Place { space, ..*place });
                }
                Value::Object(headers) if key == "headers" => self.headers(headers),
                Value::Array(violations) if key == "violations" => {
                    let quotas = violations
                        .iter()
                        .take(MOST_ELEMENTS)
                        .filter_map(google::quota);
                    self.quotas.extend(quotas);
                }
                _ => {}
            }
        }
    }

    /// Google writes its statuses in capitals or says `google.rpc`; only OpenRouter has this metadata, only
    /// Mistral repeats the status under this name, and only Z.ai says nothing but four digits and a message.
    fn recognise(&mut self, object: &Map<String, Value>) {
        let text = |key| object.get(key).and_then(Value::as_str);
        let is_google = text("@type").is_some_and(google::is_detail)
            || (object.contains_key("code") && text("status").is_some_and(google::is_status));
        let metadata = object.get("metadata").and_then(Value::as_object);
        let is_open_router = metadata.is_some_and(|metadata| {
            ["limit_source", "provider_name", "error_type"]
                .iter()
                .any(|key| metadata.contains_key(*key))
        });
        let is_zai = object.len() == 2
            && object.contains_key("message")
            && text("code").is_some_and(has_four_digits);
        if is_open_router {
            self.provider = Some(Provider::OpenRouter);
        }
        let known = [
            (is_google, Provider::Gemini),
            (object.contains_key("raw_status_code"), Provider::Mistral),
            (is_zai, Provider::Zai),
        ];
        let mut known = known.into_iter();
        let known = known.find_map(|(is, provider)| is.then_some(provider));
        self.provider = self.provider.or(known);
    }

    fn code(&mut self, code: &str, space: Option<codes::Space>) {
        let Some(code) = codes::normal(code) else {
            return;
        };
        if let Ok(status @ 400..=599) = code.parse::<u16>() {
            self.status = self.status.or(Some(status));
        }
        if self.codes.len() < MOST_CODES {
            self.codes.push(match space {
                Some(space) => codes::in_space(space, &code),
                None => code,
            });
        }
    }

    fn message(&mut self, text: &str, place: &Place) {
        // Z.ai, where it speaks Anthropic's API: `[1308][Usage limit reached for 5 hour.][<id>]`.
        let code = text.strip_prefix('[').and_then(|it| it.split_once("]["));
        if let Some((code, _)) = code.filter(|(code, _)| has_four_digits(code)) {
            self.provider = self.provider.or(Some(Provider::Zai));
            self.code(code, place.space);
        }
        if let Some((before, value, behind)) = nested(text, place) {
            let nesting = place.nesting + 1;
            let place = Place { nesting, ..*place };
            let before = before.trim_end();
            let is_in_a_sentence = is_in_a_sentence(before, behind);
            if before.is_empty() && !is_in_a_sentence {
                return self.read(&value, &place);
            }
            self.push(before);
            let mut report = Self::default();
            report.read(&value, &place);
            self.ends.push(End {
                report,
                is_in_a_sentence,
            });
        } else {
            self.push(text);
        }
    }

    /// With what messages end with, as far as that is believed.
    pub(super) fn with_ends(mut self, belief: Belief) -> Self {
        for end in std::mem::take(&mut self.ends) {
            let report = end.report.with_ends(belief);
            match belief {
                Belief::Words | Belief::Unquoted if end.is_in_a_sentence => {}
                Belief::Words => self.push(&report.text),
                Belief::Unquoted | Belief::All => self.add(report),
            }
        }
        self
    }

    fn add(&mut self, other: Self) {
        self.codes.extend(other.codes);
        self.push(&other.text);
        self.status = self.status.or(other.status);
        self.delay = self.delay.max(other.delay);
        self.quotas.extend(other.quotas);
        self.headers.extend(other.headers);
        self.provider = self.provider.or(other.provider);
    }

    fn push(&mut self, text: &str) {
        let room = MOST_TEXT.saturating_sub(self.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&text[..end]);
        self.text.push('\n');
    }

    fn headers(&mut self, headers: &Map<String, Value>) {
        for (name, value) in headers.iter().take(MOST_ELEMENTS) {
            let value = match value {
                Value::String(text) => HeaderValue::from_str(text).ok(),
                Value::Number(number) => HeaderValue::from_str(&number.to_string()).ok(),
                _ => None,
            };
            let name = HeaderName::try_from(name).ok();
            if let (Some(name), Some(value)) = (name, value) {
                self.headers.insert(name, value);
            }
        }
    }
}

/// `{"error":"rate_limited","message":..}`: a word with underscores is no sentence.
fn is_code(text: &str) -> bool {
    text.contains('_') && !text.contains(' ')
}

/// Whether JSON with this before and behind it stands in a sentence, as a value does that is found fault
/// with. LiteLLM writes an upstream's error as `...Exception - {..}` or `...Exception - b'{..}'`, and behind it
/// `. Received Model Group=..` (litellm#29808).
fn is_in_a_sentence(before: &str, behind: &str) -> bool {
    let is_quoted = before.ends_with(['`', '"', '\''])
        && !["- b'", "- b\""]
            .iter()
            .any(|bytes| before.ends_with(bytes));
    let words = behind.trim_start_matches(|letter: char| !letter.is_alphanumeric());
    is_quoted || !(words.is_empty() || words.starts_with("Received Model Group="))
}

/// The JSON that a message consists of or has at its end, what stands before it, and what behind.
fn nested<'a>(text: &'a str, place: &Place) -> Option<(&'a str, Value, &'a str)> {
    if place.nesting == MOST_NESTING {
        return None;
    }
    let start = text.find(['{', '['])?;
    let end = text.rfind(['}', ']'])?;
    let json = text.get(start..=end)?;
    let value = serde_json::from_str(json).ok().or_else(|| {
        let is_of_python = ["b'", "b\""]
            .iter()
            .any(|bytes| text[..start].ends_with(bytes));
        is_of_python.then(|| serde_json::from_str(&without_escapes(json)).ok())?
    })?;
    let holds_anything = match &value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(elements) => elements.first().is_some_and(Value::is_object),
        _ => false,
    };
    holds_anything.then(|| (&text[..start], value, &text[end + 1..]))
}

/// The text of Python's `b'..'`, in which LiteLLM repeats what an upstream has sent (litellm#14736).
fn without_escapes(bytes: &str) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut letters = bytes.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('n' | 'r' | 't') => text.push(' '),
            // A byte beyond ASCII, in two digits.
            Some('x') => {
                letters.nth(1);
                text.push('?');
            }
            Some(letter) => text.push(letter),
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Report {
        let report = of_body(body.as_bytes(), SystemTime::UNIX_EPOCH);
        report.unwrap().with_ends(Belief::All)
    }

    #[test]
    fn every_shape_gives_the_same_code_and_message() {
        for body in [
            r#"{"error":{"message":"No.","type":"x"}}"#,
            r#"[{"error":{"message":"No.","type":"x"}}]"#,
            r#"{"message":"No.","type":"x"}"#,
            r#"{"error":"No.","error_type":"x"}"#,
            r#"{"detail":"No.","code":"x"}"#,
            r#"{"error":{"message":"{\"error\":{\"message\":\"No.\",\"type\":\"x\"}}"}}"#,
            r#"{"response":{"error":{"code":"x","message":"No."}}}"#,
        ] {
            let report = read(body);
            assert_eq!(report.codes, ["x"], "{body}");
            assert_eq!(report.text.trim(), "No.", "{body}");
        }
    }

    #[test]
    fn the_words_before_a_nested_error_are_kept() {
        let body =
            r#"{"error":{"message":"litellm.RateLimitError: [{\"error\":{\"code\":429}}]"}}"#;
        let report = read(body);
        assert_eq!(report.text.trim(), "litellm.RateLimitError:");
        assert_eq!(report.status, Some(429));
    }

    #[test]
    fn what_may_be_a_part_of_the_request_is_believed_as_far_as_one_says() {
        let report = |message: &str, belief| {
            let body = serde_json::json!({ "message": message }).to_string();
            let report = of_body(body.as_bytes(), SystemTime::UNIX_EPOCH);
            report.unwrap().with_ends(belief).codes
        };
        let upstream = [
            r#"No: {"code":"x"}."#,
            r#"litellm.BadRequestError: AException - b'{"code":"x"}'"#,
            "AException - {\"code\":\"x\"}\n. Received Model Group=a\nAvailable Model Group Fallbacks=None",
        ];
        let in_a_sentence = [
            r#"No: '{"code":"x"}'"#,
            r#"The model {"code":"x"} does not exist"#,
        ];
        for (belief, [of_upstream, of_sentence]) in [
            (Belief::Words, [0, 0]),
            (Belief::Unquoted, [1, 0]),
            (Belief::All, [1, 1]),
        ] {
            for text in upstream {
                assert_eq!(report(text, belief).len(), of_upstream, "{belief:?} {text}");
            }
            for text in in_a_sentence {
                assert_eq!(report(text, belief).len(), of_sentence, "{belief:?} {text}");
            }
        }
    }

    #[test]
    fn codes_may_be_numbers_and_those_of_a_list_are_marked() {
        assert_eq!(read(r#"{"error":{"code":1302}}"#).codes, ["1302"]);
        let listed = read(r#"{"success":false,"errors":[{"code":3040,"message":"full"}]}"#);
        assert_eq!(listed.codes, ["errors/3040"]);
    }

    #[test]
    fn delays_are_read_from_fields_of_any_unit() {
        let millis = |body| read(body).delay.map(|delay| delay.as_millis());
        assert_eq!(millis(r#"{"retry_after":8}"#), Some(8_000));
        assert_eq!(millis(r#"{"retry_after":"8.5"}"#), Some(8_500));
        assert_eq!(millis(r#"{"retry_after_ms":8}"#), Some(8));
        assert_eq!(millis(r#"{"retryDelay":"3.000000001s"}"#), Some(3_001));
        for hostile in ["-1", "1e400", "1e9", "99999999999999999999"] {
            let body = format!(r#"{{"retry_after":{hostile}}}"#);
            let report = of_body(body.as_bytes(), SystemTime::UNIX_EPOCH);
            assert_eq!(report.and_then(|report| report.delay), None, "{hostile}");
        }
    }

    #[test]
    fn what_is_not_json_is_not_read() {
        let deep = "[".repeat(100_000);
        let large = format!(r#"{{"message":"{}"}}"#, "x".repeat(MOST_BYTES));
        for body in ["", "<html>", r#"{"error":"#, &deep, &large] {
            assert!(of_body(body.as_bytes(), SystemTime::UNIX_EPOCH).is_none());
        }
    }

    #[test]
    fn messages_nested_for_ever_are_opened_a_few_times() {
        let mut body = r#"{"message":"end"}"#.to_owned();
        for _ in 0..8 {
            body = serde_json::json!({ "message": body }).to_string();
        }
        assert!(read(&body).text.contains("message"));
    }

    #[test]
    fn a_success_is_not_read() {
        let event =
            |name, data: &str| of_event(name, None, data.as_bytes(), SystemTime::UNIX_EPOCH);
        assert!(event(None, r#"{"choices":[],"error":null}"#).is_none());
        assert!(event(None, r#"{"type":"response.completed"}"#).is_none());
        assert!(event(Some("message"), r#"{"message":"overloaded"}"#).is_none());
        assert!(event(Some("error"), r#"{"message":"overloaded"}"#).is_some());
        assert!(event(Some("throttlingException"), r#"{"message":"no"}"#).is_some());
    }
}
