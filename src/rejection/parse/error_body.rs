//! The fields of an error, in whatever shape they came.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{super::provider::Provider, code, google};

/// Longer messages are truncated, because their rest is an echo of the request.
const MAX_TEXT: usize = 8 * 1024;

const MAX_CODES: usize = 32;
pub(super) const MAX_ELEMENTS: usize = 16;

/// What an error's JSON contains, before it is classified.
#[derive(Debug, Default)]
pub(crate) struct ErrorBody {
    /// Codes, types and statuses in [normal form](code::normal), with the provider that a code belongs to by its
    /// place.
    pub(crate) codes: Vec<(Option<Provider>, String)>,
    /// All messages, one to a line.
    pub(crate) text: String,
    /// The HTTP status in the body. It repeats that of the response, or is the only one.
    pub(crate) status: Option<u16>,
    /// A delay in a field of its own.
    pub(crate) delay: Option<Duration>,
    pub(crate) quotas: Vec<google::Quota>,
    /// Headers of an upstream provider (OpenRouter).
    pub(crate) headers: HeaderMap,
    /// The provider that the shape belongs to, if it is known.
    pub(crate) provider: Option<Provider>,
}

// === impl ErrorBody ===

impl ErrorBody {
    /// Returns the codes that have the same meaning at every provider.
    pub(crate) fn common_codes(&self) -> impl Iterator<Item = &str> {
        let common = self.codes.iter().filter(|(owner, _)| owner.is_none());
        common.map(|(_, code)| &**code)
    }

    /// Sets the provider by its shape. Google writes its statuses in capitals or says `google.rpc`. Only
    /// OpenRouter has this metadata, only Mistral repeats the status under this name, and only Z.ai sends
    /// nothing but four digits and a message.
    pub(super) fn recognise(&mut self, object: &Map<String, Value>) {
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

    pub(super) fn add_code(&mut self, code: &str, owner: Option<Provider>) {
        let Some(code) = code::normal(code) else {
            return;
        };
        if let Ok(status @ 400..=599) = code.parse::<u16>() {
            self.status = self.status.or(Some(status));
        }
        if self.codes.len() < MAX_CODES {
            self.codes.push((owner, code));
        }
    }

    pub(super) fn add_text(&mut self, text: &str) {
        let room = MAX_TEXT.saturating_sub(self.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&text[..end]);
        self.text.push('\n');
    }

    pub(super) fn add_headers(&mut self, headers: &Map<String, Value>) {
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

    pub(super) fn add(&mut self, other: Self) {
        self.codes.extend(other.codes);
        self.add_text(&other.text);
        self.status = self.status.or(other.status);
        self.delay = self.delay.max(other.delay);
        self.quotas.extend(other.quotas);
        self.headers.extend(other.headers);
        self.provider = self.provider.or(other.provider);
    }
}

/// Whether it has the form of Z.ai's codes.
pub(super) fn has_four_digits(code: &str) -> bool {
    code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_digit())
}
