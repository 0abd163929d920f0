//! What responses have shown of a provider's limits, whatever the key. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    chance::Chance,
    concurrency::SilentCeilings,
    period::WindowLength,
    tokens::{Calibration, Refill},
};
use crate::{
    quota::timing::{DISTRUST, LEAST_LATENCY, REJECTION_LATENCY, VERIFY_TIMEOUT},
    rejection::Dimension,
};

/// So many successes where nothing should be left disprove the report.
const DISPROVED: u64 = 4;

/// Shared by the limits of one kind, such as those of all keys of a pool for one model.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProviderTraits {
    /// How many passed on some limit until an unexpected rejection.
    pub(super) typical: Option<u64>,
    /// How long a window lasts.
    pub(super) period: WindowLength,
    pub(super) chance: Chance,
    /// What tokens cost, and how limits on them refill.
    pub(super) tokens: Calibration,
    /// How many requests may be in flight on some limit.
    pub(super) typical_concurrency: Option<u64>,
    /// Whether rejections that say nothing come of requests in flight.
    pub(super) silent: SilentCeilings,
    /// How many limits of the kind there are.
    limits: u32,
    /// How long the slowest rejection took, of those that came at once.
    slowest_rejection: Option<Duration>,
    /// Whether any limit has been met or reported. Most limits of keys and of groups never are.
    pub(super) is_limited: bool,
    /// Whether calls in the background use the limits. What they leave to others is not counted before.
    pub(super) has_background: bool,
    /// Whether the whole limit is available again when a window ends, unlike where windows slide.
    pub(super) refills_at_once: Option<bool>,
    /// How limits on requests refill, if their resets show it.
    pub(super) requests_refill: Refill,
    /// Whether "nothing left" is true, by what is counted. What is missing here was not tested.
    verifications: Vec<(Dimension, Verification)>,
}

#[derive(Clone, Copy, Debug)]
enum Verification {
    /// A request was sent at that time though nothing should be left.
    RunningSince(Instant),
    /// It was rejected.
    Confirmed,
    /// Too many have passed: reports are ignored until then.
    Disproved(Instant),
}

// === impl ProviderTraits ===

impl ProviderTraits {
    /// Returns whether any limit has been met or reported.
    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Returns the number of a new limit.
    pub(super) fn next_number(&mut self) -> u32 {
        self.limits = self.limits.saturating_add(1);
        self.limits
    }

    /// Returns whether one of several limits has searched for long enough without success.
    pub(super) fn was_last_to_search(&self, number: u32) -> bool {
        self.limits > 1 && self.period.was_searched_by(number)
    }

    /// Returns after which time a request that was not rejected has passed, however long its response takes.
    pub(super) fn latency(&self) -> Duration {
        let slowest = self.slowest_rejection.map(|slowest| slowest * 3);
        let latency = slowest.unwrap_or(REJECTION_LATENCY);
        latency.clamp(LEAST_LATENCY, REJECTION_LATENCY)
    }

    /// Notes how long a rejection took.
    pub(super) fn rejected_within(&mut self, took: Duration) {
        if took < REJECTION_LATENCY {
            self.slowest_rejection = self.slowest_rejection.max(Some(took));
        }
    }

    fn get(&self, dimension: Dimension) -> Option<Verification> {
        let mut known = self.verifications.iter();
        known.find_map(|(of, it)| (*of == dimension).then_some(*it))
    }

    fn set(&mut self, dimension: Dimension, verification: Verification) {
        self.verifications.retain(|(of, _)| *of != dimension);
        self.verifications.push((dimension, verification));
    }

    /// Returns what was truly reported as "nothing left", and what falsely.
    #[cfg(feature = "share")]
    pub(super) fn verified(&self, now: Instant) -> (Vec<Dimension>, Vec<Dimension>) {
        let (mut confirmed, mut disproved) = (Vec::new(), Vec::new());
        for (dimension, verification) in &self.verifications {
            match verification {
                Verification::Confirmed => confirmed.push(*dimension),
                Verification::Disproved(until) if now < *until => disproved.push(*dimension),
                Verification::Disproved(_) | Verification::RunningSince(_) => {}
            }
        }
        (confirmed, disproved)
    }

    /// Notes that another process has found "nothing left" to be false, unless this one knows whether it is true.
    #[cfg(feature = "share")]
    pub(super) fn disprove(&mut self, dimension: Dimension, now: Instant) {
        let known = self.get(dimension);
        if matches!(known, None | Some(Verification::RunningSince(_))) {
            self.set(dimension, Verification::Disproved(now + DISTRUST));
        }
    }

    /// Returns whether reports of this are used.
    pub(super) fn trusts(&self, dimension: Dimension, now: Instant) -> bool {
        !matches!(self.get(dimension), Some(Verification::Disproved(until)) if now < until)
    }

    /// Returns how many requests to have in flight where nothing should be left, to find out if that is
    /// true. `passed` is how many have passed if it is tested there already.
    pub(super) fn tests(&self, dimension: Dimension, passed: Option<u64>, now: Instant) -> u64 {
        match (self.get(dimension), passed) {
            (Some(Verification::Confirmed), _) => 0,
            (_, Some(passed)) => passed + 1,
            (Some(Verification::RunningSince(at)), None) => u64::from(now >= at + VERIFY_TIMEOUT),
            (None | Some(Verification::Disproved(_)), None) => 1,
        }
    }

    /// Returns when a test on another limit counts as lost, so that it is made again on this one.
    pub(super) fn next_test(&self, dimension: Dimension, now: Instant) -> Option<Instant> {
        match self.get(dimension)? {
            Verification::RunningSince(at) => Some(at + VERIFY_TIMEOUT).filter(|at| *at > now),
            Verification::Confirmed | Verification::Disproved(_) => None,
        }
    }

    /// Notes that a request is sent where nothing should be left.
    pub(super) fn test(&mut self, dimension: Dimension, now: Instant) {
        if !matches!(self.get(dimension), Some(Verification::Confirmed)) {
            self.set(dimension, Verification::RunningSince(now));
        }
    }

    /// Notes that such a request was rejected.
    pub(super) fn confirm(&mut self, dimension: Dimension) {
        self.set(dimension, Verification::Confirmed);
    }

    /// Notes how many have passed where only what was `refilled` since should have.
    pub(super) fn count_passed(
        &mut self,
        dimension: Dimension,
        passed: u64,
        refilled: u64,
        now: Instant,
    ) {
        let is_confirmed = matches!(self.get(dimension), Some(Verification::Confirmed));
        if passed >= DISPROVED.saturating_add(refilled) && !is_confirmed {
            self.set(dimension, Verification::Disproved(now + DISTRUST));
        }
    }
}

#[cfg(test)]
mod tests;
