//! What a limit notes of the requests of this process, for the other processes. Pure.

use tokio::time::Instant;

use super::{
    Fleet, FleetCounts,
    own::{MAX_REPORTS, OwnRejection, OwnReport},
};
use crate::{
    quota::limit::LimitState,
    rejection::{Bucket, Rejection},
    request::Cost,
    share::Urgency,
};

// === impl LimitState ===

impl LimitState {
    /// Notes that a request has a place.
    pub(in crate::quota::limit) fn note_reserved(&mut self, cost: Cost, now: Instant) {
        if let Some(fleet) = &mut self.fleet {
            fleet.own.reserved += 1;
            fleet.own.reserved_cost = fleet.own.reserved_cost.saturating_add(cost);
            fleet.leases.take(cost, now);
        }
    }

    /// Notes that it is sent.
    pub(in crate::quota::limit) fn note_sent(&mut self, cost: Cost, now: Instant) {
        if let Some(fleet) = &mut self.fleet {
            let own = &mut fleet.own;
            own.reserved = own.reserved.saturating_sub(1);
            own.reserved_cost = own.reserved_cost.saturating_sub(cost);
            own.sent += 1;
            own.cost = own.cost.saturating_add(cost);
            own.mark(now);
            fleet.change(fleet.counts != FleetCounts::Cooldowns);
        }
    }

    /// Notes that it no longer has a place.
    pub(in crate::quota::limit) fn note_released(&mut self, cost: Cost, was_sent: bool) {
        if let Some(fleet) = &mut self.fleet {
            let own = &mut fleet.own;
            if was_sent {
                own.ended += 1;
                own.ended_cost = own.ended_cost.saturating_add(cost);
                fleet.change(fleet.counts != FleetCounts::Cooldowns);
            } else {
                own.reserved = own.reserved.saturating_sub(1);
                own.reserved_cost = own.reserved_cost.saturating_sub(cost);
                fleet.leases.give_back(cost);
            }
        }
    }

    /// Notes that it has passed, and what its response reports.
    pub(in crate::quota::limit) fn note_passed<'a>(
        &mut self,
        buckets: impl Iterator<Item = &'a Bucket>,
        when: (Instant, Instant),
    ) {
        if let Some(fleet) = &mut self.fleet {
            fleet.own.passed += 1;
            fleet.own.last_passed = fleet.own.last_passed.max(Some(when.0));
            let is_published =
                fleet.counts != FleetCounts::Cooldowns || fleet.own.rejection.is_some();
            fleet.change(is_published);
            fleet.own.report(buckets.cloned(), when);
        }
    }

    /// Notes that it was rejected, and what its response reports.
    pub(in crate::quota::limit) fn note_rejected(
        &mut self,
        rejection: &Rejection,
        buckets: &[Bucket],
        (sent, came): (Instant, Instant),
    ) {
        if let Some(fleet) = &mut self.fleet {
            fleet.own.rejected += 1;
            fleet.own.version += 1;
            // It closes the limit for the others too.
            fleet.share.raise(Urgency::Wanted);
            fleet.own.report(buckets.iter().cloned(), (sent, came));
            let reports = buckets.iter().cloned();
            let reports = reports.filter_map(|bucket| OwnReport::new(bucket, (sent, came)));
            fleet.own.rejection = Some(OwnRejection {
                rejection: rejection.clone(),
                reports: reports.take(MAX_REPORTS).collect(),
                sent,
                came,
            });
        }
    }
}

// === impl Fleet ===

impl Fleet {
    /// Notes that there is a new fact, if it is one that others need.
    fn change(&mut self, is_published: bool) {
        if is_published {
            self.own.version += 1;
            self.share.raise(Urgency::Facts);
        }
    }
}
