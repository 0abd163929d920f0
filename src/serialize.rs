//! How times and foreign types are written by serde.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::{Serialize as _, Serializer};
use tokio::time::Instant;

use crate::clock;

/// Writes whole milliseconds, rounded up, so that a wait is never too short.
pub(crate) fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    whole_millis(*time).serialize(serializer)
}

pub(crate) fn optional_millis<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(whole_millis).serialize(serializer)
}

/// Writes the milliseconds from now; 0 for an instant that is over. An instant means nothing to other programs.
pub(crate) fn left<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    left_millis(*at).serialize(serializer)
}

pub(crate) fn optional_left<S: Serializer>(
    at: &Option<Instant>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(left_millis).serialize(serializer)
}

/// Writes the milliseconds that have passed since an instant.
#[cfg(feature = "share")]
pub(crate) fn optional_age<S: Serializer>(
    at: &Option<Instant>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let age = at.map(|at| clock::now().saturating_duration_since(at));
    optional_millis(&age, serializer)
}

/// Writes the seconds since 1970; 0 for an earlier time.
pub(crate) fn optional_unix_seconds<S: Serializer>(
    at: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let since = |at: SystemTime| {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    };
    at.map(|at| since(at).as_secs()).serialize(serializer)
}

pub(crate) fn optional_status<S: Serializer>(
    status: &Option<StatusCode>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    status.map(|status| status.as_u16()).serialize(serializer)
}

fn left_millis(at: Instant) -> u64 {
    whole_millis(at.saturating_duration_since(clock::now()))
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
