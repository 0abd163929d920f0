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

mod retry_after;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response, StatusCode, response};

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
    /// What the limit belongs to, where the provider says so.
    pub scope: Option<Scope>,
    /// The hint: how long the provider says to wait, from the moment the response arrived.
    pub retry_after: Option<Duration>,
    /// What `x-should-retry` says of sending the same request again with the same key.
    pub should_retry: Option<bool>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A limit on requests or tokens was reached; time or another key cures it.
    RateLimited,
    /// Money, credits or a plan ran out; waiting does not cure it.
    QuotaExhausted,
    /// The provider has no capacity; another key does not cure it.
    Overloaded,
    /// The key is wrong, expired or revoked.
    KeyRejected,
    /// This request is too large for the limit; neither time nor a key cures it.
    TooLarge,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dimension {
    /// Requests.
    Requests,
    /// Tokens, in and out.
    Tokens,
    /// Requests in flight at once.
    Concurrency,
}

/// The time over which a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Window {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
}

/// What a limit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// One key.
    Key,
    /// All keys of an account, organisation or project.
    Account,
    /// One model of an account.
    Model,
    /// The provider as a whole.
    Platform,
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
            should_retry: None,
        }
    }

    /// Reads a response's head; `None` if its status is no refusal.
    ///
    /// `now` is the calendar time at which the response arrived; it is used only for a
    /// `Retry-After` date on a response that has no readable `Date`.
    pub fn from_head(head: &response::Parts, now: SystemTime) -> Option<Self> {
        Self::read(head.status, &head.headers, now)
    }

    /// As [`from_head`](Self::from_head), of a response that still has its body.
    pub(crate) fn from_response<R>(response: &Response<R>, now: SystemTime) -> Option<Self> {
        Self::read(response.status(), response.headers(), now)
    }

    fn read(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let reason = Reason::from_status(status)?;
        Some(Self {
            retry_after: retry_after::from_headers(headers, now),
            should_retry: should_retry(headers),
            ..Self::new(reason)
        })
    }
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

// === impl Reason ===

impl Reason {
    fn from_status(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
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
