//! One limit: what rejections forbid, what the provider reports, what was estimated, and what is in flight.
//! Pure: `now` is an argument.
//!
//! [`reported`] keeps what headers say of requests, and whether nothing is left of anything. [`tokens`] keeps
//! how many tokens are left. Both go first. What no header says is learned:
//!
//! - [`cooldown`]: until when nothing is sent after a rejection, by a hint, a known window or a guess.
//! - [`period`]: how long a window lasts.
//! - [`estimate`]: how many requests pass in it. [`recent`]: that no more are sent, wherever it begins.
//! - [`concurrency`]: how many may be in flight.
//! - [`chance`]: whether a rejection is a verdict on the limit, or came by chance.
//! - [`reserve`]: what background calls leave to interactive ones.
//! - [`provider_traits`]: what the limits of one kind share, such as those of a pool's keys for one model.
//!
//! [`rejected`] joins them when a rejection comes, and [`operate`] shows them to operators. `DESIGN.md` gives the
//! reasons ("What no header says" and the sections after it).

mod capacity;
mod chance;
mod concurrency;
mod cooldown;
mod estimate;
mod in_flight;
mod known;
mod operate;
mod period;
mod provider_traits;
mod recent;
mod rejected;
mod remaining;
mod reported;
mod reserve;
mod slots;
mod tokens;

#[cfg(test)]
mod tests;

use tokio::time::Instant;

use super::demand::Demand;
use crate::{
    rejection::{Bucket, Dimension, Reason, Rejection},
    request::Cost,
};
pub(crate) use capacity::{Capacity, End};
use chance::RejectionRun;
use concurrency::Concurrency;
use cooldown::{Cooldown, Gate};
pub(crate) use estimate::SlowStart;
use estimate::{Estimate, Headroom};
use in_flight::InFlight;
pub(crate) use known::KnownLimit;
pub(crate) use provider_traits::ProviderTraits;
use remaining::Remaining;
use reported::Reported;
use reserve::{InteractiveUse, Reserve, look_again};
use tokens::Tokens;

/// What is known of one limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitState {
    cooldown: Cooldown,
    reported: Reported,
    tokens: Tokens,
    concurrency: Concurrency,
    estimate: Estimate,
    in_flight: InFlight,
    interactive: InteractiveUse,
    rejection_run: RejectionRun,
    /// How many may be in flight while nothing is known, as it was said last.
    slow_start: SlowStart,
    /// Its number among the limits of its kind, from 1 on; zero before its first request.
    number: u32,
}

// === impl LimitState ===

impl LimitState {
    /// Returns how many more may be sent that need so much: few while nothing is known, as `slow_start` says.
    pub(crate) fn capacity(
        &mut self,
        traits: &mut ProviderTraits,
        (demand, slow_start): (Demand, SlowStart),
        now: Instant,
    ) -> Capacity {
        self.settle_slots(traits, now);
        self.slow_start = slow_start;
        let reserve = self.interactive.reserve(demand, now);
        let needs = (demand, reserve);
        let by_tokens = self.tokens.capacity(needs, &self.in_flight, traits, now);
        let slots = self.capacity_in_slots(traits, reserve);
        let capacity = self
            .capacity_in_requests(traits, (slow_start, reserve), now)
            .min(by_tokens)
            .min(slots);
        match reserve {
            Some(_) => look_again(capacity, now),
            None => capacity,
        }
    }

