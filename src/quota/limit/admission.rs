//! How many requests a limit lets through now, and what keeps all from being sent. Pure.

use tokio::time::Instant;

use super::{
    Capacity, LimitState, ProviderTraits, SlowStart,
    cooldown::Gate,
    estimate::Headroom,
    remaining::Remaining,
    reserve::{Reserve, look_again},
};
use crate::quota::{demand::Demand, replicas::Replicas};

// === impl LimitState ===

impl LimitState {
    /// Returns how many more may be sent that need so much: few while nothing is known, as `slow_start` says.
    pub(crate) fn capacity(
        &mut self,
        traits: &mut ProviderTraits,
        (demand, slow_start): (Demand, SlowStart),
        now: Instant,
    ) -> Capacity {
        let demand = self.among_replicas(demand, now);
        self.settle_slots(traits, now);
        self.slow_start = slow_start;
        traits.has_background |= demand.is_background();
        let reserve = self.interactive.reserve(demand, now);
        let needs = (demand, reserve);
        let others = (reserve, demand.replicas());
        let by_tokens = self.tokens.capacity(needs, &self.in_flight, traits, now);
        let slots = self.capacity_in_slots(traits, reserve);
        let capacity = self
            .capacity_in_requests(traits, (slow_start, others), now)
            .min(by_tokens)
            .min(slots);
        let capacity = self.bound_by_lease(traits, (capacity, demand), now);
        match reserve {
            Some(_) => look_again(capacity, now),
            None => capacity,
        }
    }

    /// Returns how many requests may be sent, whatever they cost.
    fn capacity_in_requests(
        &mut self,
        traits: &mut ProviderTraits,
        (slow_start, others): (SlowStart, (Option<Reserve>, Replicas)),
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
                .remaining((traits, others), |since| in_flight.since(since), now);
        let (reported, more_at) = match self.left_by_reports(traits, remaining, now) {
            Ok(left) => left,
            Err(capacity) => return capacity,
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
        let left = match others.0 {
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

    /// Returns how many requests the reports leave and when there are more, or else what keeps all from being sent.
    fn left_by_reports(
        &self,
        traits: &ProviderTraits,
        remaining: Remaining,
        now: Instant,
    ) -> Result<(u64, Option<Instant>), Capacity> {
        Ok(match remaining {
            Remaining::None(window) => {
                let tests = traits.tests(window.dimension, window.passed, now);
                if tests > self.in_flight.since(window.since) {
                    return Err(Capacity::Verify(window.until));
                }
                let again = traits.next_test(window.dimension, now);
                let until = again.map_or(window.until, |at| at.min(window.until));
                return Err(Capacity::Closed(until));
            }
            Remaining::Guessed(0, more_at) => return Err(Capacity::Probing(Some(more_at))),
            Remaining::Guessed(left, more_at) => (left, Some(more_at)),
            Remaining::Requests(left, resets) => (left, resets),
            Remaining::Unknown => (u64::MAX, None),
        })
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
}
