//! What a process receives on a limit. The requests of others count for what is left and for estimates. They do not
//! count for chance, for slots, or for whether a report is true. Pure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{Fleet, FleetCounts, OtherReplica, own::OwnUse, received::ReceivedAt};
use crate::{
    quota::{
        demand::Demand,
        limit::{LimitState, ProviderTraits},
        replicas::Replicas,
    },
    rejection::Bucket,
    request::Cost,
    share::{Fact, Id, RejectedFact, Report, Update},
};

/// More requests than these are not counted one by one.
const MAX_COUNTED: u64 = 4_096;

/// More rejections than these show nothing new.
const MAX_REJECTED: u64 = 8;

/// What has become of the requests of another process since its last fact.
struct Since {
    sent: u64,
    passed: u64,
    rejected: u64,
    ended: u64,
    cost: Cost,
}

// === impl LimitState ===

impl LimitState {
    /// Applies what others know, and what was granted.
    pub(crate) fn receive(
        &mut self,
        traits: &mut ProviderTraits,
        update: &Update<'_>,
        longest_guess: Duration,
    ) {
        // What others do does not count as done by this process.
        let Some(mut fleet) = self
            .fleet
            .take_if(|fleet| fleet.received_in != update.number)
        else {
            return;
        };
        fleet.received_in = update.number;
        if let Some(received) = update.limits.get(&fleet.id) {
            for (unit, grant) in &received.grants {
                let mut published = fleet
                    .published
                    .iter_mut()
                    .flat_map(|(_, requests)| requests);
                if let Some((_, published)) = published.find(|(of, _)| of == unit) {
                    fleet
                        .leases
                        .receive(*unit, (*grant, *published), update.epoch);
                    // The engine counts it as held until the next exchange.
                    published.held = published.held.saturating_add(grant.granted);
                }
            }
            let ended = self.cooldown.ends_at(update.now);
            for (replica, fact, age) in &received.facts {
                let at = ReceivedAt {
                    now: update.now,
                    age: *age,
                    took: update.now.saturating_duration_since(update.began),
                };
                self.apply_fact(traits, (&mut fleet, *replica, fact), at, longest_guess);
            }
            let ends = self.cooldown.ends_at(update.now);
            if ends != ended {
                fleet.remote_end = ends;
            }
        }
        for other in &mut fleet.others {
            if !update.replicas.contains(&other.replica) {
                self.forget_in_flight(traits, &mut other.in_flight);
            }
        }
        match fleet.counts {
            FleetCounts::Leases if update.is_learning => fleet.leases.end(),
            FleetCounts::Leases => fleet.leases.keep(update.began),
            FleetCounts::Requests | FleetCounts::Cooldowns => {}
        }
        let count = u32::try_from(update.replicas.len()).unwrap_or(u32::MAX);
        fleet.parts = Some(Replicas::new(count));
        self.fleet = Some(fleet);
    }

    /// The engine is away: this process does without leases, and takes the part of one of so many.
    pub(crate) fn disconnect(&mut self, traits: &mut ProviderTraits, replicas: Replicas) {
        let Some(mut fleet) = self.fleet.take() else {
            return;
        };
        fleet.leases.end();
        (fleet.published, fleet.has_requested_facts) = (None, false);
        fleet.parts = Some(replicas);
        for other in &mut fleet.others {
            self.forget_in_flight(traits, &mut other.in_flight);
        }
        self.fleet = Some(fleet);
    }

    /// Forgets the requests of the others, and returns those of this process.
    pub(super) fn leave(&mut self, traits: &mut ProviderTraits, mut fleet: Fleet) -> OwnUse {
        for other in &mut fleet.others {
            self.forget_in_flight(traits, &mut other.in_flight);
        }
        fleet.own.version += 1;
        fleet.own
    }

    /// Forgets the requests of a process that is gone.
    fn forget_in_flight(
        &mut self,
        traits: &mut ProviderTraits,
        in_flight: &mut VecDeque<(Instant, Cost)>,
    ) {
        for (sent, cost) in in_flight.drain(..) {
            self.count_released(traits, cost, Some(sent));
        }
    }

    fn apply_fact(
        &mut self,
        traits: &mut ProviderTraits,
        (fleet, replica, fact): (&mut Fleet, Id, &Fact),
        at: ReceivedAt,
        longest_guess: Duration,
    ) {
        let counts = fleet.counts;
        let Some((other, since)) = fleet.since(replica, fact) else {
            return;
        };
        traits.adopt(&fact.traits, at.now);
        if let Some(most) = fact.slots.filter(|_| other.slots != fact.slots) {
            self.concurrency.set_ceiling(most);
        }
        other.slots = fact.slots;
        if counts != FleetCounts::Cooldowns {
            self.count_sent_elsewhere(traits, (other, fact), &since, at);
            self.count_passed_elsewhere(traits, (other, fact), &since, at);
        } else if let (1.., Some(ago)) = (since.passed, fact.last_passed) {
            self.cooldown.succeed(at.before(ago));
        }
        if let Some(rejected) = &fact.rejection {
            // Which of its requests was rejected is not known.
            let in_flight = other.in_flight.front();
            let cost = in_flight.map_or(since.cost, |(_, cost)| *cost);
            for _ in 0..since.rejected.min(MAX_REJECTED) {
                self.apply_rejection(traits, (rejected, cost), at, longest_guess);
            }
        }
        for _ in since.passed..since.ended {
            if let Some((sent, cost)) = other.in_flight.pop_front() {
                self.count_released(traits, cost, Some(sent));
            }
        }
        let sent = reported_at(fact, at);
        let reports = self.current_reports(&fact.reports, sent, at);
        if counts != FleetCounts::Cooldowns && since.passed == 0 && !reports.is_empty() {
            traits.is_limited = true;
            let when = (sent, at.now);
            let no_cost = (Cost::default(), false);
            self.tokens.update(traits, reports.iter(), no_cost, when);
            self.reported.update(traits, reports.iter(), when);
        }
    }