    /// Returns how many requests may be sent, whatever they cost.
    fn capacity_in_requests(
        &mut self,
        traits: &mut ProviderTraits,
        (slow_start, reserve): (SlowStart, Option<Reserve>),
        now: Instant,
    ) -> Capacity {
        self.forget_chance(traits);
        let probes = match self.gate(traits, now) {
            Ok(probes) => probes,
            Err(capacity) => return capacity,
        };
        let in_flight = &self.in_flight;
        let remaining =
            self.reported
                .remaining((traits, reserve), |since| in_flight.since(since), now);
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
        let is_reported = remaining != Remaining::Unknown || self.tokens.are_reported();
        let slow_start = if is_reported {
            SlowStart::Off
        } else {
            slow_start
        };
        let has_more = match remaining {
            Remaining::Requests(left, _) => left > 0,
            Remaining::Unknown => is_reported,
            Remaining::Guessed(..) | Remaining::None(_) => false,
        };
        let is_noisy = self.is_noisy(traits);
        let headroom =
            self.estimate
                .headroom(in_flight, traits, (slow_start, is_noisy, has_more), now);
        let left = match reserve {
            Some(reserve) if !is_noisy => self.estimate.reserved(reserve, traits, now),
            _ => 0,
        };
        match headroom.without(left) {
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
                    // Another limit of the kind comes first, because this one may be the only one that is closed.
                    None if traits.was_last_to_search(self.number) => Err(Capacity::Verify(ended)),
                    None => Ok(true),
                },
            },
            Gate::Closed(until) => match self.test_at(traits, now) {
                Some(at) if at <= now => Ok(true),
                Some(at) => Err(Capacity::Closed(at.min(until))),
                None => Err(Capacity::Closed(until)),
            },
            Gate::Unusable(until) => Err(Capacity::Unusable(until)),
        }
    }

    /// Returns when a request may find out whether a guess is wrong.
    fn test_at(&self, traits: &ProviderTraits, now: Instant) -> Option<Instant> {
        let tests = [
            self.early_test_at(traits, now),
            self.slot_probe_at(traits, now),
        ];
        tests.into_iter().flatten().min()
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
    pub(crate) fn reserve(&mut self, traits: &mut ProviderTraits, cost: Cost, now: Instant) {
        if let Some(window) = self.reported.exhausted(traits, now) {
            self.reported
                .test(window.dimension, window.passed.unwrap_or(0));
            traits.test(window.dimension, now);
        }
        if self.number == 0 {
            self.number = traits.next_number();
        }
        if self.slot_probe_at(traits, now).is_some_and(|at| at <= now) {
            traits.silent.reserve(self.number, now);
        }
        self.in_flight.reserve(cost);
        match self.cooldown.gate(now) {
            Gate::Open => return,
            Gate::Closed(_) => traits.period.test_early(),
            Gate::Unproven(_) | Gate::Unusable(_) => {}
        }
        traits.period.probe(now);
    }

    /// Sends the request of a reservation.
    pub(crate) fn mark_sent(&mut self, traits: &mut ProviderTraits, demand: Demand, now: Instant) {
        self.in_flight.send(demand.cost(), now);
        self.tokens.send(demand, now);
        self.interactive.send(demand, now);
        self.concurrency.send(self.in_flight.in_use(), now);
        traits.silent.send(self.number, now);
        self.rejection_run.send(now);
        self.estimate.sent(traits, now);
    }

    /// Releases the place of a request that was sent at `sent`, or was not.
    pub(crate) fn release(
        &mut self,
        traits: &mut ProviderTraits,
        cost: Cost,
        sent: Option<Instant>,
    ) {
        self.in_flight.remove(sent, cost);
        if let Some(sent) = sent {
            self.estimate.end(sent);
            self.concurrency.end(sent);
            traits.silent.end(self.number, sent);
        }
        if self.in_flight.all() == 0 {
            // If it was a probe without a response, the next request is one.
            traits.period.forget_probe();
        }
    }

    /// Forgets how many pass in a window.
    pub(crate) fn forget_estimate(&mut self) {
        self.estimate.forget();
    }

    /// Counts a sent request without a visible response, because the provider counts it too.
    pub(crate) fn abandon(
        &mut self,
        traits: &ProviderTraits,
        cost: Cost,
        (sent, now): (Instant, Instant),
    ) {
        self.reported.count_abandoned(sent);
        self.tokens.count(traits, cost, (sent, now));
    }

    /// Returns how many requests have a place.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.all()
    }

    /// Records a success of a request that cost so much, and what its response reports.
    pub(crate) fn succeeded<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        (cost, reports): (Cost, impl Iterator<Item = &'a Bucket> + Clone),
        (sent, now): (Instant, Instant),
    ) {
        self.pass_slot(traits, (sent, now));
        let counted = (cost, true);
        self.tokens
            .update(traits, reports.clone(), counted, (sent, now));
        self.cooldown.succeed(sent);
        self.rejection_run.pass(&mut traits.chance, sent, now);
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
}

#[cfg(test)]
impl LimitState {
    /// Returns how many are counted as out, by either count.
    pub(crate) fn out(&self) -> u64 {
        let sent = self.in_flight.in_use();
        sent.max(self.in_flight.of_all_times())
    }
}
