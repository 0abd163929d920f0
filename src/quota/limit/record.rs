//! What a limit records of its requests: their places, what is sent, and what passes. Pure.

use tokio::time::Instant;

use super::{LimitState, ProviderTraits, cooldown::Gate};
use crate::{
    quota::demand::Demand,
    rejection::{Bucket, Dimension},
    request::Cost,
};

// === impl LimitState ===

impl LimitState {
    /// Reserves a place for a request that will be sent.
    pub(crate) fn reserve(&mut self, traits: &mut ProviderTraits, cost: Cost, now: Instant) {
        self.note_reserved(cost, now);
        if self.is_planning() {
            return self.in_flight.reserve(cost);
        }
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
        self.note_sent(demand.cost(), now);
        self.count_sent(traits, demand, now);
        if traits.has_background {
            self.interactive.send(demand, now);
        }
        self.concurrency.send(self.in_flight.in_use(), now);
        traits.silent.send(self.number, now);
        self.rejection_run.send(now);
    }

    /// Counts a request that is sent, by this or by another process.
    pub(super) fn count_sent(&mut self, traits: &mut ProviderTraits, demand: Demand, now: Instant) {
        self.in_flight.send(demand.cost(), now);
        self.tokens.send(demand, now);
        self.estimate.sent(traits, now);
    }

    /// Releases the place of a request that was sent at `sent`, or was not.
    pub(crate) fn release(
        &mut self,
        traits: &mut ProviderTraits,
        cost: Cost,
        sent: Option<Instant>,
    ) {
        self.note_released(cost, sent.is_some());
        if self.is_planning() {
            return self.in_flight.remove(sent, cost);
        }
        self.count_released(traits, cost, sent);
        if let Some(sent) = sent {
            self.concurrency.end(sent);
            traits.silent.end(self.number, sent);
        }
    }

    /// Counts a place that is released, by this or by another process.
    pub(super) fn count_released(
        &mut self,
        traits: &mut ProviderTraits,
        cost: Cost,
        sent: Option<Instant>,
    ) {
        self.in_flight.remove(sent, cost);
        if let Some(sent) = sent {
            self.estimate.end(sent);
        }
        if self.in_flight.all() == 0 {
            // If it was a probe without a response, the next request is one.
            traits.period.forget_probe();
        }
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

    /// Records a success of a request that cost so much, and what its response reports.
    pub(crate) fn succeeded<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        (cost, reports): (Cost, impl Iterator<Item = &'a Bucket> + Clone),
        (sent, now): (Instant, Instant),
    ) {
        self.note_passed(reports.clone(), (sent, now));
        self.count_verified(traits, reports.clone(), (sent, now));
        self.pass_slot(traits, (sent, now));
        self.rejection_run.pass(&mut traits.chance, sent, now);
        self.forget_chance(traits);
        self.cooldown.succeed(sent);
        self.count_success(traits, (cost, reports), (sent, now));
    }

    /// Counts a success where nothing should be left.
    fn count_verified<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        reports: impl Iterator<Item = &'a Bucket>,
        (sent, now): (Instant, Instant),
    ) {
        if self.reported.is_empty() {
            return;
        }
        let exhausted = self.reported.exhausted(traits, now);
        let Some(window) = exhausted.filter(|window| window.since <= sent) else {
            return;
        };
        let mut left = reports.filter(|bucket| bucket.dimension == window.dimension);
        // A report of more means that a new window has begun.
        if left.all(|bucket| bucket.remaining == Some(0)) {
            let passed = window.passed.unwrap_or(0) + 1;
            self.reported.test(window.dimension, passed);
            traits.count_passed(window.dimension, passed, window.refilled(now), now);
        }
    }

    /// Counts a success, of this or of another process.
    pub(super) fn count_success<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        (cost, reports): (Cost, impl Iterator<Item = &'a Bucket> + Clone),
        (sent, now): (Instant, Instant),
    ) {
        let counted = (cost, true);
        self.tokens
            .update(traits, reports.clone(), counted, (sent, now));
        traits.period.pass(sent);
        self.estimate.passed(traits, sent, now);
        if self.reported.is_empty() && reports.clone().next().is_none() {
            return;
        }
        traits.is_limited = true;
        let counts =
            |bucket: &Bucket| bucket.dimension == Dimension::Requests && bucket.remaining.is_some();
        if !reports.clone().any(counts) {
            self.reported.count_one();
        }
        self.reported.update(traits, reports, (sent, now));
    }
}
