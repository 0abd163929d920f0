//! Whether a rejection without a hint is a verdict on the limit, or on that request alone. Pure.
//!
//! A limit that is met rejects everything until it opens again; a server that sheds load rejects some. One
//! rejection looks the same in both. What tells them apart is what was sent right afterwards: if that passes,
//! the rejection stood alone. The share of those among all says how many rejections in a row are too many to
//! be chance.
//!
//! Others do the same with fixed numbers. Linkerd's failure accrual takes seven failures in a row
//! (<https://linkerd.io/2/reference/circuit-breaking/>), Envoy's outlier detection five
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>).

use std::time::Duration;

use tokio::time::Instant;

use crate::quota::timing::REJECTION_LATENCY;

/// A run of rejections that chance would bring less often than once in so many.
const CHANCE: f64 = 1_000.0;

/// As many in a row are a verdict whatever the share, as in linkerd.
const LONGEST_RUN: u32 = 7;

/// An overload is no limit, and passes: one rejection alone says little.
const OVERLOADED_RUN: u32 = 3;

/// So many requests in a row that pass right after a rejection show that it stood alone. Fewer may be what a
/// bucket has been filled with since.
const STREAK: u32 = 3;

/// What is remembered of the past: older requests count half, a quarter and so on.
const MEMORY: u32 = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// How many rejections came one after the other. Those of requests that were in flight together are one.
    run: u32,
    last: Option<Last>,
    passed: u32,
    /// After how many rejections the next requests passed, and after how many they did not.
    alone: u32,
    repeated: u32,
}

/// The last rejection.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// When the first came of those that are one.
    came: Instant,
    /// The latest moment at which it was decided.
    decided: Instant,
    /// What passes later may pass because the limit has opened again.
    until: Instant,
    /// How many have passed since, one after the other.
    streak: u32,
}

// === impl Refusals ===

impl Refusals {
    /// Records a rejection of a request that was sent in a window that ends at `window_end`.
    pub(super) fn reject(
        &mut self,
        (sent, now): (Instant, Instant),
        decided: Instant,
        window_end: Option<Instant>,
    ) {
        let is_new = |last: &Last| sent >= last.came;
        if let Some(last) = self.last.as_mut().filter(|last| !is_new(last)) {
            last.decided = last.decided.max(decided);
            last.streak = 0;
            return;
        }
        if self.last.is_some_and(|last| last.streak < STREAK && sent < last.until) {
            self.repeated += 1;
        }
        self.run = self.run.saturating_add(1);
        let soon = decided + REJECTION_LATENCY * 9 / 10;
        let window_end = window_end.filter(|end| *end > now);
        self.last = Some(Last {
            came: now,
            decided,
            until: window_end.map_or(soon, |end| end.min(soon)),
            streak: 0,
        });
    }

    /// Records a success. A rejection stood alone if requests pass that were sent right afterwards.
    pub(super) fn pass(&mut self, sent: Instant) {
        self.passed += 1;
        if let Some(last) = self.last.as_mut().filter(|last| sent > last.decided) {
            self.run = 0;
            let was_alone = last.streak >= STREAK;
            last.streak += u32::from(sent < last.until);
            self.alone += u32::from(!was_alone && last.streak >= STREAK);
        }
        if self.passed > MEMORY {
            for count in [&mut self.passed, &mut self.alone, &mut self.repeated] {
                *count /= 2;
            }
        }
    }

    /// Returns whether so many rejections in a row are more than chance.
    pub(super) fn is_verdict(&self, is_overload: bool) -> bool {
        let least = if is_overload { OVERLOADED_RUN } else { 1 };
        self.run >= self.needed().max(least)
    }

    /// Returns whether most rejections stood alone. One alone proves nothing yet.
    pub(super) fn are_chance(&self) -> bool {
        self.alone > self.repeated.max(1)
    }

    /// Returns how many rejections stood alone.
    pub(super) fn alone(&self) -> u32 {
        self.alone
    }

    /// Returns how many in a row chance brings less often than once in [`CHANCE`].
    fn needed(&self) -> u32 {
        if !self.are_chance() {
            return 1;
        }
        let share = f64::from(self.alone) / f64::from(self.alone + self.passed);
        let mut run = 1;
        let mut chance = share;
        while chance * CHANCE > 1.0 && run < LONGEST_RUN {
            chance *= share;
            run += 1;
        }
        run
    }
}
