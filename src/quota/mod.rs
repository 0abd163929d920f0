//! How much may be sent, for keys and for targets alike: choose a candidate that has capacity, hold a
//! permit, report the outcome, wait in line for capacity.
//!
//! [`limit`] is one limit, [`demand`] what a request takes from it, [`table`] the limits that one request runs
//! on, [`permit`] a place on them, [`queue`] the calls that wait for one, and [`scheduler`] the lock around all
//! of them. With the feature `share`, `member` is a scheduler that shares, and `plan` is what its waiting calls would
//! take. Nothing here knows what a key or a target is.

mod background;
mod bounded_map;
mod demand;
mod departures;
mod hash;
mod limit;
#[cfg(feature = "share")]
mod member;
#[cfg_attr(not(feature = "share"), path = "alone.rs")]
mod membership;
mod permit;
#[cfg(feature = "share")]
mod plan;
mod queue;
mod replicas;
mod reservation;
mod scheduler;
mod slot;
mod sync;
mod table;
pub(crate) mod timing;
mod wait_budget;
mod waiter;

pub(crate) use background::{BackgroundShares, Share};
#[cfg(test)]
pub(crate) use bounded_map::MAX_ENTRIES;
pub(crate) use bounded_map::{BoundedMap, Evictable};
pub(crate) use demand::{Demand, may_limit_tokens};
pub(crate) use hash::IdState;
pub(crate) use limit::{Capacity, End, KnownLimit, LimitState, ProviderTraits, SlowStart};
pub(crate) use permit::Permit;
#[cfg(test)]
pub(crate) use queue::WaiterId;
pub(crate) use queue::{Forecast, Prospect, QueuePlace, Waiting};
pub(crate) use replicas::Replicas;
pub(crate) use reservation::{Confirmed, Reservation};
pub(crate) use scheduler::{Candidates, Inner, ReservationOf, Scheduler};
pub(crate) use slot::Slot;
pub(crate) use table::{LimitMap, LimitTable};
pub(crate) use wait_budget::{WaitBudget, in_time, poll_again};
pub(crate) use waiter::Waiter;
#[cfg(feature = "share")]
pub(crate) use {
    limit::FleetCounts,
    member::{SharedCandidates, SharedLimit},
};
