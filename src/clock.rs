//! The one door to time: every other file takes `now`, or the moment that knows it, as an argument.

use std::{cell::Cell, time::SystemTime};

use tokio::time::Instant;

/// The monotonic clock, tokio's, so that tests can pause it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of one decision: read when it is first asked for, and the same from then on.
#[derive(Default)]
pub(crate) struct Moment(Cell<Option<Instant>>);

impl Moment {
    pub(crate) fn now(&self) -> Instant {
        let now = self.0.get().unwrap_or_else(now);
        self.0.set(Some(now));
        now
    }
}

/// The calendar, for dates on the wire of a response that has no `Date` of its own.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
