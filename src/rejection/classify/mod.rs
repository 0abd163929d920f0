//! From evidence to a [`Rejection`]: the reason first, then the limit, then the delay.

mod buckets;
mod delay;
mod evidence;
mod limit;
mod plan;
mod quotes;
mod signals;

use std::time::SystemTime;

use http::HeaderMap;

pub(super) use self::evidence::trust;
use self::{buckets::RejectionBuckets, evidence::Evidence};
use super::{parse::error_body::ErrorBody, provider::Provider, signal::Signal, types::Rejection};

/// Classifies a response, or an event in a stream; `None` if nothing gives a reason. An event has neither
/// status nor headers.
pub(super) fn classify(
    provider: Provider,
    status: Option<u16>,
    headers: &HeaderMap,
    body: ErrorBody,
    now: SystemTime,
) -> Option<Rejection> {
    // OpenAI's 401 for an `openai-organization` that does not belong to the key (openai/codex#1000): the
    // caller sent it, and it says nothing about the key.
    if body
        .common_codes()
        .any(|it| it == "mismatched_organization")
    {
        return None;
    }
    let evidence = Evidence::new(provider, status, headers, body, now);
    let mut signal = Signal::merge(&evidence.signals());
    signal.reason?;
    let buckets = RejectionBuckets::new(&evidence);
    let stated = evidence.stated_limits();
    evidence.name_limit(&mut signal, &buckets, &stated);
    evidence.correct(&mut signal, &buckets);
    let mut rejection = signal.rejection()?;
    rejection.numbers = evidence.numbers(&rejection, &stated);
    rejection.should_retry = match evidence.header("x-should-retry") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    rejection.retry_after = evidence.hint(&rejection, &buckets);
    evidence.adjust(&mut rejection);
    Some(rejection)
}
