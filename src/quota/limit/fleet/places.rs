//! What this process has leased of a limit in one unit: places for requests, or tokens. Pure.

use tokio::time::Instant;

use crate::{
    request::Cost,
    share::{Grant, HOLDS_FOR, KEPT_FOR, LeaseRequest, Unit},
};

/// What is leased in one unit, beyond what the requests in flight hold.
#[derive(Clone, Debug, Default)]
pub(super) struct LeasedPlaces {
    idle: u64,
    /// Until when the engine keeps it for this process; `None` while it does without leases.
    until: Option<Instant>,
    /// How much more may be sent by all processes, as far as this one knows.
    more: u64,
    /// What the request needs that looked last.
    need: u64,
    /// How much all processes may have used and hold, by what this one knew when it looked last.
    ceiling: Option<u64>,
    /// Whether a request has found too little.
    missed: bool,
    /// Whether that was so at the last exchange, and nothing was granted.
    was_refused: bool,
    /// How much was taken since the last exchange, and when the last was.
    taken: u64,
    last_taken: Option<Instant>,
    /// How much all processes had used at the last exchange, and how much this one.
    used: Option<(u64, u64)>,
    /// The epoch of that response.
    epoch: Option<u64>,
}

// === impl LeasedPlaces ===

impl LeasedPlaces {
    /// Returns those of another unit of the same limit. It is leased as long as the others are.
    pub(super) fn of_another_unit(&self) -> Self {
        Self {
            until: self.until,
            epoch: self.epoch,
            ..Self::default()
        }
    }

    /// Returns whether a request needs a place.
    pub(super) fn are_leased(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes that all processes may send so much more, and that a request needs so much of it.
    ///
    /// This process has used `own_used`, and the requests of all that are in flight hold `held`.
    pub(super) fn look(&mut self, (more, need): (u64, u64), (own_used, held): (u64, u64)) {
        (self.more, self.need) = (more, need);
        // The engine counts from zero for a limit that has not been used.
        let (used, own_then) = self.used.unwrap_or((0, own_used));
        let used = used.saturating_add(own_used.saturating_sub(own_then));
        self.ceiling = Some(used.saturating_add(held).saturating_add(more));
    }

    /// Returns for how many requests there is enough.
    pub(super) fn enough_for(&self, now: Instant) -> u64 {
        match self.more != 0 && self.is_limited() && self.are_leased(now) {
            true => self.idle / self.need.max(1),
            false => u64::MAX,
        }
    }

    /// Returns how much is leased and not used yet.
    pub(super) fn idle(&self) -> u64 {
        self.idle
    }

    /// Returns whether there is a limit in this unit.
    pub(super) fn is_limited(&self) -> bool {
        self.more != u64::MAX
    }

    /// Returns for how many requests there may be enough if each needs so much.
    pub(super) fn may_serve(&self, each: u64) -> u64 {
        self.more / each.max(1)
    }

    /// Notes that a request has found too little.
    pub(super) fn miss(&mut self) {
        self.missed = true;
    }

    pub(super) fn has_missed(&self) -> bool {
        self.missed
    }

    /// Returns whether a request found too little before the last exchange, and nothing was granted.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// A request takes so much.
    pub(super) fn take(&mut self, amount: u64, now: Instant) {
        self.idle = self.idle.saturating_sub(amount);
        if self.is_limited() {
            self.more = self.more.saturating_sub(amount);
        }
        self.taken = self.taken.saturating_add(amount);
        self.last_taken = Some(now);
    }

    /// A request that has taken so much was not sent.
    pub(super) fn give_back(&mut self, amount: u64) {
        if self.until.is_some() {
            self.idle = self.idle.saturating_add(amount);
        }
    }

    /// The limit is closed: places are of no use.
    pub(super) fn close(&mut self) {
        self.more = 0;
    }

    /// Returns how much is kept, how much more is wanted for calls that wait and need `needed` together, and how
    /// much of that at least.
    pub(super) fn plan(&mut self, needed: u64, now: Instant) -> (u64, u64, u64) {
        let more = if self.is_limited() { self.more } else { 0 };
        let needed = match self.missed && needed > 0 {
            true => needed.max(self.need),
            false => needed,
        };
        let is_used = self.last_taken.is_some_and(|at| now < at + KEPT_FOR);
        let ahead = if is_used { self.taken } else { 0 };
        let target = needed.max(ahead).min(more);
        if !is_used || more == 0 {
            self.idle = self.idle.min(target);
        }
        if self.was_refused && self.missed && self.idle < self.need {
            // Others wait for the same, and a part is of no use.
            self.idle = 0;
        }
        let wanted = target.saturating_sub(self.idle);
        let least = match self.missed {
            true => self.need.saturating_sub(self.idle),
            false => 1,
        };
        self.was_refused = self.missed && wanted > 0;
        (self.taken, self.missed) = (0, false);
        (self.idle, wanted, least.min(wanted))
    }

    /// Returns whether this process has received in this epoch how much was used.
    pub(super) fn is_synced(&self, epoch: Option<u64>) -> bool {
        self.used.is_some() && epoch == self.epoch
    }

    /// Returns the ceiling for all processes; `None` if this one has not received in this epoch how much was used.
    pub(super) fn ceiling(&self, epoch: Option<u64>) -> Option<u64> {
        self.ceiling
            .filter(|_| self.epoch.is_none() || epoch == self.epoch)
    }

    /// Notes how much all processes have used when this one had used `published.used`, and takes what was granted.
    pub(super) fn receive(&mut self, grant: Grant, published: LeaseRequest, epoch: u64) {
        if self.epoch != Some(epoch) {
            (self.ceiling, self.epoch) = (None, Some(epoch));
        }
        self.used = Some((grant.used, published.used));
        self.was_refused &= grant.granted == 0;
        self.idle = self.idle.saturating_add(grant.granted);
    }

    /// Notes that the engine keeps what a request of this moment holds.
    pub(super) fn keep(&mut self, began: Instant) {
        self.until = Some(began + HOLDS_FOR);
    }

    /// Does without leases from now on.
    pub(super) fn end(&mut self) {
        (self.idle, self.until) = (0, None);
        (self.used, self.ceiling) = (None, None);
    }
}

/// Returns how much of a unit a request takes.
pub(super) fn amount(unit: Unit, cost: Cost) -> u64 {
    match unit {
        Unit::Requests => 1,
        Unit::Tokens => cost.total(),
        Unit::InputTokens => cost.input(),
        Unit::OutputTokens => cost.output(),
    }
}
