//! The waiters of one class and priority. Pure.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{
    forecast::{Forecast, Prospect},
    place::WaiterId,
};
use crate::quota::{demand::Demand, timing::MAX_SLIP};

/// So many calls behind the first are looked at for one that needs less.
const MAX_BACKFILL: usize = 64;

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) since: Instant,
    pub(crate) demand: Demand,
}

/// The waiters of one class and priority.
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Line {
    waiting: BTreeMap<WaiterId, Waiting>,
    pub(super) forecast: Forecast,
    /// What was not served though a call that needs less may be.
    pub(super) not_served: Option<Demand>,
    /// The head that has a timer for the forecast, and until when.
    pub(super) notified: Option<(WaiterId, Option<Instant>)>,
}

// === impl Line ===

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn insert(&mut self, id: WaiterId, waiting: Waiting) {
        self.waiting.insert(id, waiting);
    }

    pub(super) fn remove(&mut self, id: WaiterId) {
        self.waiting.remove(&id);
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = WaiterId> {
        self.waiting.keys().copied()
    }

    /// Returns the last of so many, from the first on.
    pub(super) fn last_of(&self, count: usize) -> Option<WaiterId> {
        self.ids().take(count).last()
    }

    pub(super) fn head(&self) -> Option<WaiterId> {
        self.waiting.keys().next().copied()
    }

    /// Returns what the first call needs, and since when the line waits: a call that comes back goes first, and
    /// waits for less long than the others.
    pub(super) fn first(&self, now: Instant) -> Option<Waiting> {
        let (id, first) = self.waiting.first_key_value()?;
        let first_new = self.waiting.range(id.first_new()..).next();
        let since = first_new.map_or(now, |(_, waiting)| waiting.since);
        Some(Waiting {
            since: since.min(first.since),
            ..*first
        })
    }

    /// Visits the waiters. An error says whether a call that needs less may go before. If not, the visit ends.
    #[cfg(feature = "share")]
    pub(super) fn visit(&self, mut visit: impl FnMut(Waiting) -> Result<(), bool>) {
        let mut misses = 0;
        for waiting in self.waiting.values() {
            match visit(*waiting) {
                Ok(()) => {}
                Err(true) if misses < MAX_BACKFILL => misses += 1,
                Err(_) => return,
            }
        }
    }

    /// Reserves for calls behind the first that need less than what could not be served.
    pub(super) fn backfill<R>(
        &mut self,
        mut reserve: impl FnMut(Waiting) -> Result<R, Forecast>,
    ) -> Vec<(WaiterId, R)> {
        let mut served = Vec::new();
        for (id, waiting) in self.waiting.iter().skip(1).take(MAX_BACKFILL) {
            if self
                .not_served
                .is_some_and(|least| least.is_within(waiting.demand))
            {
                continue;
            }
            match reserve(*waiting) {
                Ok(reservation) => served.push((*id, reservation)),
                Err(forecast) => {
                    self.not_served = Some(waiting.demand);
                    if !forecast.less_may_go {
                        break;
                    }
                }
            }
        }
        for (id, _) in &served {
            self.waiting.remove(id);
        }
        served
    }

    /// Returns whether a call behind the first may need less than what could not be served.
    pub(super) fn may_go_before(&self, id: WaiterId) -> bool {
        let (Some(least), Some(waiting)) = (self.not_served, self.waiting.get(&id)) else {
            return false;
        };
        !least.is_within(waiting.demand)
    }

    /// Returns whether the wait has become so much longer that some may not want to wait any more.
    pub(super) fn has_slipped(&self, prospect: Prospect, now: Instant) -> bool {
        // While a response could show capacity it might have been now.
        let before = match self.forecast.prospect {
            Prospect::At(at) => at,
            Prospect::AnyTime | Prospect::Never => now,
        };
        match prospect {
            Prospect::AnyTime => false,
            Prospect::At(after) => before + MAX_SLIP < after,
            Prospect::Never => true,
        }
    }

    /// Returns whether the head polls in time by itself.
    pub(super) fn head_is_notified(&self, head: WaiterId) -> bool {
        self.notified.is_some_and(|(notified, at)| {
            let in_time = |free_at| at.is_some_and(|at| at <= free_at);
            notified == head && self.forecast.free_at.is_none_or(in_time)
        })
    }
}

#[cfg(test)]
impl Line {
    /// Returns what a waiter needs, and since when the line waits.
    pub(super) fn waiter(&self, id: WaiterId) -> Option<Waiting> {
        let waiting = self.waiting.get(&id)?;
        Some(Waiting {
            demand: waiting.demand,
            ..self.first(waiting.since)?
        })
    }
}
