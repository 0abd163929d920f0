//! The JSON of an error, in all the shapes in which providers nest it.
//!
//! `{"error":{..}}`, `{"error":"text"}`, flat `{message, type, code}`, `[{"error":{..}}]`,
//! `{"errors":[..]}`, `{"detail":".."}`, `{"statusCode":..}`, problem details, and any of them again as
//! a string in a message. Only known keys are read, so that an echoed request is not taken for the error.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{
    super::provider::Provider,
    code::{self, Space},
    delay_field,
    framing::{self, Framed},
    google, nested,
};

/// The rest of a longer message is an echo of the request.
const MAX_TEXT: usize = 8 * 1024;

/// An error in a message in an error: deeper nesting has not been seen.
const MAX_NESTING: u8 = 3;

const MAX_CODES: usize = 32;
const MAX_ELEMENTS: usize = 16;

#[rustfmt::skip]
const CODE_KEYS: &[&str] = &[
    "code", "type", "status", "error_type", "error_code", "reason", "limit_source", "__type",
    "statusCode", "status_code", "provider_code", "domain",
];
#[rustfmt::skip]
const TEXT_KEYS: &[&str] = &[
    "message", "Message", "title", "error_message", "errorMessage", "error_description", "msg", "error_msg",
    "status_msg",
];
#[rustfmt::skip]
const NESTED_KEYS: &[&str] = &[
    code::ERRORS, code::BASE_RESP, "metadata", "response", "availability", "last_error", "innererror",
];
/// Keys that hold a text or a nested error.
#[rustfmt::skip]
const TEXT_OR_NESTED_KEYS: &[&str] = &[
    "error", "detail", "details", "raw", "upstreamResponse", "upstream_response", "upstreamError",
    "upstream_error", "original_error", "originalError", "responseBody", "response_body",
    "provider_error", "providerError",
];

/// What an error's JSON contains, before it is classified.
#[derive(Debug, Default)]
pub(crate) struct ErrorBody {
    /// Codes, types and statuses in [normal form](code::normal).
    pub(crate) codes: Vec<String>,
    /// All messages, one to a line.
    pub(crate) text: String,
    /// The HTTP status that the body repeats, or has where the response has none.
    pub(crate) status: Option<u16>,
    /// A delay in a field of its own.
    pub(crate) delay: Option<Duration>,
    pub(crate) quotas: Vec<google::Quota>,
    /// Headers of an upstream provider (OpenRouter).
    pub(crate) headers: HeaderMap,
    /// The provider that the shape belongs to, if it is known.
    pub(crate) provider: Option<Provider>,
}

/// How far the JSON in a message is trusted to be an upstream's error and not a part of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Its text, if no sentence quotes it.
    Words,
    /// All of it, if no sentence quotes it.
    Unquoted,
    All,
}

/// Reads the body of an error response; `None` if it holds no fields that can be read.
pub(crate) fn read(body: &[u8], trust: Trust, now: SystemTime) -> Option<ErrorBody> {
    Some(of_framed(framing::error(body)?, trust, now))
}

pub(super) fn of_framed(framed: Framed, trust: Trust, now: SystemTime) -> ErrorBody {
    let mut walk = Walk::new(trust, now, 0);
    walk.body.status = framed.status;
    walk.value(&framed.value, None);
    if let Some(name) = &framed.event {
        walk.body.add_code(name, None);
    }
    walk.finish()
}

/// Whether the number under `error_code` is Baidu's.
pub(super) fn is_of_baidu(object: &Map<String, Value>) -> bool {
    object.contains_key(code::ERROR_CODE) && object.contains_key("error_msg")
}

/// A walk through the JSON of one error.
struct Walk {
    body: ErrorBody,
    trust: Trust,
    now: SystemTime,
    /// How many strings of JSON were opened on the way.
    nesting: u8,
    /// Errors in messages with their space and nesting, read after all that stands around them.
    upstream: Vec<(Value, Option<Space>, u8)>,
}

// === impl Walk ===

impl Walk {
    fn new(trust: Trust, now: SystemTime, nesting: u8) -> Self {
        Self {
            body: ErrorBody::default(),
            trust,
            now,
            nesting,
            upstream: Vec::new(),
        }
    }

    fn finish(mut self) -> ErrorBody {
        for (value, space, nesting) in self.upstream {
            let mut walk = Self::new(self.trust, self.now, nesting);
            walk.value(&value, space);
            let inner = walk.finish();
            match self.trust {
                Trust::Words => self.body.add_text(&inner.text),
                Trust::Unquoted | Trust::All => self.body.add(inner),
            }
        }
        self.body
    }

