//! What this process has leased of a limit, in each unit. Pure.

use tokio::time::Instant;

use super::{
    own::OwnUse,
    places::{LeasedPlaces, amount},
};
use crate::{
    quota::{demand::Demand, limit::Capacity},
    request::Cost,
    share::{Grant, LeaseRequest, TIMEOUT, Unit},
};

/// The leases of a limit. That in requests comes first.
#[derive(Clone, Debug)]
pub(super) struct Leases(Vec<(Unit, LeasedPlaces)>);

/// What keeps a process from sending, before any lease.
pub(super) struct Unleased<'a> {
    pub(super) capacity: Capacity,
    /// How many tokens of each kind are left.
    pub(super) tokens: &'a [(Unit, u64)],
    /// How many requests are in flight of all processes, and what they cost.
    pub(super) in_flight: (u64, Cost),
}

// === impl Leases ===

impl Default for Leases {
    fn default() -> Self {
        Self(vec![(Unit::Requests, LeasedPlaces::default())])
    }
}

impl Leases {
    fn requests(&self) -> &LeasedPlaces {
        &self.0[0].1
    }

    fn get_mut(&mut self, unit: Unit) -> &mut LeasedPlaces {
        let known = self.0.iter().position(|(of, _)| *of == unit);
        let at = known.unwrap_or_else(|| {
            self.0.push((unit, self.requests().of_another_unit()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub(super) fn are_leased(&self, now: Instant) -> bool {
        self.requests().are_leased(now)
    }

    /// Bounds what may be sent. A request that finds too little waits until the engine grants more.
    pub(super) fn bound(
        &mut self,
        unleased: &Unleased<'_>,
        demand: Demand,
        own: &OwnUse,
        now: Instant,
    ) -> Capacity {
        let capacity = unleased.capacity;
        let (in_flight, cost) = unleased.in_flight;
        let more = match capacity {
            Capacity::Available(more) => more,
            Capacity::Verify(_) => 1,
            _ => 0,
        };
        let places = self.get_mut(Unit::Requests);
        places.look((more, 1), (own.used(Unit::Requests), in_flight));
        for (unit, left) in unleased.tokens {
            let need = amount(*unit, demand.cost());
            // That it fits is known by its capacity.
            let more = if more > 0 { need.max(*left) } else { 0 };
            let counts = (own.used(*unit), amount(*unit, cost));
            self.get_mut(*unit).look((more, need), counts);
        }
        if more == 0 {
            return capacity;
        }
        let units = self.0.iter().map(|(_, places)| places.enough_for(now));
        match (units.min().unwrap_or(u64::MAX), capacity) {
            (u64::MAX, _) => capacity,
            (0, _) => {
                for (_, places) in &mut self.0 {
                    if places.enough_for(now) == 0 {
                        places.miss();
                    }
                }
                without_place(capacity, now)
            }
            (enough, Capacity::Available(more)) => Capacity::Available(more.min(enough)),
            (_, other) => other,
        }
    }

    /// Returns whether a request has found too little since the last exchange.
    pub(super) fn have_missed(&self) -> bool {
        self.0.iter().any(|(_, places)| places.has_missed())
    }

    pub(super) fn take(&mut self, cost: Cost, now: Instant) {
        for (unit, places) in &mut self.0 {
            places.take(amount(*unit, cost), now);
        }
    }

    pub(super) fn give_back(&mut self, cost: Cost) {
        for (unit, places) in &mut self.0 {
            places.give_back(amount(*unit, cost));
        }
    }

    pub(super) fn close(&mut self) {
        self.0.iter_mut().for_each(|(_, places)| places.close());
    }

    /// Returns the lease requests for so many waiting calls, and whether places are kept. Calls for which places were
    /// requested are subtracted from `waiting`.
    pub(super) fn plan(
        &mut self,
        own: &OwnUse,
        epoch: Option<u64>,
        waiting: &mut u64,
        now: Instant,
    ) -> (Vec<(Unit, LeaseRequest)>, bool) {
        let each = |unit| (own.sent_in(unit) / own.sent.max(1)).max(1);
        let limited = self.0.iter().filter(|(_, places)| places.is_limited());
        let enough = limited.map(|(unit, places)| places.may_serve(each(*unit)));
        let calls = match self.have_missed() {
            true => (*waiting).min(enough.min().unwrap_or_default()),
            false => 0,
        };
        // Calls for which this limit had nothing may be sent under another.
        if !self.0.iter().any(|(_, places)| places.was_refused()) {
            *waiting = waiting.saturating_sub(calls);
        }
        let mut keeps = false;
        let request = |(unit, places): &mut (Unit, LeasedPlaces)| {
            let needed = calls.saturating_mul(each(*unit));
            let (kept, wanted, least) = places.plan(needed, now);
            keeps |= kept > 0;
            let (held, used) = (own.held(*unit).saturating_add(kept), own.used(*unit));
            let request = match places.ceiling(epoch) {
                Some(ceiling) => LeaseRequest::new((held, used), ceiling).want(wanted, least),
                None => LeaseRequest::new((held, used), 0),
            };
            (*unit, request)
        };
        let requests = self.0.iter_mut().map(request).collect();
        (requests, keeps)
    }

    /// Returns what is leased in each unit that is limited, and what requests hold of that.
    pub(super) fn leased(
        &self,
        own: &OwnUse,
        now: Instant,
    ) -> impl Iterator<Item = (Unit, (u64, u64))> {
        let are_leased = self.are_leased(now);
        let limited = self.0.iter();
        let limited = limited.filter(move |(_, places)| are_leased && places.is_limited());
        limited.map(|(unit, places)| (*unit, (places.idle(), own.held(*unit))))
    }

    /// Returns whether this process has received in this epoch how much was used.
    pub(super) fn are_synced(&self, epoch: Option<u64>) -> bool {
        self.0.iter().all(|(_, places)| places.is_synced(epoch))
    }

    pub(super) fn receive(
        &mut self,
        unit: Unit,
        (grant, published): (Grant, LeaseRequest),
        epoch: u64,
    ) {
        self.get_mut(unit).receive(grant, published, epoch);
    }

    pub(super) fn keep(&mut self, began: Instant) {
        self.0.iter_mut().for_each(|(_, places)| places.keep(began));
    }

    pub(super) fn end(&mut self) {
        self.0.iter_mut().for_each(|(_, places)| places.end());
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
