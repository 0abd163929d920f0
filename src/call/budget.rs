//! What one call may use up: its time and its sends.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{FAR, TIMER_SLACK};

/// The bounds that a request or a layer sets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_sends: Option<u32>,
}

/// The bounds of a call and its start. A bound of the request replaces those of the layers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    started: Option<Instant>,
    of_request: Limits,
    of_layers: Limits,
}

// === impl Budget ===

impl Budget {
    pub(super) fn new(of_request: Limits) -> Self {
        Self {
            of_request,
            ..Self::default()
        }
    }

    /// Starts the time of the call, unless a layer has already started it.
    pub(super) fn start(&mut self, now: impl FnOnce() -> Instant) {
        self.started.get_or_insert_with(now);
    }

    /// Adds the limits of a layer. The tightest of all layers holds.
    pub(super) fn tighten(&mut self, layer: Limits) {
        let limits = &mut self.of_layers;
        limits.deadline = limits.deadline.into_iter().chain(layer.deadline).min();
        limits.max_sends = limits.max_sends.into_iter().chain(layer.max_sends).min();
    }

    pub(super) fn max_sends(&self) -> Option<u32> {
        self.of_request.max_sends.or(self.of_layers.max_sends)
    }

    /// Returns the time until the deadline, zero once it has passed; `None` if there is no deadline.
    pub(super) fn until_deadline(&self, now: Instant) -> Option<Duration> {
        let deadline = self.of_request.deadline.or(self.of_layers.deadline)?;
        let left = deadline.saturating_sub(self.elapsed(now));
        // A deadline beyond the clock's range counts as absent, because adding it to an instant would overflow.
        (left <= FAR).then_some(left)
    }

    /// Whether the deadline has passed. The timer that cut off the call may have started a moment before the
    /// call.
    pub(super) fn is_timed_out(&self, now: Instant) -> bool {
        let left = self.until_deadline(now);
        left.is_some_and(|left| left <= TIMER_SLACK)
    }

    /// The time since the start of the call.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        let started = self.started.unwrap_or(now);
        now.saturating_duration_since(started)
    }
}
