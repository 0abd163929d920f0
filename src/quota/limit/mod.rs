//! One limit: what rejections forbid, what the provider reports, what was estimated, and what is in flight.
//! Pure: `now` is an argument.

mod capacity;
mod cooldown;
mod estimate;
mod in_flight;
mod period;
mod provider_traits;
mod recent;
mod refusals;
mod reported;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    quota::timing::{COUNTED_TOGETHER, REJECTION_LATENCY},
    rejection::{Bucket, Dimension, Reason, Rejection},
};
pub(crate) use capacity::{Capacity, End};
use cooldown::{Cooldown, Gate};
pub(crate) use estimate::SlowStart;
use estimate::{Estimate, Headroom};
use in_flight::InFlight;
pub(crate) use provider_traits::ProviderTraits;
use refusals::{FEW, OVERLOADED_RUN, Refusals};
use reported::{Remaining, Reported};

/// What is known of one limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitState {
    cooldown: Cooldown,
    reported: Reported,
    estimate: Estimate,
    in_flight: InFlight,
    refusals: Refusals,
}

// === impl LimitState ===

impl LimitState {
    /// Returns how many more may be sent: few while nothing is known, as `slow_start` says.
    pub(crate) fn capacity(
        &mut self,
        traits: &mut ProviderTraits,
        slow_start: SlowStart,
        now: Instant,
    ) -> Capacity {
        self.forget_chance(traits);
        let probes = match self.gate(traits, now) {
            Ok(probes) => probes,
            Err(capacity) => return capacity,
        };
        let in_flight = &self.in_flight;
        let remaining = self
            .reported
            .remaining(traits, |since| in_flight.since(since), now);
        let (reported, more_at) = match remaining {
            Remaining::None(window) => {
                let tests = traits.tests(window.dimension, window.passed, now);
                if tests > in_flight.since(window.since) {
                    return Capacity::Verify(window.until);
                }
                let again = traits.next_test(window.dimension, now);
                let until = again.map_or(window.until, |at| at.min(window.until));
                return Capacity::Closed(until);
            }
            Remaining::Guessed(0, more_at) => return Capacity::Probing(Some(more_at)),
            Remaining::Guessed(left, more_at) => (left, Some(more_at)),
            Remaining::Requests(left, resets) => (left, resets),
            Remaining::Unknown => (u64::MAX, None),
        };
        if probes {
            // The probe finds out what past rejections have shown, but not where nothing is left.
            return match reported {
                0 => Capacity::Full(more_at),
                _ => Capacity::Available(1),
            };
        }
        let slow_start = match remaining {
            Remaining::Unknown => slow_start,
            _ => SlowStart::Off,
        };
        let has_more = matches!(remaining, Remaining::Requests(left, _) if left > 0);
        let is_noisy = self.is_noisy(traits);
        let headroom = self
            .estimate
            .headroom(in_flight, traits, (slow_start, is_noisy, has_more), now);
        match headroom {
            Headroom::Some(more) if more.min(reported) > 0 => {
                Capacity::Available(more.min(reported))
            }
            Headroom::Some(_) => Capacity::Full(more_at),
            Headroom::Probing(at) => Capacity::Probing(at),
            Headroom::Full(at) => Capacity::Full(at),
            Headroom::UsedUp(at) => Capacity::Closed(at),
        }
    }

    /// Returns whether one request may find out if a guess was right, or else what keeps all from being sent.
    fn gate(&self, traits: &ProviderTraits, now: Instant) -> Result<bool, Capacity> {
        match self.cooldown.gate(now) {
            Gate::Open => Ok(false),
            Gate::Unproven(ended) => match self.probe_ends_at(ended, traits, now) {
                Some(at) if now < at => Err(Capacity::Full(Some(at))),
                Some(_) => Ok(false),
                None => match traits.period.searches_until(traits.latency(), now) {
                    Some(until) => Err(Capacity::Closed(until)),
                    None => Ok(true),
                },
            },
            Gate::Closed(until) => match self.early_test_at(traits, now) {
                Some(at) if at <= now => Ok(true),
                Some(at) => Err(Capacity::Closed(at.min(until))),
                None => Err(Capacity::Closed(until)),
            },
            Gate::Unusable(until) => Err(Capacity::Unusable(until)),
        }
    }

