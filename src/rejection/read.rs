//! The ways in: a head, a head with its body, or an event of a stream.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode, response};

use super::{
    classify::{classify, trust},
    parse::{error_body::ErrorBody, error_json, event, retry_after, sse::SseEvent},
    provider::Provider,
    types::Rejection,
};
use crate::request::content_coding;

// === impl Rejection ===

impl Rejection {
    /// Reads a response's head; `None` if neither its status nor its error header makes it a rejection.
    ///
    /// `now` is the calendar time at which the response arrived. It is used only for dates in a response that
    /// has no readable `Date`.
    pub fn from_head(head: &response::Parts, now: SystemTime) -> Option<Self> {
        Self::from_answer(None, head.status, &head.headers, now)
    }

    /// Reads a response's head and its body.
    ///
    /// Only the head counts if the body has none of the [forms](super#what-the-fields-come-in) that are read.
    /// Examples are HTML and a body that is compressed, cut off or longer than 64 KiB. The body of a success
    /// counts only if it is marked as an error, as OpenRouter sends it.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_429::rejection::{Dimension, Reason, Rejection, Window};
    ///
    /// let (head, body) = http::Response::builder()
    ///     .status(429)
    ///     .body(r#"{"error": {"message": "Limit on tokens per min (TPM). Try again in 644ms."}}"#)?
    ///     .into_parts();
    /// let rejection = Rejection::from_parts(&head, body.as_bytes(), SystemTime::now()).unwrap();
    /// assert_eq!(rejection.reason, Reason::RateLimited);
    /// assert_eq!(rejection.dimension, Some(Dimension::Tokens));
    /// assert_eq!(rejection.window, Some(Window::Minute));
    /// assert_eq!(rejection.retry_after, Some(Duration::from_millis(644)));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn from_parts(head: &response::Parts, body: &[u8], now: SystemTime) -> Option<Self> {
        Provider::guess(None, &head.headers).rejection(head, body, now)
    }

    /// Reads one event of a stream whose response was a success; `None` if it is no error or no rejection.
    ///
    /// `name` is the event's name if it has one: SSE's `event`, or `:exception-type` in AWS's
    /// event streams. `data` is its JSON.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_429::rejection::{Reason, Rejection};
    ///
    /// let data = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    /// let rejection = Rejection::from_event(Some("error"), data, SystemTime::now()).unwrap();
    /// assert_eq!(rejection.reason, Reason::Overloaded);
    ///
    /// let data = br#"{"choices":[{"delta":{"content":"Overloaded"}}]}"#;
    /// assert_eq!(Rejection::from_event(None, data, SystemTime::now()), None);
    /// ```
    pub fn from_event(name: Option<&str>, data: &[u8], now: SystemTime) -> Option<Self> {
        Provider::Generic.event(name, data, now)
    }

    /// As [`from_head`](Self::from_head), if the host of the request is known.
    pub(crate) fn from_answer(
        host: Option<&str>,
        status: StatusCode,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Option<Self> {
        // The headers of a success are not read.
        if status.as_u16() < 400 {
            return None;
        }
        let provider = Provider::guess(host, headers);
        let body = ErrorBody::default();
        classify(provider, Some(status.as_u16()), headers, body, now)
    }
}

// === impl Provider ===

impl Provider {
    /// As [`Rejection::from_parts`], if the provider is known.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_429::rejection::{Provider, Scope};
    ///
    /// let (head, body) = http::Response::builder()
    ///     .status(429)
    ///     .body(r#"{"status": 429, "title": "Too Many Requests"}"#)?
    ///     .into_parts();
    /// let rejection = Provider::Nvidia.rejection(&head, body.as_bytes(), SystemTime::now()).unwrap();
    /// assert_eq!(rejection.scope, Some(Scope::Account));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn rejection(
        self,
        head: &response::Parts,
        body: &[u8],
        now: SystemTime,
    ) -> Option<Rejection> {
        let headers = &head.headers;
        let clock = retry_after::date(headers).unwrap_or(now);
        let is_plain = content_coding::is_identity(headers);
        // An error in a success has no status, unless its body contains one.
        let status = Some(head.status.as_u16()).filter(|status| *status >= 400);
        let read = || match head.status.is_success() {
            true => event::read(None, None, body, clock),
            false => error_json::read(body, trust(status), clock),
        };
        let body = is_plain.then(read).flatten();
        if status.is_none() && body.is_none() {
            return None;
        }
        classify(self, status, headers, body.unwrap_or_default(), clock)
    }

    /// As [`Rejection::from_event`], if the provider is known.
    pub fn event(self, name: Option<&str>, data: &[u8], now: SystemTime) -> Option<Rejection> {
        let body = event::read(name, None, data, now)?;
        classify(self, None, &HeaderMap::new(), body, now)
    }

    /// As [`event`](Self::event), for an event that may have a status of its own.
    pub(crate) fn first_event(self, event: &SseEvent, now: SystemTime) -> Option<Rejection> {
        let body = event::read(event.name.as_deref(), event.status, &event.data, now)?;
        classify(self, None, &HeaderMap::new(), body, now)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::types::Reason, *};

    fn read(status: u16, headers: &[(&str, &str)]) -> Option<Rejection> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        Rejection::from_head(&head, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn status_gives_the_reason() {
        let reason = |status| read(status, &[]).map(|rejection| rejection.reason);
        assert_eq!(reason(429), Some(Reason::RateLimited));
        assert_eq!(reason(402), Some(Reason::QuotaExhausted));
        assert_eq!(reason(401), Some(Reason::KeyRejected));
        assert_eq!(reason(413), Some(Reason::TooLarge));
        for overloaded in [498, 503, 529] {
            assert_eq!(reason(overloaded), Some(Reason::Overloaded));
        }
        for other in [200, 204, 301, 400, 403, 404, 408, 500, 502, 504] {
            assert_eq!(reason(other), None, "{other}");
        }
    }

    #[test]
    fn x_should_retry_is_read_only_if_it_is_true_or_false() {
        let should_retry = |value| {
            read(429, &[("x-should-retry", value)])
                .unwrap()
                .should_retry
        };
        assert_eq!(should_retry("true"), Some(true));
        assert_eq!(should_retry("false"), Some(false));
        assert_eq!(should_retry("maybe"), None);
        assert_eq!(read(429, &[]).unwrap().should_retry, None);
    }
}
