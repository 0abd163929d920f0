//! What a response says when it says "not now" or "not with this key".
//!
//! A [`Refusal`] is read from the head of a response alone: the status gives the [`Reason`], the
//! headers give the hint. It is pure, so it can be used without any layer:
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use tower_429::refusal::{Reason, Refusal};
//!
//! let (head, ()) = http::Response::builder()
//!     .status(429)
//!     .header("retry-after", "20")
//!     .body(())?
//!     .into_parts();
//! let refusal = Refusal::from_head(&head, SystemTime::now()).expect("a 429 is a refusal");
//! assert_eq!(refusal.reason, Reason::RateLimited);
//! assert_eq!(refusal.retry_after, Some(Duration::from_secs(20)));
//! # Ok::<(), http::Error>(())
//! ```
//!
//! # Which status means what
//!
//! | status | reason | source |
//! |---|---|---|
//! | 429 | [`RateLimited`](Reason::RateLimited) | RFC 6585, section 4 |
//! | 402 | [`QuotaExhausted`](Reason::QuotaExhausted) | Anthropic `billing_error`, DeepSeek "Insufficient Balance", OpenRouter credits |
//! | 401 | [`KeyRejected`](Reason::KeyRejected) | RFC 9110, section 15.5.2 |
//! | 413 | [`TooLarge`](Reason::TooLarge) | RFC 9110, section 15.5.14; Groq |
//! | 498, 503, 529 | [`Overloaded`](Reason::Overloaded) | Groq flex capacity; RFC 9110, section 15.6.4; Anthropic |
//!
//! Everything else, a 403 among it, is no refusal by its head: only the body could tell.
//!
//! # Which headers are a hint
//!
//! `retry-after-ms`, then `retry-after` as an integer, a decimal, or one of the three forms of
//! HTTP-date. A date is measured against the response's own `Date`, so a skewed local clock does not
//! matter. A value is rounded up to the millisecond. A negative, infinite, exponential, unparsable
//! or overlong value (more than a year) is *no hint*, never an error.

mod bucket;
mod codes;
mod cures;
mod decimal;
mod dialect;
mod go_duration;
mod google;
mod kinds;
mod meaning;
mod phrases;
mod prose;
mod rate_limit_field;
mod read;
mod report;
mod reset;
mod retry_after;
mod timespan;
mod timestamp;
mod words;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response, StatusCode, response};

pub use self::{
    bucket::{Bucket, buckets},
    cures::Cures,
    dialect::Dialect,
    kinds::{Dimension, Reason, Scope, Window},
};
use self::{read::Evidence, report::Report};

/// A response that says "not now" or "not with this key".
///
/// The layers leave it in the response's extensions, so an outer layer or the caller can read it.
/// See the [module page](self) for what is read and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Why the request was refused.
    pub reason: Reason,
    /// What was counted, where the provider says so.
    pub dimension: Option<Dimension>,
    /// Over which time it was counted, where the provider says so.
    pub window: Option<Window>,
    /// What the limit belongs to, where the provider says so or is known to mean it.
    pub scope: Option<Scope>,
    /// The hint: how long the provider says to wait, from the moment the response arrived.
    ///
    /// This is what was said, not what to do: Gemini says seconds when a day is gone. Ask
    /// [`time_helps`](Self::time_helps) first.
    pub retry_after: Option<Duration>,
    /// The date from which the provider says it will answer again, where it names a day rather than
    /// a delay; at most a year away.
    pub available_at: Option<SystemTime>,
    /// What `x-should-retry` says of sending the same request again with the same key.
    pub should_retry: Option<bool>,
    /// Where the provider is known to differ from what reason, window and scope imply.
    pub cures: Cures,
}

// === impl Refusal ===

