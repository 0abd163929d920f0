//! What the reports of one limit on tokens show over time: how it refills, and what requests cost. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    TokenWindow,
    reports::{FirstReport, LastReport, SentUntil},
};
use crate::{
    quota::{
        demand::tokens_of,
        limit::tokens::{Calibration, Refill},
    },
    request::Cost,
};

/// A report of a bucket shows how fast it fills if at least this part of it is used.
const EXACT_PART: u64 = 8;

// === impl TokenWindow ===

impl TokenWindow {
    /// Observes how much less is left than an earlier report has shown, and when the resets are.
    pub(super) fn observe(
        &mut self,
        new: LastReport,
        (total, cost): (SentUntil, Cost),
        (sent, now): (Instant, Instant),
        traits: &mut Calibration,
    ) {
        let first = FirstReport::new(new, total, now);
        let first = self.first.get_or_insert(first);
        if let (Some(limit), Some(reset)) = (self.limit, new.reset) {
            let before = first.report.reset.unwrap_or(reset);
            if let Some(refill) = Refill::of(limit, before, reset) {
                traits.refill = refill;
            }
            let is_exact = reset.used >= limit / EXACT_PART;
            if reset.used > 0 && (is_exact || self.fills_in.is_none()) {
                let fills_in = reset.reset.as_secs_f64() * limit as f64 / reset.used as f64;
                self.fills_in = Duration::try_from_secs_f64(fills_in).ok();
            }
        }
        self.refill = traits.refill;
        self.calibrate(new, cost, sent, traits);
        if self.first.is_some_and(|first| first.total.is_none()) {
            // What some requests cost is not known.
            self.first = None;
        }
        // All that was used before is back.
        let is_full = new.reset.is_none_or(|reset| reset.used == 0);
        let is_old = self
            .first
            .is_some_and(|first| Some(first.completed) > self.limit);
        if is_full || (is_old && self.refill == Refill::Steady) {
            self.first = Some(FirstReport::new(new, total, now));
        }
        self.last = Some(new);
    }

    fn calibrate(&mut self, new: LastReport, cost: Cost, sent: Instant, traits: &mut Calibration) {
        let (rate, dimension) = (self.rate().unwrap_or_default(), self.dimension);
        let own = tokens_of(cost, dimension).unwrap_or_default();
        let fall = |since: LastReport| {
            let refilled = rate * new.at.saturating_duration_since(since.at).as_secs_f64();
            since.remaining as f64 + refilled - new.remaining as f64
        };
        let sent_since = |since: Option<Cost>| {
            let sent = new.total?.saturating_sub(since?);
            tokens_of(sent, dimension)
        };
        if let Some(last) = self.last {
            if sent_since(last.total) == Some(own) {
                traits.observe_one(dimension, fall(last), own);
            }
        }
        if let Some(first) = &mut self.first {
            let counted = fall(first.report);
            first.counted = first.counted.max(counted);
            if first.came <= sent {
                first.completed = first.completed.saturating_add(own);
            }
            if let Some(sent) = sent_since(first.total) {
                let most = (first.counted, first.completed);
                traits.bound(dimension, (counted, sent), most);
            }
        }
    }
}
