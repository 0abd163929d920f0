//! All that is known about a response that may be a rejection.

use std::{borrow::Cow, time::SystemTime};

use http::HeaderMap;

use super::{
    super::{
        parse::{error_body::ErrorBody, error_json::Trust, retry_after},
        provider::Provider,
    },
    quotes,
};

/// The head and the error body of a response, or an event in a stream. An event has neither status nor
/// headers.
pub(super) struct Evidence<'a> {
    pub(super) provider: Provider,
    /// An error in a success has no status.
    pub(super) status: Option<u16>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: ErrorBody,
    /// All messages of the body in lower case, with one kind of apostrophe.
    pub(super) message: String,
    /// The response's own clock, or when it arrived.
    pub(super) clock: SystemTime,
}

// === impl Evidence ===

impl<'a> Evidence<'a> {
    pub(super) fn new(
        provider: Provider,
        status: Option<u16>,
        headers: &'a HeaderMap,
        body: ErrorBody,
        now: SystemTime,
    ) -> Self {
        Self {
            provider: match provider {
                Provider::Generic => body.provider.unwrap_or_default(),
                known => known,
            },
            status,
            headers,
            message: body.text.to_lowercase().replace('\u{2019}', "'"),
            body,
            clock: retry_after::date(headers).unwrap_or(now),
        }
    }

    /// Returns the sentences of the message that are trusted under this status.
    pub(super) fn sentences(&self) -> Cow<'_, str> {
        match trust(self.status) {
            Trust::All => Cow::Borrowed(&*self.message),
            Trust::Unquoted | Trust::Words => quotes::without(&self.message).into(),
        }
    }

    /// Returns the value of a header, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Returns how far a message is trusted. It may repeat the request, and a model may be named "out of
/// credits".
///
/// A provider that sends 401 or 402 has not read the request to its end.
pub(crate) fn trust(status: Option<u16>) -> Trust {
    match status {
        // Fireworks sends 412 about accounts.
        Some(400 | 404..=411 | 413..429) => Trust::Words,
        Some(403) => Trust::Unquoted,
        _ => Trust::All,
    }
}
