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

/// What is remembered of the past: older requests count half, a quarter and so on.
const MEMORY: u32 = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// How many of the last requests were rejected one after the other.
    run: u32,
    /// When the last rejection came, and the latest moment at which it was decided.
    last: Option<Last>,
    passed: u32,
    /// After how many rejections the next request passed, and after how many it was rejected too.
    alone: u32,
    repeated: u32,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    came: Instant,
    decided: Instant,
    /// Whether it is known what became of the next request.
    has_next: bool,
}

// === impl Refusals ===

impl Refusals {
    /// Records a rejection; one of a request that was sent before the last one came is the same.
    pub(super) fn reject(&mut self, sent: Instant, decided: Instant, now: Instant) {
        if self.last.is_none_or(|last| sent >= last.came) {
            self.run = self.run.saturating_add(1);
        }
        let is_next = |last: &Last| !last.has_next && sent > last.decided;
        self.repeated += u32::from(self.last.as_ref().is_some_and(is_next));
        self.last = Some(Last {
            came: now,
            decided,
            has_next: false,
        });
    }

    /// Records a success. A rejection stood alone if a request passed that was sent right afterwards, and
    /// sooner than any window ends: `soon`.
    pub(super) fn pass(&mut self, sent: Instant, soon: Duration) {
        self.passed += 1;
        let soon = soon.min(REJECTION_LATENCY * 9 / 10);
        if let Some(last) = self.last.as_mut().filter(|last| sent > last.decided) {
            self.run = 0;
            let is_next = !last.has_next && sent < last.decided + soon;
            self.alone += u32::from(is_next);
            last.has_next = true;
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

    /// Returns whether most rejections stood alone.
    pub(super) fn are_chance(&self) -> bool {
        self.alone > self.repeated
    }

    /// Returns how many rejections stood alone.
    pub(super) fn alone(&self) -> u32 {
        self.alone
    }

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
