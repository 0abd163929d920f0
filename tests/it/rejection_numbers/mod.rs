//! Numbers, dates and formats of rejections: which bucket rejected, and where the delay is. Each row is one response.

mod buckets;
mod delays;
mod framing;
mod pool;

use std::time::{Duration, SystemTime};

use http::{HeaderName, Response};
use tower_429::rejection::Rejection;

/// 2026-02-10T00:00:00Z
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_681_600)
}

/// Classifies a response whose headers are given as lines.
pub(crate) fn read(status: u16, headers: &str, body: &[u8]) -> Option<Rejection> {
    let mut response = Response::builder().status(status);
    for (name, value) in lines(headers) {
        response = response.header(name, value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Rejection::from_parts(&head, body, now())
}

pub(crate) fn lines(headers: &str) -> impl Iterator<Item = (HeaderName, &str)> {
    let lines = headers.lines().filter_map(|line| line.split_once(": "));
    lines.map(|(name, value)| (name.trim().parse().unwrap(), value))
}

pub(crate) fn hint(rejection: Option<Rejection>) -> Option<u128> {
    Some(rejection?.retry_after?.as_millis())
}
