//! The places of a limit that this process has leased. Pure.

use tokio::time::Instant;

use crate::{
    quota::limit::Capacity,
    share::{HOLDS_FOR, KEPT_FOR, Sharing, TIMEOUT, Urgency},
};

/// The places that are leased, beyond those of the requests in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct LeasedPlaces {
    idle: u64,
    /// Until when the engine keeps them for this process; `None` while it does without leases.
    until: Option<Instant>,
    /// How many more may be sent by all processes, as far as this one knows.
    more: u64,
    /// How many all processes may have used and hold, by what this one knew when it looked last.
    ceiling: Option<u64>,
    /// Whether a request has found no place.
    missed: bool,
    /// How many were taken since the last exchange, and when the last was.
    taken: u64,
    last_taken: Option<Instant>,
    /// How many all processes had used at the last exchange, and how many this one.
    used: Option<(u64, u64)>,
    /// The epoch in which that was heard.
    epoch: Option<u64>,
}

// === impl LeasedPlaces ===

impl LeasedPlaces {
    /// Returns whether a request needs a place.
    pub(super) fn are_leased(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Bounds what may be sent. A request that finds no place waits until the engine grants one.
    ///
    /// This process has used `own_used`, and so many requests of all are in flight.
    pub(super) fn bound(
        &mut self,
        capacity: Capacity,
        (own_used, in_flight): (u64, u64),
        share: &Sharing,
        now: Instant,
    ) -> Capacity {
        self.more = match capacity {
            Capacity::Available(more) => more,
            Capacity::Verify(_) => 1,
            _ => 0,
        };
        // What the engine counts of a limit that nobody has used begins with zero.
        let (used, own_then) = self.used.unwrap_or((0, own_used));
        let used = used.saturating_add(own_used.saturating_sub(own_then));
        self.ceiling = Some(used.saturating_add(in_flight).saturating_add(self.more));
        if self.more == 0 || self.more == u64::MAX || !self.are_leased(now) {
            return capacity;
        }
        match (self.idle, capacity) {
            (0, _) => {
                self.missed = true;
                share.raise(Urgency::Wanted);
                without_place(capacity, now)
            }
            (idle, Capacity::Available(more)) => Capacity::Available(more.min(idle)),
            (_, other) => other,
        }
    }

    /// A request takes a place.
    pub(super) fn take(&mut self, now: Instant) {
        self.idle = self.idle.saturating_sub(1);
        self.more = self.more.saturating_sub(u64::from(self.more != u64::MAX));
        self.taken += 1;
        self.last_taken = Some(now);
    }

    /// A request was not sent.
    pub(super) fn give_back(&mut self) {
        self.idle += u64::from(self.until.is_some());
    }

    /// The limit is closed: places are of no use.
    pub(super) fn close(&mut self) {
        self.more = 0;
    }

    /// Returns how many places are kept, and how many more are wanted for so many calls that wait.
    pub(super) fn plan(&mut self, waiting: &mut u64, now: Instant) -> (u64, u64) {
        let more = match self.more {
            u64::MAX => 0,
            more => more,
        };
        let needed = match self.missed {
            true => more.min(*waiting),
            false => 0,
        };
        *waiting -= needed;
        let is_used = self.last_taken.is_some_and(|at| now < at + KEPT_FOR);
        let ahead = if is_used { self.taken } else { 0 };
        let target = needed.max(ahead).min(more);
        if !is_used || more == 0 {
            self.idle = self.idle.min(target);
        }
        (self.taken, self.missed) = (0, false);
        (self.idle, target.saturating_sub(self.idle))
    }

    /// Returns whether this process has heard in this epoch how many were used.
    pub(super) fn is_heard(&self, epoch: Option<u64>) -> bool {
        self.used.is_some() && epoch == self.epoch
    }

    /// Returns the ceiling for all processes; `None` if this one has not heard in this epoch how many were used.
    pub(super) fn ceiling(&self, epoch: Option<u64>) -> Option<u64> {
        self.ceiling
            .filter(|_| self.epoch.is_none() || epoch == self.epoch)
    }

    /// Notes how many all processes have used when this one had used `own_used`, and takes what was granted.
    pub(super) fn hear(&mut self, used: u64, own_used: u64, granted: u64, epoch: u64) {
        if self.epoch != Some(epoch) {
            (self.ceiling, self.epoch) = (None, Some(epoch));
        }
        self.used = Some((used, own_used));
        self.idle = self.idle.saturating_add(granted);
    }

    /// Notes that the engine keeps the places that it was asked for at this moment.
    pub(super) fn keep(&mut self, asked: Instant) {
        self.until = Some(asked + HOLDS_FOR);
    }

    /// Does without leases from now on.
    pub(super) fn lose(&mut self) {
        (self.idle, self.until) = (0, None);
        (self.used, self.ceiling) = (None, None);
    }
}

/// Bounds what may be sent under a limit that is new, and shared in a moment.
pub(super) fn before_lease(capacity: Capacity, now: Instant) -> Capacity {
    match capacity {
        Capacity::Available(u64::MAX) => capacity,
        Capacity::Available(_) | Capacity::Verify(_) => without_place(capacity, now),
        _ => capacity,
    }
}

/// Returns what a request waits for that finds no place. If the engine does not answer by then, there are no leases.
fn without_place(capacity: Capacity, now: Instant) -> Capacity {
    match capacity {
        Capacity::Verify(until) => Capacity::Closed(until.min(now + TIMEOUT)),
        _ => Capacity::Full(Some(now + TIMEOUT)),
    }
}