    fn value(&mut self, value: &Value, space: Option<Space>) {
        match value {
            Value::Object(object) => self.object(object, space),
            Value::Array(elements) => {
                for element in elements.iter().take(MAX_ELEMENTS) {
                    self.value(element, space);
                }
            }
            Value::String(text) => self.message(text, space),
            _ => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>, space: Option<Space>) {
        self.body.recognise(object);
        for (key, value) in object {
            let key = key.as_str();
            // The longest of all delays, because a wait must not be shorter than any of them.
            let delay = delay_field::read(key, value, self.now);
            self.body.delay = self.body.delay.max(delay);
            let is_either = TEXT_OR_NESTED_KEYS.contains(&key);
            match value {
                Value::String(text) => {
                    if CODE_KEYS.contains(&key) || (key == "error" && is_code(text)) {
                        let space = space.or_else(|| own_space(key, text, object));
                        self.body.add_code(text, space);
                    }
                    if is_either || TEXT_KEYS.contains(&key) {
                        self.message(text, space);
                    }
                }
                Value::Number(number) if CODE_KEYS.contains(&key) => {
                    let number = number.to_string();
                    let space = space.or_else(|| own_space(key, &number, object));
                    self.body.add_code(&number, space);
                }
                Value::Object(headers) if key == "headers" => self.body.add_headers(headers),
                Value::Array(violations) if key == "violations" => {
                    let violations = violations.iter().take(MAX_ELEMENTS);
                    self.body
                        .quotas
                        .extend(violations.filter_map(google::quota));
                }
                Value::Object(_) | Value::Array(_) if is_either || NESTED_KEYS.contains(&key) => {
                    let space = match key {
                        code::BASE_RESP => Some(code::BASE_RESP),
                        code::ERRORS => space.or(Some(code::ERRORS)),
                        _ => space,
                    };
                    self.value(value, space);
                }
                _ => {}
            }
        }
    }

    fn message(&mut self, text: &str, space: Option<Space>) {
        // Z.ai's endpoint for Anthropic's API: `[1308][Usage limit reached for 5 hour.][<id>]`.
        let code = text.strip_prefix('[').and_then(|it| it.split_once("]["));
        if let Some((code, _)) = code.filter(|(code, _)| has_four_digits(code)) {
            self.body.provider = self.body.provider.or(Some(Provider::Zai));
            self.body.add_code(code, space);
        }
        let is_open = self.nesting < MAX_NESTING;
        let Some(nested) = is_open.then(|| nested::find(text)).flatten() else {
            return self.body.add_text(text);
        };
        if nested.before.is_empty() && !nested.is_quoted {
            self.nesting += 1;
            self.value(&nested.value, space);
            self.nesting -= 1;
            return;
        }
        self.body.add_text(nested.before);
        if !nested.is_quoted || self.trust == Trust::All {
            self.upstream.push((nested.value, space, self.nesting + 1));
        }
    }
}

// === impl ErrorBody ===

impl ErrorBody {
    /// Whether it contains this code, in normal form.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|it| it == code)
    }

    /// Sets the provider by its shape. Google writes its statuses in capitals or says `google.rpc`. Only
    /// OpenRouter has this metadata, only Mistral repeats the status under this name, and only Z.ai sends
    /// nothing but four digits and a message.
    fn recognise(&mut self, object: &Map<String, Value>) {
        let text = |key| object.get(key).and_then(Value::as_str);
        let metadata = object.get("metadata").and_then(Value::as_object);
        let is_open_router = metadata.is_some_and(|metadata| {
            let mut keys = ["limit_source", "provider_name", "error_type"].iter();
            keys.any(|key| metadata.contains_key(*key))
        });
        let is_google = text("@type").is_some_and(google::is_detail)
            || (object.contains_key("code") && text("status").is_some_and(google::is_status));
        let is_zai = object.len() == 2
            && object.contains_key("message")
            && text("code").is_some_and(has_four_digits);
        if is_open_router {
            self.provider = Some(Provider::OpenRouter);
        } else if self.provider.is_none() {
            let known = [
                (is_google, Provider::Gemini),
                (object.contains_key("raw_status_code"), Provider::Mistral),
                (is_zai, Provider::Zai),
            ];
            let known = known.into_iter().find(|(is_known, _)| *is_known);
            self.provider = known.map(|(_, provider)| provider);
        }
    }

    fn add_code(&mut self, code: &str, space: Option<Space>) {
        let Some(code) = code::normal(code) else {
            return;
        };
        if let Ok(status @ 400..=599) = code.parse::<u16>() {
            self.status = self.status.or(Some(status));
        }
        if self.codes.len() < MAX_CODES {
            self.codes.push(match space {
                Some(space) => format!("{space}/{code}"),
                None => code,
            });
        }
    }

    fn add_text(&mut self, text: &str) {
        let room = MAX_TEXT.saturating_sub(self.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&text[..end]);
        self.text.push('\n');
    }

