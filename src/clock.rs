//! The one door to time: every other file takes `now` as an argument.

use std::time::SystemTime;

use tokio::time::Instant;

/// The monotonic clock, tokio's, so that tests can pause it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The calendar, for dates on the wire of a response that has no `Date` of its own.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
