//! What the layer is set to, and which bodies it reads.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header, response, uri::Authority};

use super::first_event::Sniffer;
use crate::{
    clock,
    rejection::{Provider, Rejection},
    request::content_coding,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct InspectSettings {
    pub(super) limit: usize,
    pub(super) max_wait: Duration,
    pub(super) first_event: Option<Duration>,
    pub(super) provider: Option<Provider>,
}

/// Marks a response whose body was read, because a second layer would wait as long again.
#[derive(Clone, Copy)]
pub(super) struct Inspected;

// === impl InspectSettings ===

impl InspectSettings {
    /// Returns what to look for in the body, and how long; `None` if it is not to be read.
    pub(super) fn plan(
        &self,
        head: &response::Parts,
        host: Option<&Authority>,
    ) -> Option<(Option<Sniffer>, Duration)> {
        let is_known = head.extensions.get::<Rejection>().is_some();
        if is_known || head.extensions.get::<Inspected>().is_some() {
            return None;
        }
        if !content_coding::is_identity(&head.headers) {
            return None;
        }
        if is_readable_error(head.status, &head.headers) {
            return Some((None, self.max_wait));
        }
        let max_wait = self.first_event.filter(|_| head.status.is_success())?;
        let provider = self.provider(host, &head.headers);
        let has_late_errors = provider.has_errors_in_successes();
        let sniffer = Sniffer::new(&media_type(&head.headers)?, has_late_errors)?;
        Some((Some(sniffer), max_wait))
    }

    /// Stores what the head alone says, unless a rejection is there already.
    pub(super) fn read_head(&self, head: &mut response::Parts, host: Option<&Authority>) {
        if head.extensions.get::<Rejection>().is_none() && !head.status.is_success() {
            let provider = self.provider(host, &head.headers);
            if let Some(rejection) = provider.rejection(head, &[], clock::wall()) {
                head.extensions.insert(rejection);
            }
        }
    }

    pub(super) fn provider(&self, host: Option<&Authority>, headers: &HeaderMap) -> Provider {
        let host = host.map(Authority::host);
        self.provider
            .unwrap_or_else(|| Provider::guess(host, headers))
    }
}

/// Whether it is an error in JSON, XML or text.
fn is_readable_error(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_error = status.is_client_error() || status.is_server_error();
    // `application/problem+json`, Amazon's `application/x-amz-json-1.1` and `application/xml`
    let is_text =
        |kind: String| kind.starts_with("text/") || kind.contains("json") || kind.contains("xml");
    is_error && media_type(headers).is_none_or(is_text)
}

/// Returns the media type in lower case, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = kind.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::{super::InspectLayer, *};

    #[test]
    fn error_is_read_unless_it_has_a_content_coding() {
        for (coding, expected) in [("", true), ("identity", true), ("gzip", false)] {
            let response = Response::builder()
                .status(429)
                .header(header::CONTENT_ENCODING, coding);
            let (head, ()) = response.body(()).unwrap().into_parts();
            let plan = InspectLayer::new().settings.plan(&head, None);
            assert_eq!(plan.is_some(), expected, "{coding:?}");
        }
    }
}