    fn add_headers(&mut self, headers: &Map<String, Value>) {
        for (name, value) in headers.iter().take(MAX_ELEMENTS) {
            let value = match value {
                Value::String(text) => HeaderValue::from_str(text).ok(),
                Value::Number(number) => HeaderValue::from_str(&number.to_string()).ok(),
                _ => None,
            };
            if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
                self.headers.insert(name, value);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.codes.extend(other.codes);
        self.add_text(&other.text);
        self.status = self.status.or(other.status);
        self.delay = self.delay.max(other.delay);
        self.quotas.extend(other.quotas);
        self.headers.extend(other.headers);
        self.provider = self.provider.or(other.provider);
    }
}

/// Returns the space of a code that stands in no object of its own.
fn own_space(key: &str, code: &str, object: &Map<String, Value>) -> Option<Space> {
    let is_number = code.bytes().all(|byte| byte.is_ascii_digit());
    let is_baidu = key == code::ERROR_CODE && is_number && is_of_baidu(object);
    is_baidu.then_some(code::ERROR_CODE)
}

/// Whether it has the form of Z.ai's codes.
fn has_four_digits(code: &str) -> bool {
    code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// `{"error":"rate_limited","message":..}`: a word with underscores is no sentence.
fn is_code(text: &str) -> bool {
    text.contains('_') && !text.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_read(body: &str, trust: Trust) -> Option<ErrorBody> {
        super::read(body.as_bytes(), trust, SystemTime::UNIX_EPOCH)
    }

    fn read(body: &str) -> ErrorBody {
        try_read(body, Trust::All).unwrap()
    }

    #[test]
    fn code_and_message_are_read_from_every_shape() {
        for body in [
            r#"{"error":{"message":"No.","type":"x"}}"#,
            r#"[{"error":{"message":"No.","type":"x"}}]"#,
            r#"{"message":"No.","type":"x"}"#,
            r#"{"error":"No.","error_type":"x"}"#,
            r#"{"detail":"No.","code":"x"}"#,
            r#"{"error":{"message":"{\"error\":{\"message\":\"No.\",\"type\":\"x\"}}"}}"#,
            r#"{"response":{"error":{"code":"x","message":"No."}}}"#,
        ] {
            let error = read(body);
            assert_eq!(error.codes, ["x"], "{body}");
            assert_eq!(error.text.trim(), "No.", "{body}");
        }
    }

    #[test]
    fn words_before_a_nested_error_are_kept() {
        let body =
            r#"{"error":{"message":"litellm.RateLimitError: [{\"error\":{\"code\":429}}]"}}"#;
        let error = read(body);
        assert_eq!(error.text.trim(), "litellm.RateLimitError:");
        assert_eq!(error.status, Some(429));
    }

    #[test]
    fn nested_json_is_read_as_far_as_it_is_trusted() {
        let codes = |message: &str, trust| {
            let body = serde_json::json!({ "message": message }).to_string();
            try_read(&body, trust).unwrap().codes
        };
        let upstream = [
            r#"No: {"code":"x"}."#,
            r#"litellm.BadRequestError: AException - b'{"code":"x"}'"#,
            "AException - {\"code\":\"x\"}\n. Received Model Group=a\nAvailable Model Group Fallbacks=None",
        ];
        let quoted = [
            r#"No: '{"code":"x"}'"#,
            r#"The model {"code":"x"} does not exist"#,
        ];
        for (trust, [of_upstream, of_quote]) in [
            (Trust::Words, [0, 0]),
            (Trust::Unquoted, [1, 0]),
            (Trust::All, [1, 1]),
        ] {
            for text in upstream {
                assert_eq!(codes(text, trust).len(), of_upstream, "{trust:?} {text}");
            }
            for text in quoted {
                assert_eq!(codes(text, trust).len(), of_quote, "{trust:?} {text}");
            }
        }
    }

    #[test]
    fn codes_may_be_numbers_and_those_of_a_list_have_a_space() {
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
            let body = try_read(&body, Trust::All);
            assert_eq!(body.and_then(|body| body.delay), None, "{hostile}");
        }
    }

    #[test]
    fn body_that_is_not_json_is_not_read() {
        let deep = "[".repeat(100_000);
        let large = format!(r#"{{"message":"{}"}}"#, "x".repeat(framing::MAX_BYTES));
        for body in ["", "<html>", r#"{"error":"#, &deep, &large] {
            assert!(try_read(body, Trust::All).is_none());
        }
    }

    #[test]
    fn endless_nesting_is_opened_a_few_times() {
        let mut body = r#"{"message":"end"}"#.to_owned();
        for _ in 0..8 {
            body = serde_json::json!({ "message": body }).to_string();
        }
        assert!(read(&body).text.contains("message"));
    }
}
