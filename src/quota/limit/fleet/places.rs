//! What this process has leased of a limit in one unit: places for requests, or tokens. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    request::Cost,
    share::{Grant, HOLDS_FOR, KEPT_FOR, LeaseRequest, Unit},
};

/// As much as was taken within about this time is expected next.
const AVERAGED_OVER: Duration = Duration::from_millis(100);

/// What is leased in one unit, beyond what the requests in flight hold.
#[derive(Clone, Debug, Default)]
pub(super) struct LeasedPlaces {
    idle: u64,
    /// Until when the engine keeps it for this process; `None` while it does without leases.
    until: Option<Instant>,
    /// How much more may be sent by all processes, as far as this one knows.
    more: u64,
    /// How much is needed by the request of the last lookup.
    need: u64,
    /// How much all processes together may have used and hold, by the last lookup; zero if that is unknown.
    ceiling: u64,
    /// What the waiting calls would take now.
    planned: PlannedUse,
    /// Whether waiting calls needed more at the last exchange, and nothing was granted.
    was_refused: bool,
    /// Whether something was taken since the last exchange.
    has_taken: bool,
    /// A sum of what was taken, in which older amounts count less, and when the last was taken.
    recent: f64,
    last_taken: Option<Instant>,
    /// How much all processes had used at the last exchange, and how much this one.
    used: Option<(u64, u64)>,
    /// The epoch of that response.
    epoch: Option<u64>,
}

/// What the waiting calls would take if all that is left were leased to this process.
#[derive(Clone, Copy, Debug, Default)]
struct PlannedUse {
    /// How much all of them would take, and how much the first.
    all: u64,
    first: u64,
    /// The greatest ceiling that the plan has found.
    ceiling: u64,
}

/// What a process keeps of a unit, and wants.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlannedLease {
    pub(super) kept: u64,
    pub(super) wanted: u64,
    pub(super) least: u64,
    pub(super) ceiling: u64,
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
    pub(super) fn look(&mut self, more: u64, need: u64) {
        (self.more, self.need) = (more, need);
    }

    /// Notes the ceiling: what all processes have used, what their requests in flight hold, and what may still be sent.
    /// This process has used `own_used`. A request that is sent or ends later does not change the ceiling.
    pub(super) fn look_ahead(&mut self, own_used: u64, held: u64, is_planning: bool) {
        // The engine counts from zero for a limit that has not been used.
        let (used, own_then) = self.used.unwrap_or((0, own_used));
        let used = used.saturating_add(own_used.saturating_sub(own_then));
        self.ceiling = used.saturating_add(held).saturating_add(self.more);
        if is_planning {
            // A background call finds less, because it leaves a part to interactive calls.
            self.planned.ceiling = self.planned.ceiling.max(self.ceiling);
        }
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

    /// A request takes so much.
    pub(super) fn take(&mut self, amount: u64, now: Instant) {
        self.idle = self.idle.saturating_sub(amount);
        if self.is_limited() {
            self.more = self.more.saturating_sub(amount);
        }
        self.recent = self.recently_taken(now) + amount as f64;
        self.has_taken = true;
        self.last_taken = Some(now);
    }

    /// A request that has taken so much was not sent.
    pub(super) fn give_back(&mut self, amount: u64) {
        if self.until.is_some() {
            self.idle = self.idle.saturating_add(amount);
        }
    }

    /// Forgets the last plan, and drops the idle places if the limit is closed.
    pub(super) fn begin_plan(&mut self, is_closed: bool) {
        self.planned = PlannedUse::default();
        if is_closed {
            (self.more, self.idle, self.ceiling) = (0, 0, 0);
        }
    }

    /// Plans for a call that would take so much.
    pub(super) fn plan(&mut self, amount: u64) {
        if !self.is_limited() {
            return;
        }
        if self.planned.all == 0 {
            self.planned.first = amount;
        }
        self.planned.all = self.planned.all.saturating_add(amount);
        self.more = self.more.saturating_sub(amount);
    }

    /// Returns whether places are kept that waiting calls cannot use, because they lack places of another limit or
    /// unit.
    pub(super) fn are_in_vain(&self) -> bool {
        self.idle > 0 && !self.has_taken && self.planned.all > 0
    }

    pub(super) fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// Keeps what is used or planned, and returns what this process wants for `waiting` calls, of which `planned` were
    /// planned. A process that yields keeps and wants nothing.
    pub(super) fn end_plan(
        &mut self,
        (waiting, planned): (u64, u64),
        yields: bool,
        now: Instant,
    ) -> PlannedLease {
        let all = self.planned.all.saturating_add(match self.is_limited() {
            true => self.more,
            false => 0,
        });
        let for_calls = self.planned.all.saturating_mul(waiting) / planned.max(1);
        let for_calls = for_calls.max(self.planned.all).min(all);
        let is_used = self.last_taken.is_some_and(|at| now < at + KEPT_FOR);
        let target = for_calls.max(self.expected(now).min(all));
        let most = if is_used { all } else { target };
        self.idle = if yields { 0 } else { self.idle.min(most) };
        let wanted = match yields {
            true => 0,
            false => target.saturating_sub(self.idle),
        };
        let least = self.planned.first.saturating_sub(self.idle).max(1);
        self.was_refused = wanted > 0 && self.planned.all > self.idle;
        self.has_taken = false;
        PlannedLease {
            kept: self.idle,
            wanted,
            least: least.min(wanted),
            // If no call waits, places are leased ahead under the ceiling of the last lookup.
            ceiling: match self.planned.all {
                0 => self.planned.ceiling.max(self.ceiling),
                _ => self.planned.ceiling,
            },
        }
    }

    /// Returns how much was taken lately. What was taken earlier counts less.
    fn recently_taken(&self, now: Instant) -> f64 {
        let since = self
            .last_taken
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.recent * (-since.as_secs_f64() / AVERAGED_OVER.as_secs_f64()).exp()
    }

    /// Returns how much is taken within [`AVERAGED_OVER`], if calls come as often as lately. A call that came alone does
    /// not show that others follow.
    fn expected(&self, now: Instant) -> u64 {
        (self.recently_taken(now) as u64).saturating_sub(self.need)
    }

    /// Returns whether this process has received in this epoch how much was used.
    pub(super) fn is_synced(&self, epoch: Option<u64>) -> bool {
        self.used.is_some() && epoch == self.epoch
    }

    /// Notes how much all processes have used when this one had used `published.used`, and takes what was granted.
    pub(super) fn receive(&mut self, grant: Grant, published: LeaseRequest, epoch: u64) {
        if self.epoch.replace(epoch) != Some(epoch) {
            self.ceiling = 0;
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
        (self.idle, self.until, self.used) = (0, None, None);
        self.ceiling = 0;
        (self.was_refused, self.planned) = (false, PlannedUse::default());
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
