//! When granted permits are used: not all at one moment, and not exactly at a hint's end. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::timing::{MAX_STAGGER, STAGGER};
use crate::jitter::JitterPart;

/// The last departures. No call overtakes an earlier one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Departures {
    plain: Option<Instant>,
    /// Kept apart, so that a free candidate does not wait for the jitter of another.
    after_hint: Option<Instant>,
}

/// The time between the departures of so many permits that are granted at one moment.
pub(super) fn stagger(count: usize) -> Duration {
    match u32::try_from(count) {
        Ok(count) if count > 0 => STAGGER.min(MAX_STAGGER / count),
        _ => Duration::ZERO,
    }
}

// === impl Departures ===

impl Departures {
    /// Returns the next departure where no hint has just ended, this long after the last.
    pub(super) fn plain(&mut self, stagger: Duration, now: Instant) -> Instant {
        let next = self.plain.map_or(now, |last| (last + stagger).max(now));
        *self.plain.insert(next.min(now + MAX_STAGGER))
    }

    /// Returns the departure of the first of so many waiting calls if a hint has just ended.
    pub(super) fn after_hint(
        &mut self,
        end: Instant,
        waiting: usize,
        random: &mut fastrand::Rng,
        now: Instant,
    ) -> Option<Instant> {
        if end + MAX_STAGGER <= now {
            return None;
        }
        let from = self.after_hint.map_or(now, |last| last.max(now));
        let share = JitterPart::least_of(waiting, random);
        let at = end + share.of(MAX_STAGGER, from.saturating_duration_since(end));
        Some(*self.after_hint.insert(at.max(from)))
    }
}
