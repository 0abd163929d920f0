//! How many requests the provider reports to be left, whether nothing is left of anything, and when there is
//! more. Pure.
//!
//! [`window`] is the last report on one window.

mod window;

use tokio::time::Instant;

use super::{
    ProviderTraits,
    known::KnownLimit,
    remaining::{ExhaustedWindow, Remaining},
    reserve::Reserve,
};
use crate::{
    quota::replicas::Replicas,
    rejection::{Bucket, Dimension},
};
use window::ReportedWindow;

/// The last report on each window of a limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported {
    windows: Vec<ReportedWindow>,
    /// When the last trusted window ended.
    ended: Option<Instant>,
}

// === impl Reported ===

impl Reported {
    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Records what the response reports to a request that was sent at `sent`.
    pub(super) fn update<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        buckets: impl Iterator<Item = &'a Bucket>,
        (sent, now): (Instant, Instant),
    ) {
        if traits.tokens.is_steady() {
            // A limit on tokens that refills steadily is known better by [`Tokens`](super::Tokens).
            self.windows
                .retain(|window| !window.dimension.is_of_tokens());
        }
        for bucket in buckets {
            if traits.tokens.is_steady() && bucket.dimension.is_of_tokens() {
                continue;
            }
            let known = self.windows.iter_mut().find(|known| known.is_of(bucket));
            let Some(report) = ReportedWindow::new(bucket, (sent, now)) else {
                continue;
            };
            let Some(known) = known else {
                self.windows.push(report);
                continue;
            };
            let is_over = report.resets.is_some_and(|resets| resets <= now);
            if is_over || (report.is_vague && known.is_vague) {
                continue;
            }
            if known.has_ended && known.sent <= sent {
                // The first report after a window's end shows whether the whole limit is available again.
                traits.refills_at_once = Some(known.is_full(report.remaining));
            }
            known.observe_refill(&report, traits);
            known.correct(report, now);
        }
    }

    /// Returns whether a report that ends then is of a window that has ended by an earlier report.
    #[cfg(feature = "share")]
    pub(super) fn has_ended(&self, bucket: &Bucket, resets: Instant) -> bool {
        let mut known = self.windows.iter().filter(|known| known.is_of(bucket));
        known.any(|known| known.has_ended && known.is_near(resets))
    }

    /// Counts a success whose response does not report what is left.
    pub(super) fn count_one(&mut self) {
        self.count_if(|_| true);
        // Nothing is known of an ended window without a report.
        self.windows
            .retain(|window| !window.has_ended && window.is_known());
    }

    /// Counts a request that was sent at `sent`, and whose response is not seen.
    pub(super) fn count_abandoned(&mut self, sent: Instant) {
        self.count_if(|window| !window.has_ended && window.sent <= sent);
        self.windows.retain(ReportedWindow::is_known);
    }

    fn count_if(&mut self, counts: impl Fn(&ReportedWindow) -> bool) {
        for window in &mut self.windows {
            if window.counts_requests() && counts(window) {
                window.remaining = window.remaining.saturating_sub(1);
            }
        }
    }

    /// Returns how many may be sent, less what is `out` since each moment and what is left to others: to calls
    /// of this process, and to other processes.
    pub(super) fn remaining(
        &mut self,
        (traits, (reserve, replicas)): (&ProviderTraits, (Option<Reserve>, Replicas)),
        out: impl Fn(Instant) -> u64,
        now: Instant,
    ) -> Remaining {
        // Most limits are not reported.
        if self.windows.is_empty() {
            return Remaining::Unknown;
        }
        self.roll(traits, now);
        let mut least = Remaining::Unknown;
        for window in self.trusted(traits, now) {
            let reserved = || reserve.map_or(0, |reserve| window.reserved(reserve, traits, now));
            let out = || out(window.sent).saturating_add(reserved());
            least = least.min(match window.exhausted(now) {
                Some(exhausted) => Remaining::None(exhausted),
                None if !window.counts_requests() => continue,
                None if window.is_uncertain(traits) => {
                    let (left, more_at) = window.guess(now);
                    Remaining::Guessed(replicas.part(left).saturating_sub(out()), more_at)
                }
                None => {
                    let left = replicas.part(window.remaining);
                    Remaining::Requests(left.saturating_sub(out()), window.resets)
                }
            });
        }
        least
    }

    /// Returns what is known now of each window that counts no tokens, less what is `out` since each moment.
    pub(super) fn known(
        &self,
        traits: &ProviderTraits,
        out: impl Fn(Instant) -> u64,
        now: Instant,
    ) -> Vec<KnownLimit> {
        let mut rolled = self.clone();
        rolled.roll(traits, now);
        let windows = rolled.trusted(traits, now);
        let windows = windows.filter(|window| !window.dimension.is_of_tokens());
        let known = windows.map(|window| window.known(traits, &out, now));
        known.collect()
    }

    /// Returns the exhausted window that resets last.
    pub(super) fn exhausted(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<ExhaustedWindow> {
        let windows = self.trusted(traits, now);
        let exhausted = windows.filter_map(|window| window.exhausted(now));
        exhausted.max_by_key(|window| window.until)
    }

    /// Returns when the last window ended.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// Records how many have passed since nothing is left of what this counts.
    pub(super) fn test(&mut self, dimension: Dimension, passed: u64) {
        let windows = self.windows.iter_mut();
        for window in windows.filter(|it| it.dimension == dimension && it.remaining == 0) {
            window.passed = Some(passed);
        }
    }

    /// Returns what was exhausted and tested when a request was sent whose rejection comes after the
    /// window's end.
    pub(super) fn was_tested(&self, sent: Instant) -> Option<Dimension> {
        let mut windows = self.windows.iter();
        let window = windows.find(|it| it.has_ended && it.passed.is_some() && sent < it.sent)?;
        Some(window.dimension)
    }

    fn trusted(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> impl Iterator<Item = &ReportedWindow> {
        let windows = self.windows.iter();
        windows.filter(move |window| traits.trusts(window.dimension, now))
    }

    /// Refills each window that has ended, until more is reported.
    fn roll(&mut self, traits: &ProviderTraits, now: Instant) {
        let ended = &mut self.ended;
        self.windows.retain_mut(|window| {
            let Some(resets) = window.resets.filter(|resets| *resets <= now) else {
                return true;
            };
            if traits.trusts(window.dimension, now) {
                *ended = (*ended).max(Some(resets));
            }
            window.remaining = window.limit.unwrap_or_default();
            (window.sent, window.resets, window.has_ended) = (resets, None, true);
            window.first = None;
            window.remaining > 0
        });
    }
}
