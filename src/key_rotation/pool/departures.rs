//! When keys that were set aside for waiting calls go out: not as one, and not at a hint's very end. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::jitter::Share;

/// Keys that free at one moment go out over this time, so that their requests do not arrive as one.
///
/// It bounds the jitter after a hint too. A key that waits for its turn serves no call, and no answer reports
/// the new window yet: with up to 250 ms, calls on token buckets took 5 to 6 % longer than the limits
/// allow, with this 3 to 4 % (`examples/simulation`).
const SPREAD: Duration = Duration::from_millis(100);
const APART: Duration = Duration::from_millis(2);

/// The last departures so far: no call overtakes an earlier one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Departures {
    plain: Option<Instant>,
    /// By themselves, so that a key that is free does not wait for the jitter of another.
    after_hint: Option<Instant>,
}

/// How far apart so many go out that are set aside at one moment.
pub(super) fn apart(count: usize) -> Duration {
    match u32::try_from(count) {
        Ok(count) if count > 0 => APART.min(SPREAD / count),
        _ => Duration::ZERO,
    }
}

// === impl Departures ===

impl Departures {
    /// When the next key goes out on whose limits no hint has just ended, so long after the last.
    pub(super) fn plain(&mut self, apart: Duration, now: Instant) -> Instant {
        let next = self.plain.map_or(now, |last| (last + apart).max(now));
        *self.plain.insert(next.min(now + SPREAD))
    }

    /// When the next key goes out, for the first of so many calls that wait, if a hint on its limits has just
    /// ended.
    pub(super) fn after_hint(
        &mut self,
        end: Instant,
        waiting: usize,
        random: &mut fastrand::Rng,
        now: Instant,
    ) -> Option<Instant> {
        if end + SPREAD <= now {
            return None;
        }
        let from = self.after_hint.map_or(now, |last| last.max(now));
        let share = Share::least_of(waiting, random);
        let at = end + share.of(SPREAD, from.saturating_duration_since(end));
        Some(*self.after_hint.insert(at.max(from)))
    }
}
