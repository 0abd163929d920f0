//! What a rejection does to a limit: it may come by chance, or close the limit. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    LimitState, ProviderTraits,
    chance::{FEW, OVERLOADED_RUN},
    cooldown,
    remaining::Remaining,
};
use crate::{
    quota::timing::{COUNTED_TOGETHER, REJECTION_LATENCY},
    rejection::{Bucket, Reason, Rejection},
    request::Cost,
};

// === impl LimitState ===

impl LimitState {
    /// Records a rejection, and what its response reports.
    pub(crate) fn rejected(
        &mut self,
        traits: &mut ProviderTraits,
        rejection: &Rejection,
        (cost, reports): (Cost, &[Bucket]),
        (sent, now): (Instant, Instant),
        longest_guess: Duration,
    ) {
        traits.is_limited = true;
        let when = (sent, now);
        self.note_rejected(rejection, reports, when);
        self.tokens.reject(traits, rejection, cost, now);
        self.tokens
            .update(traits, reports.iter(), (cost, false), when);
        if self.is_by_concurrency(traits, (rejection, reports), when) {
            self.reported.update(traits, reports.iter(), when);
            return;
        }
        let is_silent = cooldown::is_silent(rejection);
        if is_silent {
            self.observe(traits, rejection, when);
        }
        let is_chance = is_silent && self.may_be_chance(traits, rejection);
        if rejection.reason == Reason::RateLimited {
            self.estimate.count_rejected(traits, when, is_chance);
        }
        if !is_chance {
            self.close(traits, rejection, when, longest_guess);
            self.suspect_concurrency(traits, (rejection, reports), when);
        }
        self.reported.update(traits, reports.iter(), when);
    }

    /// Records a rejection that another process has received, and by which it has closed the limit.
    #[cfg(feature = "share")]
    pub(super) fn rejected_elsewhere(
        &mut self,
        traits: &mut ProviderTraits,
        rejection: &Rejection,
        (cost, reports): (Cost, &[Bucket]),
        when: (Instant, Instant),
        longest_guess: Duration,
    ) {
        traits.is_limited = true;
        self.tokens.reject(traits, rejection, cost, when.1);
        let counted = (cost, false);
        self.tokens.update(traits, reports.iter(), counted, when);
        if rejection.reason == Reason::RateLimited {
            self.estimate.count_rejected(traits, when, false);
        }
        self.close(traits, rejection, when, longest_guess);
        self.reported.update(traits, reports.iter(), when);
    }

    /// Observes what follows a rejection without a hint.
    fn observe(
        &mut self,
        traits: &mut ProviderTraits,
        rejection: &Rejection,
        (sent, now): (Instant, Instant),
    ) {
        if let Some(window) = rejection.window.and_then(cooldown::length_of) {
            traits.period.say(window);
        }
        traits.rejected_within(now.saturating_duration_since(sent));
        let window_end = self.estimate.opens_again(traits, now);
        let (last, from) = self.rejection_run.since();
        let in_flight = |from, to| self.in_flight.between(from, to);
        let between = last.map_or(0, |last| in_flight(last, sent));
        let pending = from.map_or(0, |from| in_flight(from, now + COUNTED_TOGETHER));
        // The rejected one is still counted.
        let others = (between, pending.saturating_sub(1));
        let few = match self.estimate.contradicts_rejection() {
            true => 1,
            false => FEW,
        };
        let when = (sent, now);
        self.rejection_run
            .reject(&mut traits.chance, when, others, few, window_end);
        self.forget_chance(traits);
    }

    /// Records that an inner layer, which keeps limits of its own, had nothing to send with. That shows no
    /// limit, so the limit is closed only if it happens several times in a row, and for a guess.
    pub(crate) fn was_without(
        &mut self,
        traits: &mut ProviderTraits,
        rejection: &Rejection,
        when: (Instant, Instant),
        longest_guess: Duration,
    ) {
        traits.is_limited = true;
        self.rejection_run
            .reject(&mut traits.chance, when, (0, u64::MAX), FEW, None);
        if self
            .rejection_run
            .is_verdict(&traits.chance, OVERLOADED_RUN)
        {
            let window = (None, None);
            self.cooldown
                .reject(rejection, false, when, longest_guess, window);
        }
    }

    /// Returns whether a rejection without a hint may concern its request alone.
    fn may_be_chance(&self, traits: &ProviderTraits, rejection: &Rejection) -> bool {
        let is_overload = rejection.reason == Reason::Overloaded;
        let is_explained = !is_overload && self.estimate.explains_rejection();
        let least = match () {
            () if is_overload => OVERLOADED_RUN,
            () if self.estimate.contradicts_rejection() => self.estimate.run_against(),
            () => 1,
        };
        !is_explained && !self.rejection_run.is_verdict(&traits.chance, least)
    }

    /// Returns whether most rejections come by chance, and show no limit.
    pub(super) fn is_noisy(&self, traits: &ProviderTraits) -> bool {
        traits.chance.is_likely() && !self.estimate.is_met_twice()
    }

    /// Forgets what rejections have shown once they have turned out to be chance.
    pub(super) fn forget_chance(&mut self, traits: &mut ProviderTraits) {
        if self.rejection_run.take_turn(&traits.chance) {
            self.estimate.forget();
            traits.typical = None;
            traits.period.forget();
        }
    }

    /// Closes the limit because of a rejection.
    fn close(
        &mut self,
        traits: &mut ProviderTraits,
        rejection: &Rejection,
        (sent, now): (Instant, Instant),
        longest_guess: Duration,
    ) {
        let was_cooling = self.cooldown.ends_at(now).is_some();
        let remaining = self
            .reported
            .remaining((traits, Default::default()), |_| 0, now);
        let ended = self.cooldown.ended();
        let probe = ended.and_then(|ended| self.in_flight.first_since(ended));
        let has_passed = probe.is_some_and(|at| sent > at + REJECTION_LATENCY);
        let is_window = rejection.reason == Reason::RateLimited && !self.is_noisy(traits);
        let window_end = match is_window {
            true => self.estimate.window_end(traits),
            false => None,
        };
        let window = (self.estimate.opened(now), window_end);
        let when = (sent, now);
        self.cooldown
            .reject(rejection, has_passed, when, longest_guess, window);
        let until = self.cooldown.ends_at(now).unwrap_or(now);
        self.rejection_run.observe_until(until);
        if cooldown::is_silent(rejection) && ended.is_some_and(|ended| ended <= sent) {
            traits.period.search_until(until, self.number, now);
        }
        if rejection.reason != Reason::RateLimited {
            return;
        }
        if let Some(dimension) = self.reported.was_tested(sent) {
            traits.confirm(dimension);
        }
        match remaining {
            Remaining::None(window) => traits.confirm(window.dimension),
            Remaining::Requests(0, _) | Remaining::Guessed(..) => {}
            // How many requests pass says nothing where tokens are counted.
            _ if self.tokens.are_reported() => {}
            _ if was_cooling || self.is_noisy(traits) => {}
            Remaining::Requests(..) | Remaining::Unknown => {
                let young = self.in_flight.younger(traits.latency(), now);
                let closed = (until, cooldown::hint(rejection));
                self.estimate.meet(traits, sent, closed, young);
            }
        }
    }
}
