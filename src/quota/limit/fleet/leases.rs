//! What this process has leased of a limit, in each unit. Pure.

use tokio::time::Instant;

use super::{
    own::OwnUse,
    places::{LeasedPlaces, amount},
    planned::PlannedCalls,
};
use crate::{
    quota::{demand::Demand, limit::Capacity},
    request::Cost,
    share::{Grant, LeaseRequest, TIMEOUT, Unit},
};

/// The leases of a limit.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    /// That in requests comes first.
    units: Vec<(Unit, LeasedPlaces)>,
    /// Whether a plan is being made of what waiting calls would take: no leased place is taken for it.
    is_planning: bool,
}

/// What keeps a process from sending, before any lease.
pub(super) struct Unleased<'a> {
    pub(super) capacity: Capacity,
    /// How many tokens of each kind are left.
    pub(super) tokens: &'a [(Unit, u64)],
    /// How many requests are in flight of all processes, and what they cost.
    pub(super) in_flight: (u64, Cost),
}

/// The lease requests for a limit.
pub(super) struct PlannedLeases {
    pub(super) requests: Vec<(Unit, LeaseRequest)>,
    /// Whether places are kept that no call uses.
    pub(super) keeps_places: bool,
}

// === impl Leases ===

impl Default for Leases {
    fn default() -> Self {
        Self {
            units: vec![(Unit::Requests, LeasedPlaces::default())],
            is_planning: false,
        }
    }
}

impl Leases {
    fn requests(&self) -> &LeasedPlaces {
        &self.units[0].1
    }

    fn get_mut(&mut self, unit: Unit) -> &mut LeasedPlaces {
        let known = self.units.iter().position(|(of, _)| *of == unit);
        let at = known.unwrap_or_else(|| {
            let places = self.requests().of_another_unit();
            self.units.push((unit, places));
            self.units.len() - 1
        });
        &mut self.units[at].1
    }

    pub(super) fn are_leased(&self, now: Instant) -> bool {
        self.requests().are_leased(now)
    }

    pub(super) fn is_planning(&self) -> bool {
        self.is_planning
    }

    /// Bounds what may be sent. Returns also whether a request finds no leased place although the limit has capacity.
    /// Such a request waits until the engine grants more.
    pub(super) fn bound(
        &mut self,
        unleased: &Unleased<'_>,
        demand: Demand,
        own: &OwnUse,
        now: Instant,
    ) -> (Capacity, bool) {
        let capacity = unleased.capacity;
        let more = match capacity {
            Capacity::Available(more) => more,
            Capacity::Verify(_) => 1,
            _ => 0,
        };
        self.look(more, unleased, demand, own);
        if more == 0 || self.is_planning {
            return (capacity, false);
        }
        let units = self.units.iter();
        let enough = units.map(|(_, places)| places.enough_for(now)).min();
        match (enough.unwrap_or(u64::MAX), capacity) {
            (u64::MAX, _) => (capacity, false),
            (0, _) => (without_place(capacity, now), true),
            (enough, Capacity::Available(more)) => (Capacity::Available(more.min(enough)), false),
            (_, other) => (other, false),
        }
    }

    fn look(&mut self, more: u64, unleased: &Unleased<'_>, demand: Demand, own: &OwnUse) {
        let is_planning = self.is_planning;
        let (in_flight, cost) = unleased.in_flight;
        let mut look = |unit, (more, need), held| {
            let places = self.get_mut(unit);
            places.look(more, need);
            places.look_ahead(own.used(unit), held, is_planning);
        };
        look(Unit::Requests, (more, 1), in_flight);
        for (unit, left) in unleased.tokens {
            let need = amount(*unit, demand.cost());
            // The capacity already shows that the request fits.
            let more = if more > 0 { need.max(*left) } else { 0 };
            look(*unit, (more, need), amount(*unit, cost));
        }
    }

    /// A call takes a place, or would take one.
    pub(super) fn take(&mut self, cost: Cost, now: Instant) {
        for (unit, places) in &mut self.units {
            match self.is_planning {
                true => places.plan(amount(*unit, cost)),
                false => places.take(amount(*unit, cost), now),
            }
        }
    }

    pub(super) fn give_back(&mut self, cost: Cost) {
        if self.is_planning {
            return;
        }
        for (unit, places) in &mut self.units {
            places.give_back(amount(*unit, cost));
        }
    }

    /// Begins a plan of what waiting calls would take.
    pub(super) fn begin_plan(&mut self, is_closed: bool) {
        self.is_planning = true;
        let units = self.units.iter_mut();
        units.for_each(|(_, places)| places.begin_plan(is_closed));
    }

    /// Returns whether the engine has refused what waiting calls need, and whether places are kept that waiting calls
    /// cannot use.
    pub(super) fn state(&self) -> (bool, bool) {
        let places = || self.units.iter().map(|(_, places)| places);
        (
            places().any(LeasedPlaces::was_refused),
            places().any(LeasedPlaces::are_in_vain),
        )
    }

    /// Returns the lease requests for what was planned.
    pub(super) fn end_plan(
        &mut self,
        own: &OwnUse,
        calls: PlannedCalls,
        epoch: Option<u64>,
        now: Instant,
    ) -> PlannedLeases {
        self.is_planning = false;
        let mut keeps_places = false;
        let request = |(unit, places): &mut (Unit, LeasedPlaces)| {
            let lease = places.end_plan(calls.counts, calls.yields, now);
            keeps_places |= lease.kept > 0;
            let held = own.held(*unit).saturating_add(lease.kept);
            let request = match places.is_synced(epoch) {
                true => LeaseRequest::new((held, own.used(*unit)), lease.ceiling)
                    .want(lease.wanted, lease.least),
                // The engine first has to return how much was used.
                false => LeaseRequest::new((held, own.used(*unit)), 0),
            };
            (*unit, request)
        };
        let requests = self.units.iter_mut().map(request).collect();
        PlannedLeases {
            requests,
            keeps_places,
        }
    }

    /// Returns what is leased in each unit that is limited, and what requests hold of that.
    pub(super) fn leased(
        &self,
        own: &OwnUse,
        now: Instant,
    ) -> impl Iterator<Item = (Unit, (u64, u64))> {
        let are_leased = self.are_leased(now);
        let limited = self.units.iter();
        let limited = limited.filter(move |(_, places)| are_leased && places.is_limited());
        limited.map(|(unit, places)| (*unit, (places.idle(), own.held(*unit))))
    }

    /// Returns whether this process has received in this epoch how much was used.
    pub(super) fn are_synced(&self, epoch: Option<u64>) -> bool {
        let mut units = self.units.iter();
        units.all(|(_, places)| places.is_synced(epoch))
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
        let units = self.units.iter_mut();
        units.for_each(|(_, places)| places.keep(began));
    }

    pub(super) fn end(&mut self) {
        self.units.iter_mut().for_each(|(_, places)| places.end());
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

/// Returns the capacity for a request that finds no place. If the engine does not respond within the timeout, the
/// leases end.
fn without_place(capacity: Capacity, now: Instant) -> Capacity {
    match capacity {
        Capacity::Verify(until) => Capacity::Closed(until.min(now + TIMEOUT)),
        _ => Capacity::Full(Some(now + TIMEOUT)),
    }
}
