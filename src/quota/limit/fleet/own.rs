//! The requests of this process, as others hear of them. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{FleetCounts, leases::amount};
use crate::{
    quota::{
        limit::{LimitState, in_flight::InFlight},
        timing::{ADMISSION_SLACK, COUNTED_TOGETHER, SAME_WINDOW_SLACK},
    },
    rejection::{Bucket, Rejection},
    request::Cost,
    share::Unit,
};

/// No provider reports more windows of one limit.
const MAX_REPORTS: usize = 16;

/// As many cover the time between two exchanges.
const MAX_SENDS: usize = 64;

/// What this process has done with a limit.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnUse {
    pub(super) version: u64,
    /// How many requests have a place and were not sent yet.
    pub(super) reserved: u64,
    pub(super) sent: u64,
    pub(super) passed: u64,
    pub(super) rejected: u64,
    pub(super) ended: u64,
    /// What the requests cost that were sent, those that have ended, and those that have a place.
    pub(super) cost: Cost,
    ended_cost: Cost,
    reserved_cost: Cost,
    /// The number of the last of the requests that were sent together, and when the first was.
    pub(super) sends: VecDeque<(u64, Instant)>,
    /// When the last request was sent that has passed.
    pub(super) last_passed: Option<Instant>,
    pub(super) rejection: Option<OwnRejection>,
    pub(super) reports: Vec<OwnReport>,
}

/// The last rejection.
#[derive(Clone, Debug)]
pub(super) struct OwnRejection {
    pub(super) rejection: Rejection,
    pub(super) reports: Vec<OwnReport>,
    pub(super) sent: Instant,
    pub(super) came: Instant,
}

/// The last report on a window.
#[derive(Clone, Debug)]
pub(super) struct OwnReport {
    pub(super) bucket: Bucket,
    pub(super) sent: Instant,
    /// When it was admitted at the latest.
    admitted: Instant,
}

// === impl OwnUse ===

impl OwnUse {
    /// Returns the use of a limit whose requests so far are those of this process.
    pub(super) fn of(in_flight: &InFlight) -> Self {
        Self {
            version: 1,
            reserved: in_flight.reserved(),
            sent: in_flight.all() - in_flight.reserved(),
            cost: in_flight.all_cost(),
            ..Self::default()
        }
    }

    /// Returns how much the requests hold that have a place.
    pub(super) fn held(&self, unit: Unit) -> u64 {
        let sent = self.sent_in(unit).saturating_sub(self.used(unit));
        sent.saturating_add(match unit {
            Unit::Requests => self.reserved,
            _ => amount(unit, self.reserved_cost),
        })
    }

    /// Returns how much was sent.
    pub(super) fn sent_in(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.sent,
            _ => amount(unit, self.cost),
        }
    }

    /// Returns how much was used by requests that have ended.
    pub(super) fn used(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.ended,
            _ => amount(unit, self.ended_cost),
        }
    }

    /// Notes when the last request was sent.
    fn mark(&mut self, now: Instant) {
        match self.sends.back_mut() {
            Some((number, from)) if now < *from + COUNTED_TOGETHER => *number = self.sent,
            _ => self.sends.push_back((self.sent, now)),
        }
        if self.sends.len() > MAX_SENDS {
            self.sends.pop_front();
        }
    }

    fn report(&mut self, buckets: impl Iterator<Item = Bucket>, when: (Instant, Instant)) {
        for report in buckets.filter_map(|bucket| OwnReport::new(bucket, when)) {
            let count = self.reports.len();
            let known = self.reports.iter_mut().find(|it| it.is_of(&report.bucket));
            match known {
                Some(known) => known.merge(report),
                None if count < MAX_REPORTS => self.reports.push(report),
                None => {}
            }
        }
    }
}

// === impl OwnReport ===

impl OwnReport {
    fn new(bucket: Bucket, (sent, came): (Instant, Instant)) -> Option<Self> {
        bucket.remaining?;
        let admitted = came.min(sent + ADMISSION_SLACK);
        Some(Self {
            bucket,
            sent,
            admitted,
        })
    }

    /// Merges another report. Responses may come in another order than the provider sent them: within one window,
    /// the least counts.
    fn merge(&mut self, other: Self) {
        let is_same = match (self.resets(), other.resets()) {
            (Some(one), Some(other)) => one.max(other) - one.min(other) < SAME_WINDOW_SLACK,
            _ => false,
        };
        match is_same {
            true if self.bucket.remaining <= other.bucket.remaining => {
                self.sent = self.sent.max(other.sent);
            }
            true => {
                let sent = self.sent.max(other.sent);
                *self = Self { sent, ..other };
            }
            false if self.sent <= other.sent => *self = other,
            false => {}
        }
    }

    /// Returns when there is more, by what was reported.
    pub(super) fn resets(&self) -> Option<Instant> {
        let reset = self.bucket.reset.filter(|reset| !reset.is_zero())?;
        self.admitted.checked_add(reset)
    }

    fn is_of(&self, bucket: &Bucket) -> bool {
        (self.bucket.dimension, self.bucket.window) == (bucket.dimension, bucket.window)
    }
}

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
            own.version += u64::from(fleet.counts == FleetCounts::Requests);
        }
    }

    /// Notes that it no longer has a place.
    pub(in crate::quota::limit) fn note_released(&mut self, cost: Cost, was_sent: bool) {
        if let Some(fleet) = &mut self.fleet {
            let own = &mut fleet.own;
            if was_sent {
                own.ended += 1;
                own.ended_cost = own.ended_cost.saturating_add(cost);
                own.version += u64::from(fleet.counts == FleetCounts::Requests);
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
            let is_told = fleet.counts == FleetCounts::Requests || fleet.own.rejection.is_some();
            fleet.own.version += u64::from(is_told);
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