    /// Returns when a request may find out whether a rejection stood alone.
    fn early_test_at(&self, traits: &ProviderTraits, now: Instant) -> Option<Instant> {
        let is_open_question =
            traits.period.may_test_early(traits.chance.counts()) && self.estimate.has_history();
        let at = self
            .cooldown
            .early_test_at(now)
            .filter(|_| is_open_question && self.in_flight.reserved() == 0)?;
        let searches_until = traits.period.searches_until(traits.latency(), now);
        Some(searches_until.map_or(at, |until| at.max(until)))
    }

    /// Returns when it opens again and why it is closed; `None` if it is open.
    pub(crate) fn end(&self, traits: &ProviderTraits, now: Instant) -> Option<End> {
        let exhausted = self.reported.exhausted(traits, now).map(|window| End {
            at: window.until,
            is_unusable: false,
            rejection: Rejection {
                retry_after: Some(window.until - now),
                ..Rejection::new(Reason::RateLimited)
            },
        });
        let ends = self.cooldown.end(now).into_iter().chain(exhausted);
        ends.reduce(End::later)
    }

    /// Returns whether a request may test now if a guess is too long.
    pub(crate) fn allows_early_probe(&self, traits: &ProviderTraits, now: Instant) -> bool {
        self.cooldown.allows_early_probe(now) && self.reported.exhausted(traits, now).is_none()
    }

    /// Counts a request that tests if a guess is too long.
    pub(crate) fn begin_early_probe(&mut self) {
        self.cooldown.begin_early_probe();
    }

    /// That request has ended, with whatever outcome.
    pub(crate) fn end_early_probe(&mut self) {
        self.cooldown.end_early_probe();
    }

    /// Returns the ends of the provider's last hints, both to wait and to have more again.
    pub(crate) fn hints(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> impl Iterator<Item = Instant> {
        let exhausted = self.reported.exhausted(traits, now);
        let hints = [
            self.cooldown.hint(),
            self.reported.ended(),
            exhausted.map(|window| window.until),
        ];
        hints.into_iter().flatten()
    }

    /// Returns whether a rejection that came since `moment` forbids to send now.
    pub(crate) fn was_rejected_since(&self, moment: Instant, now: Instant) -> bool {
        self.cooldown.began_since(moment, now)
    }

    /// Returns until when a rejection of the first request after a cooldown would have come; `None` if there
    /// is no such request, so that the next is the probe.
    fn probe_ends_at(
        &self,
        ended: Instant,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<Instant> {
        let latency = traits.latency();
        match self.in_flight.first_since(ended) {
            Some(sent) => Some(sent + latency),
            // It still waits to be sent.
            None => (self.in_flight.reserved() > 0).then_some(now + latency),
        }
    }

    /// Reserves a place for a request that will be sent.
    pub(crate) fn reserve(&mut self, traits: &mut ProviderTraits, now: Instant) {
        if let Some(window) = self.reported.exhausted(traits, now) {
            self.reported
                .test(window.dimension, window.passed.unwrap_or(0));
            traits.test(window.dimension, now);
        }
        self.in_flight.reserve();
        match self.cooldown.gate(now) {
            Gate::Open => return,
            Gate::Closed(_) => traits.period.test_early(),
            Gate::Unproven(_) | Gate::Unusable(_) => {}
        }
        traits.period.probe(now);
    }

    /// Sends the request of a reservation.
    pub(crate) fn mark_sent(&mut self, traits: &mut ProviderTraits, now: Instant) {
        self.in_flight.send(now);
        self.refusals.send(now);
        self.estimate.sent(traits, now);
    }

    /// Releases the place of a request that was sent at `sent`, or was not.
    pub(crate) fn release(&mut self, sent: Option<Instant>) {
        self.in_flight.remove(sent);
    }

    /// Forgets how many pass in a window.
    pub(crate) fn forget_estimate(&mut self) {
        self.estimate.forget();
    }

    /// Counts a sent request without a visible response, because the provider counts it too.
    pub(crate) fn abandon(&mut self, sent: Instant) {
        self.reported.count_abandoned(sent);
    }

    /// Returns how many requests have a place.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.all()
    }

    /// Records a success, and what its response reports.
    pub(crate) fn succeeded<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        reports: impl Iterator<Item = &'a Bucket> + Clone,
        (sent, now): (Instant, Instant),
    ) {
        self.cooldown.succeed(sent);
        self.refusals.pass(&mut traits.chance, sent, now);
        self.forget_chance(traits);
        traits.period.pass(sent);
        self.estimate.passed(traits, sent, now);
        if self.reported.is_empty() && reports.clone().next().is_none() {
            return;
        }
        traits.is_limited = true;
        let exhausted = self.reported.exhausted(traits, now);
        if let Some(window) = exhausted.filter(|window| window.since <= sent) {
            let of_this = |bucket: &&Bucket| bucket.dimension == window.dimension;
            let mut left = reports.clone().filter(of_this);
            // A report of more means that a new window has begun.
            if left.all(|bucket| bucket.remaining == Some(0)) {
                let passed = window.passed.unwrap_or(0) + 1;
                self.reported.test(window.dimension, passed);
                traits.count_passed(window.dimension, passed, window.refilled(now), now);
            }
        }
        let counts =
            |bucket: &Bucket| bucket.dimension == Dimension::Requests && bucket.remaining.is_some();
        if !reports.clone().any(counts) {
            self.reported.count_one();
        }
        self.reported.update(traits, reports, (sent, now));
    }

