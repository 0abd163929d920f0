//! What a process publishes of a limit. Pure.

use tokio::time::Instant;

use super::{
    FleetCounts,
    own::{OwnReport, OwnUse},
    planned::PlannedCalls,
};
use crate::{
    quota::limit::{LimitState, ProviderTraits},
    share::{Fact, LearnedTraits, LeaseRequest, LimitRequest, Outbox, RejectedFact, Report, Unit},
};

// === impl LimitState ===

impl LimitState {
    /// Publishes what has changed since the last exchange, and what was planned for the calls that wait.
    pub(crate) fn publish(
        &mut self,
        traits: &ProviderTraits,
        calls: PlannedCalls,
        outbox: &mut Outbox,
    ) {
        let now = outbox.now;
        let end = self.end(traits, now).map(|end| end.at);
        let is_limited = self.may_be_leased(traits);
        let open = self.open_in_slots(traits);
        let Some(fleet) = &mut self.fleet else {
            return;
        };
        fleet.own.open = open;
        if fleet.published_in == outbox.number {
            return;
        }
        fleet.published_in = outbox.number;
        if !fleet.has_requested_facts {
            fleet.has_requested_facts = true;
            outbox.new_limits.push(fleet.id);
        }
        let requests = match fleet.counts {
            FleetCounts::Leases => {
                let leases = &mut fleet.leases;
                let planned = leases.end_plan(&fleet.own, calls, outbox.epoch, now);
                outbox.keeps_places |= planned.keeps_places;
                planned.requests
            }
            FleetCounts::Requests | FleetCounts::Cooldowns => Vec::new(),
        };
        if fleet.counts != FleetCounts::Cooldowns && !is_limited {
            return;
        }
        // When requests of other processes end, more may be left.
        let has_others = fleet.others.iter().any(|other| !other.in_flight.is_empty());
        outbox.awaits_others |= calls.has_waiting && has_others && end.is_none();
        let wants = |(_, request): &(Unit, LeaseRequest)| request.wanted > 0;
        outbox.wants |= requests.iter().any(wants);
        if end.is_none() {
            fleet.own.rejection = None;
        }
        let version = fleet.own.version;
        let last = fleet.published.as_ref();
        let has_facts = last.is_none_or(|(last, _)| *last != version);
        let is_synced =
            fleet.counts != FleetCounts::Leases || fleet.leases.are_synced(outbox.epoch);
        let is_same = last.is_some_and(|(_, last)| is_same(last, &requests));
        if has_facts || !is_same || !is_synced {
            let learned = (self.concurrency.ceiling(), traits.learned(now));
            let fact = has_facts.then(|| fleet.own.fact(end, learned, now));
            let limit = LimitRequest::new(fleet.id, fact, requests.clone());
            outbox.limits.push(limit);
        }
        fleet.published = Some((version, requests));
    }
}

/// Returns whether a process has and wants no more than when it published this last.
fn is_same(last: &[(Unit, LeaseRequest)], requests: &[(Unit, LeaseRequest)]) -> bool {
    let same = |((_, last), (_, request)): (&(Unit, LeaseRequest), &(Unit, LeaseRequest))| {
        (last.held, last.used) == (request.held, request.used) && request.wanted == 0
    };
    last.len() == requests.len() && last.iter().zip(requests).all(same)
}

// === impl OwnUse ===

impl OwnUse {
    fn fact(
        &self,
        end: Option<Instant>,
        (slots, traits): (Option<u64>, LearnedTraits),
        now: Instant,
    ) -> Fact {
        let age = |at: Instant| now.saturating_duration_since(at);
        let rejection = self.rejection.as_ref().zip(end).map(|(last, end)| {
            let reports = last
                .reports
                .iter()
                .filter_map(|report| report.published(now));
            RejectedFact::new(
                last.rejection.clone(),
                reports.collect(),
                (age(last.sent), age(last.came)),
                end.saturating_duration_since(now),
            )
        });
        Fact {
            version: self.version,
            sent: self.sent,
            passed: self.passed,
            rejected: self.rejected,
            ended: self.ended,
            cost: self.cost,
            sends: self
                .sends
                .iter()
                .map(|(number, at)| (*number, age(*at)))
                .collect(),
            last_passed: self.last_passed.map(age),
            rejection,
            slots,
            traits,
            reports: self
                .reports
                .iter()
                .filter_map(|it| it.published(now))
                .collect(),
        }
    }
}

// === impl OwnReport ===

impl OwnReport {
    /// Returns the report with the time to its reset that is left; `None` if that is over.
    fn published(&self, now: Instant) -> Option<Report> {
        let mut bucket = self.bucket.clone();
        if let Some(resets) = self.resets() {
            bucket.reset = Some(
                resets
                    .checked_duration_since(now)
                    .filter(|it| !it.is_zero())?,
            );
        }
        Some(Report::new(
            bucket,
            now.saturating_duration_since(self.sent),
        ))
    }
}
