//! The one door to time, and the bounds that timers impose. Every other file takes `now` as an argument.

use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// A timer counts whole milliseconds and rounds up, and the work between two timers takes time too.
pub(crate) const TIMER_SLACK: Duration = Duration::from_millis(2);

/// Longer than any call. A later instant may lie outside the clock's range.
pub(crate) const FAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads the monotonic clock. It is tokio's, so that tests can pause it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Makes a timer, as a wait does, and drops it.
///
/// # Panics
///
/// As tokio does, if this thread is in no runtime of tokio, or if the runtime has no timers.
pub(crate) fn require_timer() {
    drop(tokio::time::sleep(Duration::ZERO));
}

/// `at + wait`, or an instant that no call reaches if the sum lies outside the clock's range.
pub(crate) fn after(at: Instant, wait: Duration) -> Instant {
    at.checked_add(wait).unwrap_or_else(|| at + FAR)
}

/// The time of one decision: read from the clock on first use, and constant from then on.
#[derive(Default)]
pub(crate) struct LazyNow(Cell<Option<Instant>>);

impl LazyNow {
    pub(crate) fn now(&self) -> Instant {
        let now = self.0.get().unwrap_or_else(now);
        self.0.set(Some(now));
        now
    }
}

/// Reads the calendar, for dates on a response that has no `Date` of its own.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
