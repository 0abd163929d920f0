//! What a process says of a limit. Pure.

use tokio::time::Instant;

use super::{
    FleetCounts,
    own::{OwnReport, OwnUse},
};
use crate::{
    quota::limit::{LimitState, ProviderTraits, SlowStart},
    share::{Ask, Fact, LimitSay, Outbox, RejectedFact, Report},
};

// === impl LimitState ===

impl LimitState {
    /// Says what has changed since the last exchange, and what is wanted for so many calls that wait.
    pub(crate) fn say(&mut self, traits: &ProviderTraits, outbox: &mut Outbox, waiting: &mut u64) {
        let now = outbox.now;
        let end = self.end(traits, now).map(|end| end.at);
        // Most groups have no limit for all models.
        let is_limited = traits.is_limited() || self.slow_start != SlowStart::Off;
        let Some(fleet) = &mut self.fleet else {
            return;
        };
        if fleet.said_in == outbox.number {
            return;
        }
        fleet.said_in = outbox.number;
        if !fleet.has_joined {
            fleet.has_joined = true;
            outbox.joins.push(fleet.id);
        }
        if fleet.counts == FleetCounts::Requests && !is_limited {
            return;
        }
        if end.is_none() {
            fleet.own.rejection = None;
        }
        if end.is_some() {
            fleet.places.close();
        }
        let (kept, wanted) = fleet.places.plan(waiting, now);
        outbox.keeps_places |= kept > 0;
        let (held, used) = (fleet.own.out().saturating_add(kept), fleet.own.ended);
        let ceiling = fleet.places.ceiling(outbox.epoch);
        let wanted = if ceiling.is_some() { wanted } else { 0 };
        let ask = match fleet.counts {
            FleetCounts::Requests => Ask::new((held, used), wanted, ceiling.unwrap_or_default()),
            FleetCounts::Cooldowns => Ask::default(),
        };
        let (version, last) = fleet.said.unwrap_or_default();
        let has_facts = version != fleet.own.version;
        let is_heard =
            fleet.places.is_heard(outbox.epoch) || fleet.counts == FleetCounts::Cooldowns;
        let is_same = (ask.held, ask.used) == (last.held, last.used) && wanted == 0;
        if !has_facts && is_same && is_heard {
            fleet.said = Some((version, ask));
            return;
        }
        let fact = has_facts.then(|| fleet.own.fact(end, now));
        fleet.said = Some((fleet.own.version, ask));
        outbox.limits.push(LimitSay::new(fleet.id, fact, ask));
    }
}

// === impl OwnUse ===

impl OwnUse {
    fn fact(&self, end: Option<Instant>, now: Instant) -> Fact {
        let age = |at: Instant| now.saturating_duration_since(at);
        let rejection = self.rejection.as_ref().zip(end).map(|(last, end)| {
            let reports = last.reports.iter().filter_map(|report| report.said(now));
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
            reports: self.reports.iter().filter_map(|it| it.said(now)).collect(),
        }
    }
}

// === impl OwnReport ===

impl OwnReport {
    /// Returns the report with the time to its reset that is left; `None` if that is over.
    fn said(&self, now: Instant) -> Option<Report> {
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
