//! Whether a rejection without a hint is a verdict on the limit, or on that request alone. Pure.
//!
//! A limit that is met rejects everything until it opens again; a server that sheds load rejects some. One
//! rejection looks the same in both. What tells them apart is what becomes of the requests that are sent
//! right afterwards: if most pass, the rejection came by chance. The share of such rejections among all
//! responses says how many in a row are too many to be chance.
//!
//! Others do the same with fixed numbers. Linkerd's failure accrual takes seven failures in a row
//! (<https://linkerd.io/2/reference/circuit-breaking/>), Envoy's outlier detection five
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>).

use std::mem;

use tokio::time::Instant;

use crate::quota::timing::FIRST_GUESS;

/// A run of rejections that chance would bring less often than once in so many.
const CHANCE: f64 = 1_000.0;

/// As many in a row are a verdict whatever the share, as in linkerd.
const LONGEST_RUN: u32 = 7;

/// An overload is no limit, and passes: one rejection alone says little.
pub(super) const OVERLOADED_RUN: u32 = 3;

/// So many requests have to pass right after a rejection. Fewer may be what a bucket has been filled with.
pub(super) const FEW: u32 = 3;

/// What is remembered of the past: older requests count half, a quarter and so on.
const MEMORY: u32 = 256;

/// How often rejections without a hint came by chance. Shared by the limits of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Chance {
    passed: u32,
    rejected: u32,
    /// How many rejections came by chance, and how many did not.
    by_chance: u32,
    by_limit: u32,
    /// How often it turned out that most came by chance.
    turns: u32,
}

/// The last rejections without a hint of one limit.
#[derive(Clone, Debug, Default)]
pub(super) struct RejectionRun {
    /// How many came one after the other. Those of requests that were in flight together are one.
    run: u32,
    /// When the last of these came.
    last: Option<Instant>,
    observation: Option<Observation>,
    /// What had turned out when this was last read.
    turns: u32,
}

/// What becomes of the requests that are sent right after a rejection.
#[derive(Clone, Copy, Debug)]
struct Observation {
    from: Instant,
    /// What passes later may pass because the limit has opened again.
    until: Instant,
    /// So many have to pass.
    few: u32,
    sent: u32,
    passed: u32,
    rejected: u32,
}

// === impl Chance ===

impl Chance {
    /// Returns whether most rejections come by chance.
    pub(super) fn is_likely(&self) -> bool {
        self.by_chance > self.by_limit.saturating_mul(2)
    }

    /// Returns how many rejections came by chance, and how many did not.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.by_chance, self.by_limit)
    }

    fn judge(&mut self, is_chance: bool) {
        let was_likely = self.is_likely();
        match is_chance {
            true => self.by_chance = self.by_chance.saturating_add(1),
            false => self.by_limit = self.by_limit.saturating_add(1),
        }
        self.turns = self
            .turns
            .wrapping_add(u32::from(self.is_likely() && !was_likely));
    }

    fn pass(&mut self) {
        self.passed += 1;
        if self.passed > MEMORY {
            self.passed /= 2;
            self.rejected /= 2;
            self.by_chance /= 2;
            self.by_limit /= 2;
        }
    }

    /// Returns how many in a row chance brings less often than once in [`CHANCE`].
    fn needed(&self) -> u32 {
        if !self.is_likely() {
            return 1;
        }
        let share = f64::from(self.rejected) / (f64::from(self.rejected) + f64::from(self.passed));
        let mut run = 1;
        let mut chance = share;
        while chance * CHANCE > 1.0 && run < LONGEST_RUN {
            chance *= share;
            run += 1;
        }
        run
    }
}

// === impl RejectionRun ===

impl RejectionRun {
    /// Notes that a request is sent.
    pub(super) fn send(&mut self, now: Instant) {
        if let Some(observation) = self.observation.as_mut().filter(|it| it.covers(now)) {
            observation.sent += 1;
        }
    }

