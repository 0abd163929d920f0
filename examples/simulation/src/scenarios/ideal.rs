//! The least time that a scenario can take.

use std::time::Duration;

use super::Scenario;
use crate::{
    oracle::{self, Job, Served, Terms},
    provider::{ROUND_TRIP, limits::Limit},
    work::Work,
};

// === impl Scenario ===

impl Scenario {
    /// Returns the least time that the limits and the time to the provider and back allow.
    pub(crate) fn ideal(&self, seed: u64) -> Duration {
        if let Some(background) = self.background {
            return background.lasts;
        }
        match self.served(seed).iter().map(|served| served.answered).max() {
            Some(last) => last,
            None => self.ideal_of_requests(),
        }
    }

    /// Returns how an oracle serves the calls. Returns nothing if their costs are not known.
    pub(crate) fn served(&self, seed: u64) -> Vec<Served> {
        let Some(draw) = self.draw else {
            return Vec::new();
        };
        let jobs = (0..self.calls).map(|number| {
            let work = Work::of(draw, seed, number);
            Job {
                cost: work.cost,
                answer: work.answer,
            }
        });
        oracle::serve(&self.terms(), &jobs.collect::<Vec<_>>())
    }

    fn terms(&self) -> Terms {
        let models = 1 + usize::from(self.setup.fallback.is_some());
        let models = self.plan.models.iter().take(models);
        let candidates = self.setup.keys.iter().flat_map(|(key, _)| {
            let models = models.clone();
            models.filter_map(|(model, _)| self.plan.limits(key, model))
        });
        Terms {
            candidates: candidates.collect(),
            at_once: self.plan.in_flight.map(|limit| limit.at_once),
            workers: self.workers,
            way: ROUND_TRIP / 2,
            apart: self.apart,
        }
    }

    /// Returns the least time for calls that cost one request each.
    fn ideal_of_requests(&self) -> Duration {
        let plan = &self.plan;
        let mut accounts: Vec<_> = self.setup.keys.iter().collect();
        accounts.retain(|(key, _)| !plan.is_dead(key));
        accounts.dedup_by_key(|(_, group)| *group);
        if plan.account.is_some() {
            accounts.truncate(1);
        }
        let of_key = |key: &str| -> u32 {
            let limits = plan.models.iter();
            let limits = limits.filter_map(|(model, _)| plan.limit(key, model));
            limits.map(Limit::size).sum()
        };
        let per_window: u32 = accounts.iter().map(|(key, _)| of_key(key)).sum();
        let Some((_, limit)) = plan.models.first() else {
            return Duration::ZERO;
        };
        let limit = limit.of_size(per_window);
        // The calls of the last window are sent in rounds with one call per worker.
        let per_window = per_window as usize;
        let last = match (limit, self.calls % per_window) {
            (Limit::Bucket(..), _) => 1,
            (_, 0) => per_window,
            (_, rest) => rest,
        };
        let rounds = u32::try_from(last.div_ceil(self.workers)).unwrap_or(u32::MAX);
        let round = ROUND_TRIP + plan.thinks.1;
        let least = limit.least_time(self.calls as f64);
        let limited = Duration::from_secs_f64(least) + round * rounds;
        let last = u32::try_from(self.calls.saturating_sub(1)).unwrap_or(u32::MAX);
        limited.max(self.apart * last + round)
    }
}
