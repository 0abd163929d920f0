//! How a limit refills: at the end of a window, or steadily. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{quota::timing::MAX_COOLDOWN, rejection::Bucket};

/// The reset of a report may be rounded to whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

/// How a limit refills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::quota::limit) enum Refill {
    #[default]
    Unknown,
    /// All of it when a window ends: resets say when that is.
    AtOnce,
    /// Steadily, as a token bucket: resets say when all of it is back.
    Steady,
}

/// What one report says of the reset.
#[derive(Clone, Copy, Debug)]
pub(in crate::quota::limit) struct ReportedReset {
    pub(super) used: u64,
    pub(super) reset: Duration,
    pub(super) at: Instant,
}

// === impl ReportedReset ===

impl ReportedReset {
    /// Reads what a report of a request says that was admitted at `at`.
    pub(in crate::quota::limit) fn of(bucket: &Bucket, at: Instant) -> Option<Self> {
        let used = bucket.limit?.checked_sub(bucket.remaining?)?;
        let reset = bucket.reset.filter(|reset| !reset.is_zero())?;
        Some(Self {
            used,
            reset: reset.min(MAX_COOLDOWN),
            at,
        })
    }

    /// Returns how long an empty bucket takes to be full.
    pub(in crate::quota::limit) fn fills_in(self, limit: u64) -> Duration {
        let fills_in = self.reset.as_secs_f64() * limit as f64 / self.used.max(1) as f64;
        Duration::try_from_secs_f64(fills_in).unwrap_or(MAX_COOLDOWN)
    }
}

// === impl Refill ===

impl Refill {
    /// Returns how a limit refills by two of its reports; `None` if they do not show it.
    ///
    /// The end of a window stays where it is, whatever is used. A bucket is full the later, the more is used.
    pub(in crate::quota::limit) fn of(
        limit: u64,
        one: ReportedReset,
        other: ReportedReset,
    ) -> Option<Self> {
        let (first, later) = match one.at <= other.at {
            true => (one, other),
            false => (other, one),
        };
        if first.used == 0 || later.used == 0 {
            return None;
        }
        let end = |report: ReportedReset| report.at + report.reset;
        let moved = end(first).max(end(later)) - end(first).min(end(later));
        // If it is a bucket, the end moves by what is used.
        let fills_in = later.reset.as_secs_f64() * limit as f64 / later.used as f64;
        let since = (later.at - first.at).as_secs_f64();
        let refilled = since * limit as f64 / fills_in;
        let charged = later.used as f64 + refilled - first.used as f64;
        let expected = charged / limit as f64 * fills_in;
        if expected <= 2.0 * rounding(first, later).as_secs_f64() {
            return None;
        }
        match moved.as_secs_f64() {
            moved if moved < expected / 4.0 => Some(Self::AtOnce),
            moved if (moved - expected).abs() < expected / 4.0 => Some(Self::Steady),
            _ => None,
        }
    }
}

/// Returns how far the resets of two reports may be off.
fn rounding(one: ReportedReset, other: ReportedReset) -> Duration {
    let is_whole = |report: ReportedReset| report.reset.subsec_nanos() == 0;
    match is_whole(one) && is_whole(other) {
        true => ROUNDING,
        false => ROUNDING / 20,
    }
}