    /// Returns when the last rejection came of those that are counted, and since when it is observed what
    /// follows.
    pub(super) fn since(&self) -> (Option<Instant>, Option<Instant>) {
        (
            self.last,
            self.observation.map(|observation| observation.from),
        )
    }

    /// Records a rejection of a request that was sent in a window that ends at `window_end`. So many requests
    /// that were sent between this one and the last rejection have not been rejected, and so many that were
    /// sent since then are in flight. If as `few` as that pass right afterwards, it came by chance.
    pub(super) fn reject(
        &mut self,
        chance: &mut Chance,
        (sent, now): (Instant, Instant),
        (between, pending): (u64, u64),
        few: u32,
        window_end: Option<Instant>,
    ) {
        chance.rejected = chance.rejected.saturating_add(1);
        if self.last.is_none_or(|last| sent >= last) {
            self.run = if between > 0 {
                1
            } else {
                self.run.saturating_add(1)
            };
            self.last = Some(now);
        }
        if let Some(observation) = self.observation.as_mut().filter(|it| it.covers(sent)) {
            observation.rejected += 1;
            let pending = u32::try_from(pending).unwrap_or(u32::MAX);
            let others = observation.passed.saturating_add(pending);
            if observation.rejected > others.saturating_mul(2).max(1) {
                chance.judge(false);
                self.observation = None;
            }
        }
        self.judge(chance, now);
        if self.observation.is_none() {
            let until = now + FIRST_GUESS;
            self.observation = Some(Observation {
                from: now,
                until: window_end.map_or(until, |end| end.min(until)),
                few,
                sent: 0,
                passed: 0,
                rejected: 0,
            });
        }
    }

    /// What passes after that moment may pass because a cooldown has ended.
    pub(super) fn observe_until(&mut self, end: Instant) {
        if let Some(observation) = &mut self.observation {
            observation.until = observation.until.min(end);
        }
    }

    /// Records a success.
    pub(super) fn pass(&mut self, chance: &mut Chance, sent: Instant, now: Instant) {
        chance.pass();
        if self.last.is_none_or(|last| sent > last) {
            self.run = 0;
        }
        if let Some(observation) = self.observation.as_mut().filter(|it| it.covers(sent)) {
            observation.passed += 1;
        }
        self.judge(chance, now);
    }

    /// Forgets the rejections that were counted, because they have another cause.
    pub(super) fn forget(&mut self) {
        (self.run, self.last, self.observation) = (0, None, None);
    }

    fn judge(&mut self, chance: &mut Chance, now: Instant) {
        let Some(observation) = self.observation else {
            return;
        };
        match observation.is_chance(now) {
            Some(is_chance) => chance.judge(is_chance),
            None if observation.until > now => return,
            None => {}
        }
        self.observation = None;
    }

    /// Returns whether so many rejections in a row are more than chance; fewer than `least` are not.
    pub(super) fn is_verdict(&self, chance: &Chance, least: u32) -> bool {
        self.run >= chance.needed().max(least)
    }

    /// Returns whether it has turned out since the last time that most rejections come by chance.
    pub(super) fn take_turn(&mut self, chance: &Chance) -> bool {
        mem::replace(&mut self.turns, chance.turns) != chance.turns
    }
}

// === impl Observation ===

impl Observation {
    fn covers(&self, sent: Instant) -> bool {
        self.from <= sent && sent < self.until
    }

    /// Returns whether the rejection came by chance, as soon as that is known.
    fn is_chance(&self, now: Instant) -> Option<bool> {
        let most_of = |passed: u32| passed >= self.few && passed > 2 * self.rejected;
        if most_of(self.passed) {
            return Some(true);
        }
        // Responses may take long, and rejections do not.
        let passed = self.sent.saturating_sub(self.rejected);
        match self.until <= now {
            true if most_of(passed) => Some(true),
            true if self.rejected > passed => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