impl Refusal {
    /// A refusal of which nothing but the reason is known.
    ///
    /// ```
    /// use tower_429::refusal::{Reason, Refusal};
    ///
    /// assert_eq!(Refusal::new(Reason::Overloaded).retry_after, None);
    /// ```
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            dimension: None,
            window: None,
            scope: None,
            retry_after: None,
            available_at: None,
            should_retry: None,
            cures: Cures::default(),
        }
    }

    /// Reads a response's head; `None` if it is no refusal by its status or its error header.
    ///
    /// `now` is the calendar time at which the response arrived; it is used only for dates on a
    /// response that has no readable `Date`.
    pub fn from_head(head: &response::Parts, now: SystemTime) -> Option<Self> {
        Self::from_head_parts(head.status, &head.headers, now)
    }

    /// Reads a response's head and its body.
    ///
    /// A body that is no JSON (HTML, compressed, cut off, longer than 64 KiB) leaves what the head
    /// says. Of a success, only a body that is marked as an error is read: OpenRouter sends those.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_429::refusal::{Dimension, Reason, Refusal, Window};
    ///
    /// let (head, body) = http::Response::builder()
    ///     .status(429)
    ///     .body(r#"{"error": {"message": "Limit on tokens per min (TPM). Try again in 644ms."}}"#)?
    ///     .into_parts();
    /// let refusal = Refusal::from_parts(&head, body.as_bytes(), SystemTime::now()).unwrap();
    /// assert_eq!(refusal.reason, Reason::RateLimited);
    /// assert_eq!(refusal.dimension, Some(Dimension::Tokens));
    /// assert_eq!(refusal.window, Some(Window::Minute));
    /// assert_eq!(refusal.retry_after, Some(Duration::from_millis(644)));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn from_parts(head: &response::Parts, body: &[u8], now: SystemTime) -> Option<Self> {
        Dialect::guess(None, &head.headers).refusal(head, body, now)
    }

    /// Reads one event of a stream whose response was a success; `None` if it is no error or no refusal.
    ///
    /// `name` is the event's name where it has one: SSE's `event`, or `:exception-type` in AWS's
    /// event streams. `data` is its JSON.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_429::refusal::{Reason, Refusal};
    ///
    /// let data = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    /// let refusal = Refusal::from_event(Some("error"), data, SystemTime::now()).unwrap();
    /// assert_eq!(refusal.reason, Reason::Overloaded);
    ///
    /// let data = br#"{"choices":[{"delta":{"content":"Overloaded"}}]}"#;
    /// assert_eq!(Refusal::from_event(None, data, SystemTime::now()), None);
    /// ```
    pub fn from_event(name: Option<&str>, data: &[u8], now: SystemTime) -> Option<Self> {
        Dialect::Generic.event(name, data, now)
    }

    /// As [`from_head`](Self::from_head), of a response that still has its body.
    pub(crate) fn from_response<R>(response: &Response<R>, now: SystemTime) -> Option<Self> {
        Self::from_head_parts(response.status(), response.headers(), now)
    }

    fn from_head_parts(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        // A success must not cost a look at its headers.
        if status.as_u16() < 400 {
            return None;
        }
        Self::read(Dialect::guess(None, headers), status, headers, None, now)
    }

    fn read(
        dialect: Dialect,
        status: StatusCode,
        headers: &HeaderMap,
        report: Option<Report>,
        now: SystemTime,
    ) -> Option<Self> {
        if status.as_u16() < 400 && report.is_none() {
            return None;
        }
        let evidence = Evidence {
            dialect,
            // An error in a success has no status but the one that it may name itself.
            status: Some(status.as_u16()).filter(|status| *status >= 400),
            headers,
            report,
            now,
        };
        evidence.refusal()
    }
}

// === impl Dialect ===

impl Dialect {
    /// As [`Refusal::from_parts`], where the provider is known.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_429::refusal::{Dialect, Scope};
    ///
    /// let (head, body) = http::Response::builder()
    ///     .status(429)
    ///     .body(r#"{"status": 429, "title": "Too Many Requests"}"#)?
    ///     .into_parts();
    /// let refusal = Dialect::Nvidia.refusal(&head, body.as_bytes(), SystemTime::now()).unwrap();
    /// assert_eq!(refusal.scope, Some(Scope::Account));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn refusal(self, head: &response::Parts, body: &[u8], now: SystemTime) -> Option<Refusal> {
        let report = if head.status.is_success() {
            read::success(&head.headers, body, now)
        } else {
            read::error(&head.headers, body, now)
        };
        Refusal::read(self, head.status, &head.headers, report, now)
    }

    /// As [`Refusal::from_event`], where the provider is known.
    pub fn event(self, name: Option<&str>, data: &[u8], now: SystemTime) -> Option<Refusal> {
        let report = report::of_event(name, data, now)?;
        Refusal::read(self, StatusCode::OK, &HeaderMap::new(), Some(report), now)
    }
}

// === impl Reason ===

impl Reason {
    fn from_status(status: u16) -> Option<Self> {
        match status {
            429 => Some(Self::RateLimited),
            402 => Some(Self::QuotaExhausted),
            401 => Some(Self::KeyRejected),
            413 => Some(Self::TooLarge),
            498 | 503 | 529 => Some(Self::Overloaded),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&str, &str)]) -> Option<Refusal> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        Refusal::from_head(&head, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn the_status_gives_the_reason() {
        let reason = |status| read(status, &[]).map(|refusal| refusal.reason);
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
    fn x_should_retry_is_told_only_when_it_is_true_or_false() {
        let told = |value| {
            read(429, &[("x-should-retry", value)])
                .unwrap()
                .should_retry
        };
        assert_eq!(told("true"), Some(true));
        assert_eq!(told("false"), Some(false));
        assert_eq!(told("maybe"), None);
        assert_eq!(read(429, &[]).unwrap().should_retry, None);
    }
}
