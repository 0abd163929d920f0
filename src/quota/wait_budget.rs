//! How long and how often one call waits for a permit.

use std::time::Duration;

use tokio::time::Instant;

use super::timing::MIN_SLEEP;

/// How often a rejected call waits. Guesses double, so that its failed sends spread over eleven
/// minutes. A provider with correct hints admits the call long before.
const MAX_WAITS: u32 = 16;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WaitBudget {
    end: Option<Instant>,
    waits: u32,
}

// === impl WaitBudget ===

impl WaitBudget {
    /// Returns until when the call may wait: `end`, as it was when this was called first, or before the
    /// deadline of the whole call.
    pub(crate) fn end(
        &mut self,
        end: Instant,
        until_deadline: Option<Duration>,
        now: Instant,
    ) -> Instant {
        let end = *self.end.get_or_insert(end);
        until_deadline.map_or(end, |left| end.min(now + left))
    }

    pub(crate) fn has_waited(&self) -> bool {
        self.waits > 0
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.waits >= MAX_WAITS
    }

    pub(crate) fn count_wait(&mut self) {
        self.waits += 1;
    }
}

/// Returns a departure that leaves a call half of its time until `end`.
pub(crate) fn in_time(at: Instant, end: Instant, now: Instant) -> Instant {
    at.min(now + end.saturating_duration_since(now) / 2)
}

/// Returns when a waiter polls again.
pub(crate) fn poll_again(at: Option<Instant>, end: Instant, now: Instant) -> Instant {
    at.map_or(end, |at| at.min(end)).max(now + MIN_SLEEP)
}
