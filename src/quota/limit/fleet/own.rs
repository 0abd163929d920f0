//! The requests of this process, as they are published. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::places::amount;
use crate::{
    quota::{
        limit::in_flight::InFlight,
        timing::{ADMISSION_SLACK, COUNTED_TOGETHER, SAME_WINDOW_SLACK},
    },
    rejection::{Bucket, Rejection},
    request::Cost,
    share::Unit,
};

/// No provider reports more windows of one limit.
pub(super) const MAX_REPORTS: usize = 16;

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
    /// How many open response bodies hold a place.
    pub(super) open: u64,
    /// What the requests cost that were sent, those that have ended, and those that have a place.
    pub(super) cost: Cost,
    pub(super) ended_cost: Cost,
    pub(super) reserved_cost: Cost,
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
            Unit::Requests => self.reserved.saturating_add(self.open),
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
    pub(super) fn mark(&mut self, now: Instant) {
        match self.sends.back_mut() {
            Some((number, from)) if now < *from + COUNTED_TOGETHER => *number = self.sent,
            _ => self.sends.push_back((self.sent, now)),
        }
        if self.sends.len() > MAX_SENDS {
            self.sends.pop_front();
        }
    }

    pub(super) fn report(
        &mut self,
        buckets: impl Iterator<Item = Bucket>,
        when: (Instant, Instant),
    ) {
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
    pub(super) fn new(bucket: Bucket, (sent, came): (Instant, Instant)) -> Option<Self> {
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
