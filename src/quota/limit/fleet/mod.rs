//! What a limit shares with other processes: what this one reports, what it has leased, and what it has received.
//! Pure.
//!
//! [`own`] are the requests of this process, as [`note`] counts them. [`leases`] is what it has leased and what its
//! waiting calls would take, and [`places`] is that in one unit. [`planned`] is for how many calls it has planned.
//! [`leased`] adds up the leases for operators. [`publish`] and [`receive`] are the two halves of an exchange,
//! [`received`] is when a fact was received, and [`learned`] is what processes learn of the provider from each other.

mod learned;
mod leased;
mod leases;
mod note;
mod own;
mod places;
mod planned;
mod publish;
mod receive;
mod received;

use std::collections::VecDeque;

use tokio::time::Instant;

pub(crate) use self::planned::PlannedCalls;
use self::{
    leases::{Leases, Unleased},
    own::OwnUse,
};
use super::{Capacity, LimitState, ProviderTraits};
use crate::{
    quota::{demand::Demand, replicas::Replicas},
    request::Cost,
    share::{Id, LeaseRequest, Sharing, Unit, Urgency},
};

/// What a limit shares, if it does.
pub(super) type FleetState = Option<Box<Fleet>>;

/// What a limit shares with other processes.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    share: Sharing,
    id: Id,
    /// What the id was made of.
    base: Id,
    counts: FleetCounts,
    own: OwnUse,
    leases: Leases,
    /// Whether all facts on it were requested.
    has_requested_facts: bool,
    /// What was published last: the version of the fact, and what is held and used.
    published: Option<(u64, Vec<(Unit, LeaseRequest)>)>,
    /// The exchanges in which it was published and received last.
    published_in: u64,
    received_in: u64,
    others: Vec<OtherReplica>,
    /// How many processes divide what is left, while it is not leased.
    parts: Option<Replicas>,
    /// The end of the last cooldown that began with a rejection of another process.
    remote_end: Option<Instant>,
}

/// What is shared of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FleetCounts {
    /// Its requests, which are leased.
    Leases,
    /// Its requests, which are divided among the processes.
    Requests,
    /// Only what closes it.
    Cooldowns,
}

/// What is known of another process.
#[derive(Clone, Debug)]
struct OtherReplica {
    replica: Id,
    version: u64,
    passed: u64,
    rejected: u64,
    ended: u64,
    sent: u64,
    cost: Cost,
    slots: Option<u64>,
    /// Its requests in flight, by when they were sent and what they cost.
    in_flight: VecDeque<(Instant, Cost)>,
}

// === impl LimitState ===

impl LimitState {
    /// Shares the limit from now on under an id that is made of `base` and `extra`.
    pub(crate) fn share(
        &mut self,
        traits: &mut ProviderTraits,
        (share, counts): (&Sharing, FleetCounts),
        (base, extra): (Id, Option<&[u8]>),
    ) {
        if self.fleet.as_ref().is_some_and(|fleet| fleet.base == base) {
            return;
        }
        let id = match extra {
            Some(extra) => share.name().id([&base.to_bytes()[..], extra]),
            None => base,
        };
        // The others know it by another id from now on.
        let before = self.fleet.take();
        let own = before.map(|fleet| self.leave(traits, *fleet));
        let own = own.unwrap_or_else(|| OwnUse::of(&self.in_flight));
        self.fleet = Some(Box::new(Fleet {
            share: share.clone(),
            id,
            base,
            counts,
            own,
            leases: Leases::default(),
            has_requested_facts: false,
            published: None,
            published_in: 0,
            received_in: 0,
            others: Vec::new(),
            parts: None,
            remote_end: None,
        }));
    }

    /// Returns how many requests of this process have a place.
    pub(crate) fn own_in_flight(&self) -> u64 {
        let others = self.fleet.iter().flat_map(|fleet| &fleet.others);
        let others: usize = others.map(|other| other.in_flight.len()).sum();
        self.in_flight.all().saturating_sub(others as u64)
    }

    /// Returns what a request needs, by how many processes share what is left.
    pub(super) fn among_replicas(&self, demand: Demand, now: Instant) -> Demand {
        match &self.fleet {
            Some(fleet) if fleet.leases.are_leased(now) => demand.among(Replicas::default()),
            Some(fleet) => demand.among(fleet.parts.unwrap_or(demand.replicas())),
            None => demand,
        }
    }

    /// Begins a plan, if the limit is leased: until it is published, reservations take no leased places. Idle places
    /// of a closed limit are dropped.
    pub(crate) fn begin_plan(&mut self, traits: &ProviderTraits, is_of_use: bool, now: Instant) {
        let is_closed = !is_of_use || self.end(traits, now).is_some();
        if let Some(fleet) = self.leased() {
            fleet.leases.begin_plan(is_closed);
        }
    }

    /// Returns whether the engine has refused what waiting calls need, and whether places are kept that waiting calls
    /// cannot use.
    pub(crate) fn state_of_leases(&mut self) -> (bool, bool) {
        let fleet = self.leased();
        fleet.map_or((false, false), |fleet| fleet.leases.state())
    }

    fn leased(&mut self) -> Option<&mut Fleet> {
        let fleet = self.fleet.as_deref_mut();
        fleet.filter(|fleet| fleet.counts == FleetCounts::Leases)
    }

    /// Returns whether a reservation is only a plan.
    pub(super) fn is_planning(&self) -> bool {
        let fleet = self.fleet.as_ref();
        fleet.is_some_and(|fleet| fleet.leases.is_planning())
    }

    /// Returns whether a cooldown that ends then began with a rejection of another process.
    pub(super) fn is_closed_remotely(&self, until: Instant) -> bool {
        let fleet = self.fleet.as_ref();
        fleet.is_some_and(|fleet| fleet.remote_end == Some(until))
    }

    /// Returns how many response bodies are open, if requests in flight are limited. Each of them holds a place.
    fn open_in_slots(&self, traits: &ProviderTraits) -> u64 {
        let ceiling = self.concurrency.ceiling().or(traits.typical_concurrency);
        ceiling.map_or(0, |_| self.in_flight.open())
    }

    /// Bounds what may be sent by what this process has leased.
    pub(super) fn bound_by_lease(
        &mut self,
        traits: &ProviderTraits,
        (capacity, demand): (Capacity, Demand),
        now: Instant,
    ) -> Capacity {
        let open = self.open_in_slots(traits);
        match &mut self.fleet {
            None if demand.is_leased() => leases::before_lease(capacity, now),
            Some(fleet) if fleet.counts == FleetCounts::Leases => {
                let unleased = Unleased {
                    capacity,
                    tokens: &self.tokens.left(&self.in_flight, traits, now),
                    in_flight: (self.in_flight.all() + open, self.in_flight.all_cost()),
                };
                let (capacity, misses) = fleet.leases.bound(&unleased, demand, &fleet.own, now);
                if misses {
                    fleet.share.raise(Urgency::Wanted);
                }
                capacity
            }
            _ => capacity,
        }
    }
}