    /// Counts the requests that another process has sent.
    fn count_sent_elsewhere(
        &mut self,
        traits: &mut ProviderTraits,
        (other, fact): (&mut OtherReplica, &Fact),
        since: &Since,
        at: ReceivedAt,
    ) {
        if since.sent > 0 {
            traits.tokens.add_others();
        }
        for number in fact.sent.saturating_sub(since.sent)..fact.sent {
            let mark = fact.sends.iter().find(|(last, _)| number < *last);
            let sent = mark.map_or(at.now, |(_, ago)| at.before(*ago));
            self.in_flight.reserve(since.cost);
            self.count_sent(traits, Demand::new(since.cost), sent);
            other.in_flight.push_back((sent, since.cost));
        }
    }

    /// Counts the requests of another process that have passed.
    fn count_passed_elsewhere(
        &mut self,
        traits: &mut ProviderTraits,
        (other, fact): (&mut OtherReplica, &Fact),
        since: &Since,
        at: ReceivedAt,
    ) {
        let first = fact.sends.first().map_or(Duration::ZERO, |(_, ago)| *ago);
        for _ in 0..since.passed {
            let known = other.in_flight.pop_front();
            let (sent, cost) = known.unwrap_or((at.before(first), since.cost));
            // The reports may have come with an earlier request.
            let reported = match fact.reports[..] {
                [] => sent,
                _ => sent.min(reported_at(fact, at)),
            };
            let reports = self.current_reports(&fact.reports, reported, at);
            // If nothing is reported, no guess ends here: every process would take the one place that is free.
            if !self.reported.is_empty() {
                self.cooldown.succeed(reported);
            }
            self.count_success(traits, (cost, reports.iter()), (reported, at.now));
            if known.is_some() {
                self.count_released(traits, cost, Some(sent));
            }
        }
    }

    /// Returns the reports, as if they were of a request that was `sent` then, without those of windows that have ended.
    fn current_reports(
        &mut self,
        reports: &[Report],
        sent: Instant,
        at: ReceivedAt,
    ) -> Vec<Bucket> {
        let buckets = reports.iter().filter_map(|report| at.bucket(report, sent));
        let is_current = |(bucket, resets): &(Bucket, Option<Instant>)| {
            resets.is_none_or(|resets| !self.reported.has_ended(bucket, resets))
        };
        buckets
            .filter(is_current)
            .map(|(bucket, _)| bucket)
            .collect()
    }

    fn apply_rejection(
        &mut self,
        traits: &mut ProviderTraits,
        (rejected, cost): (&RejectedFact, Cost),
        at: ReceivedAt,
        longest_guess: Duration,
    ) {
        let mut rejection = rejected.rejection.clone();
        if let Some(hint) = rejection.retry_after.filter(|hint| !hint.is_zero()) {
            let left = hint.checked_sub(rejected.came.saturating_add(at.age));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                return;
            };
            rejection.retry_after = Some(left);
        }
        let sent = at.before(rejected.sent);
        let reports = self.current_reports(&rejected.reports, sent, at);
        let when = (sent, at.now);
        let reports = (cost, &reports[..]);
        self.rejected_elsewhere(traits, &rejection, reports, when, longest_guess);
    }
}

/// Returns the earliest moment at which the request of the newest reports can have been sent. The reports may not
/// include requests that were sent later.
fn reported_at(fact: &Fact, at: ReceivedAt) -> Instant {
    let newest = fact.reports.iter().map(|report| report.sent).min();
    at.earliest(newest.unwrap_or_default())
}

// === impl Fleet ===

impl Fleet {
    /// Returns what is new in a fact of another process; `None` if nothing is. In the first fact of a process only its
    /// requests in flight are new, and a rejection that closes the limit.
    fn since(&mut self, replica: Id, fact: &Fact) -> Option<(&mut OtherReplica, Since)> {
        let known = self.others.iter().position(|it| it.replica == replica);
        let index = known.unwrap_or_else(|| {
            self.others.push(OtherReplica::first(replica, fact));
            self.others.len() - 1
        });
        let other = &mut self.others[index];
        if fact.version <= other.version {
            return None;
        }
        let bounded = |now: u64, before: u64| now.saturating_sub(before).min(MAX_COUNTED);
        let sent = bounded(fact.sent, other.sent);
        let cost = fact.cost.saturating_sub(other.cost);
        let cost = match sent {
            0 => Cost::default(),
            sent => Cost::new(cost.input() / sent, cost.output() / sent),
        };
        let since = Since {
            sent,
            passed: bounded(fact.passed, other.passed),
            rejected: bounded(fact.rejected, other.rejected),
            ended: bounded(fact.ended, other.ended),
            cost,
        };
        (other.version, other.sent, other.cost) = (fact.version, fact.sent, fact.cost);
        (other.passed, other.rejected, other.ended) = (fact.passed, fact.rejected, fact.ended);
        Some((other, since))
    }
}

// === impl OtherReplica ===

impl OtherReplica {
    fn first(replica: Id, fact: &Fact) -> Self {
        let closes = fact.rejection.is_some();
        Self {
            replica,
            version: 0,
            passed: fact.passed,
            rejected: fact.rejected.saturating_sub(u64::from(closes)),
            ended: fact.ended,
            sent: fact.ended,
            cost: fact.cost,
            slots: None,
            in_flight: VecDeque::new(),
        }
    }
}
