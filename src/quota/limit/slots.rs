//! Requests in flight as a limit of its own, also where rejections say nothing of it. Pure.

use tokio::time::Instant;

use super::{Capacity, LimitState, ProviderTraits, SlowStart, cooldown, reserve::Reserve};
use crate::rejection::{Bucket, Dimension, Reason, Rejection};

// === impl LimitState ===

impl LimitState {
    /// Returns how many requests have a place or a response whose body is open.
    pub(crate) fn in_use(&self) -> u64 {
        self.in_flight.in_use()
    }

    /// Counts a response whose body is open.
    pub(crate) fn open_body(&mut self) {
        self.in_flight.open_body();
    }

    /// That body has ended, or was dropped.
    pub(crate) fn close_body(&mut self) {
        self.in_flight.close_body();
    }

    /// Returns how many requests may be sent until as many are in flight as may be.
    pub(super) fn capacity_in_slots(
        &self,
        traits: &ProviderTraits,
        reserve: Option<Reserve>,
    ) -> Capacity {
        let in_use = self.in_flight.in_use();
        self.concurrency
            .capacity(in_use, traits.typical_concurrency, reserve)
    }

    /// Uses what has been shown of rejections that say nothing. If they come of requests in flight, no window is
    /// closed.
    pub(super) fn settle_slots(&mut self, traits: &mut ProviderTraits, now: Instant) {
        traits.silent.settle(traits.latency(), now);
        if !traits.silent.is_shown() {
            self.concurrency.forget_silent();
        } else if self.concurrency.adopt() {
            self.cooldown.forget_guess(now);
            self.estimate.forget();
            self.rejection_run.forget();
            traits.typical = None;
            traits.period.forget();
        }
    }

    /// Notes that a request has passed.
    pub(super) fn pass_slot(
        &mut self,
        traits: &mut ProviderTraits,
        (sent, now): (Instant, Instant),
    ) {
        traits.silent.pass(self.number, sent);
        let latency = traits.latency();
        let others = self.in_flight.admitted(sent, latency, now);
        self.concurrency.prove(others, (sent, now), latency);
        let in_use = self.in_flight.in_use();
        self.concurrency.pass(&mut traits.silent, in_use, sent);
    }

    /// Returns when a request may find out if the end of another has made room though a guess closes the limit.
    pub(super) fn slot_probe_at(&self, traits: &ProviderTraits, now: Instant) -> Option<Instant> {
        // A call that goes elsewhere after a rejection pays little for a guess.
        let may_probe = self.slow_start != SlowStart::Quick
            && traits.silent.may_probe()
            && self.in_flight.reserved() == 0
            && self.concurrency.has_room(self.in_flight.in_use())
            && self.cooldown.is_guessed(now)
            && !self.is_noisy(traits);
        may_probe.then(|| traits.silent.next_probe(traits.latency(), now))
    }

    /// Returns whether a rejection came because too many requests are in flight, while others are. Then a request
    /// can be sent when one of them ends, whatever the provider says of the time.
    pub(super) fn is_by_concurrency(
        &mut self,
        traits: &mut ProviderTraits,
        (rejection, reports): (&Rejection, &[Bucket]),
        (sent, now): (Instant, Instant),
    ) -> bool {
        if traits.silent.reject(self.number, sent) {
            self.concurrency.forget_suspicion();
        }
        // The rejected one is still counted.
        let others = self.in_flight.others();
        if rejection.dimension == Some(Dimension::Concurrency) {
            if others > 0 {
                let named = rejection.numbers.limit;
                traits.typical_concurrency = Some(self.concurrency.reject(others, named, sent));
            }
            return others > 0;
        }
        if !self.may_be_by_concurrency(rejection, reports) {
            return false;
        }
        let concurrency = &mut self.concurrency;
        let ceiling = concurrency.reject_silently(&mut traits.silent, others, (sent, now));
        ceiling.is_some()
    }

    /// Suspects that a rejection that has closed the limit came of the others in flight.
    pub(super) fn suspect_concurrency(
        &mut self,
        traits: &ProviderTraits,
        (rejection, reports): (&Rejection, &[Bucket]),
        when: (Instant, Instant),
    ) {
        if traits.silent.may_probe() && self.may_be_by_concurrency(rejection, reports) {
            self.concurrency.suspect(self.in_flight.others(), when);
        }
    }

    /// Returns whether so little is said of the limit that it may be one on requests in flight.
    fn may_be_by_concurrency(&self, rejection: &Rejection, reports: &[Bucket]) -> bool {
        let names_another = rejection.dimension.is_some() || rejection.window.is_some();
        let is_reported =
            !reports.is_empty() || !self.reported.is_empty() || self.tokens.are_reported();
        rejection.reason == Reason::RateLimited
            && cooldown::is_silent(rejection)
            && !(names_another || is_reported)
    }
}