    /// Records a rejection, and what its response reports.
    pub(crate) fn rejected(
        &mut self,
        traits: &mut ProviderTraits,
        rejection: &Rejection,
        reports: &[Bucket],
        (sent, now): (Instant, Instant),
        longest_guess: Duration,
    ) {
        traits.is_limited = true;
        let is_silent = cooldown::is_silent(rejection);
        if is_silent {
            if let Some(window) = rejection.window.and_then(cooldown::length_of) {
                traits.period.say(window);
            }
            traits.rejected_within(now.saturating_duration_since(sent));
            let window_end = self.estimate.opens_again(traits, now);
            let (last, from) = self.refusals.since();
            let between = last.map_or(0, |last| self.in_flight.between(last, sent));
            // The rejected one is still counted.
            let pending = from.map_or(0, |from| self.in_flight.between(from, now + COUNTED_TOGETHER));
            let others = (between, pending.saturating_sub(1));
            let few = if self.estimate.contradicts_rejection() { 1 } else { FEW };
            let when = (sent, now);
            self.refusals
                .reject(&mut traits.chance, when, others, few, window_end);
            self.forget_chance(traits);
        }
        if std::env::var("DBG").is_ok() {
            eprintln!("{:?} rejected {:p} bc {:?} sent {:?} chance {} ref {:?} young {} window {:?}", now, &self.estimate as *const _, traits.chance, sent, is_silent && self.may_be_chance(traits, rejection), self.refusals, self.in_flight.younger(traits.latency(), now), self.estimate);
        }
        let is_chance = is_silent && self.may_be_chance(traits, rejection);
        if rejection.reason == Reason::RateLimited {
            self.estimate.count_rejected(traits, (sent, now), is_chance);
        }
        if !is_chance {
            self.close(traits, rejection, (sent, now), longest_guess);
        }
        self.reported.update(traits, reports.iter(), (sent, now));
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
        self.refusals
            .reject(&mut traits.chance, when, (0, u64::MAX), FEW, None);
        if self.refusals.is_verdict(&traits.chance, OVERLOADED_RUN) {
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
        !is_explained && !self.refusals.is_verdict(&traits.chance, least)
    }

    /// Returns whether most rejections come by chance, and show no limit.
    fn is_noisy(&self, traits: &ProviderTraits) -> bool {
        traits.chance.is_likely() && !self.estimate.is_met_twice()
    }

    /// Forgets what rejections have shown once they have turned out to be chance.
    fn forget_chance(&mut self, traits: &mut ProviderTraits) {
        if self.refusals.take_turn(&traits.chance) {
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
        let remaining = self.reported.remaining(traits, |_| 0, now);
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
        self.refusals.observe_until(until);
        if cooldown::is_silent(rejection) && ended.is_some_and(|ended| ended <= sent) {
            traits.period.search_until(until, now);
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
            _ if was_cooling || self.is_noisy(traits) => {}
            Remaining::Requests(..) | Remaining::Unknown => {
                let young = self.in_flight.younger(traits.latency(), now);
                let told = (until, cooldown::hint(rejection));
                self.estimate.meet(traits, sent, told, young);
            }
        }
    }
}

#[cfg(test)]
impl LimitState {
    /// Returns how many are counted as out, by either count.
    pub(crate) fn out(&self) -> u64 {
        self.in_flight.all().max(self.in_flight.of_all_times())
    }
}
