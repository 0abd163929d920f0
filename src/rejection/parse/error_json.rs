//! The JSON of an error, in all the shapes in which providers nest it.
//!
//! `{"error":{..}}`, `{"error":"text"}`, flat `{message, type, code}`, `[{"error":{..}}]`, `{"errors":[..]}`,
//! `{"detail":".."}`, `{"statusCode":..}`, problem details, and each of them as a string in a message. Only
//! known keys are read, so that an echoed request is not taken for the error.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{
    super::provider::Provider,
    delay_field,
    error_body::{ErrorBody, MAX_ELEMENTS, has_four_digits},
    framing::{self, Framed},
    google, nested,
};

/// An error in the message of an error. Deeper nesting has not been seen.
const MAX_NESTING: u8 = 3;

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
    "errors", "base_resp", "metadata", "response", "availability", "last_error", "innererror",
];
/// Keys that hold a text or a nested error.
#[rustfmt::skip]
const TEXT_OR_NESTED_KEYS: &[&str] = &[
    "error", "detail", "details", "raw", "upstreamResponse", "upstream_response", "upstreamError",
    "upstream_error", "original_error", "originalError", "responseBody", "response_body",
    "provider_error", "providerError",
];

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
    object.contains_key("error_code") && object.contains_key("error_msg")
}

/// A walk through the JSON of one error.
struct Walk {
    body: ErrorBody,
    trust: Trust,
    now: SystemTime,
    /// How many strings of JSON were opened on the way.
    nesting: u8,
    /// Errors in messages, with the owner of their codes and their nesting. They are read last.
    upstream: Vec<(Value, Option<Provider>, u8)>,
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
        for (value, owner, nesting) in self.upstream {
            let mut walk = Self::new(self.trust, self.now, nesting);
            walk.value(&value, owner);
            let inner = walk.finish();
            match self.trust {
                Trust::Words => self.body.add_text(&inner.text),
                Trust::Unquoted | Trust::All => self.body.add(inner),
            }
        }
        self.body
    }

    fn value(&mut self, value: &Value, owner: Option<Provider>) {
        match value {
            Value::Object(object) => self.object(object, owner),
            Value::Array(elements) => {
                for element in elements.iter().take(MAX_ELEMENTS) {
                    self.value(element, owner);
                }
            }
            Value::String(text) => self.message(text, owner),
            _ => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>, owner: Option<Provider>) {
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
                        let owner = owner.or_else(|| owner_of(key, text, object));
                        self.body.add_code(text, owner);
                    }
                    if is_either || TEXT_KEYS.contains(&key) {
                        self.message(text, owner);
                    }
                }
                Value::Number(number) if CODE_KEYS.contains(&key) => {
                    let number = number.to_string();
                    let owner = owner.or_else(|| owner_of(key, &number, object));
                    self.body.add_code(&number, owner);
                }
                Value::Object(headers) if key == "headers" => self.body.add_headers(headers),
                Value::Array(violations) if key == "violations" => {
                    let violations = violations.iter().take(MAX_ELEMENTS);
                    self.body
                        .quotas
                        .extend(violations.filter_map(google::quota));
                }
                Value::Object(_) | Value::Array(_) if is_either || NESTED_KEYS.contains(&key) => {
                    let owner = match key {
                        "base_resp" => Some(Provider::MiniMax),
                        "errors" => owner.or(Some(Provider::Cloudflare)),
                        _ => owner,
                    };
                    self.value(value, owner);
                }
                _ => {}
            }
        }
    }

    fn message(&mut self, text: &str, owner: Option<Provider>) {
        // Z.ai's endpoint for Anthropic's API: `[1308][Usage limit reached for 5 hour.][<id>]`.
        let code = text.strip_prefix('[').and_then(|it| it.split_once("]["));
        if let Some((code, _)) = code.filter(|(code, _)| has_four_digits(code)) {
            self.body.provider = self.body.provider.or(Some(Provider::Zai));
            self.body.add_code(code, owner);
        }
        let is_open = self.nesting < MAX_NESTING;
        let Some(nested) = is_open.then(|| nested::find(text)).flatten() else {
            return self.body.add_text(text);
        };
        if nested.before.is_empty() && !nested.is_quoted {
            self.nesting += 1;
            self.value(&nested.value, owner);
            self.nesting -= 1;
            return;
        }
        self.body.add_text(nested.before);
        if !nested.is_quoted || self.trust == Trust::All {
            self.upstream.push((nested.value, owner, self.nesting + 1));
        }
    }
}

/// Returns the provider of a code, if its key and the keys beside it identify one.
fn owner_of(key: &str, code: &str, object: &Map<String, Value>) -> Option<Provider> {
    let is_number = code.bytes().all(|byte| byte.is_ascii_digit());
    let is_baidu = key == "error_code" && is_number && is_of_baidu(object);
    is_baidu.then_some(Provider::Baidu)
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
            assert!(error.common_codes().eq(["x"]), "{body}");
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
    fn nested_json_is_parsed_as_far_as_it_is_trusted() {
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
    fn codes_may_be_numbers_and_those_of_a_list_are_cloudflares() {
        let number = read(r#"{"error":{"code":1302}}"#);
        assert!(number.common_codes().eq(["1302"]));
        let listed = read(r#"{"success":false,"errors":[{"code":3040,"message":"full"}]}"#);
        let code = (Some(Provider::Cloudflare), "3040".to_owned());
        assert_eq!(listed.codes, [code]);
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
        let large = format!(r#"{{"message":"{}"}}"#, "x".repeat(framing::MAX_BODY_BYTES));
        for body in ["", "<html>", r#"{"error":"#, &deep, &large] {
            assert!(try_read(body, Trust::All).is_none());
        }
    }

    #[test]
    fn deep_nesting_is_followed_a_few_times() {
        let mut body = r#"{"message":"end"}"#.to_owned();
        for _ in 0..8 {
            body = serde_json::json!({ "message": body }).to_string();
        }
        assert!(read(&body).text.contains("message"));
    }
}
