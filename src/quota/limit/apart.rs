//! What `fleet` does if the feature `share` is off: nothing is known of other processes. Pure.

use tokio::time::Instant;

use super::{Capacity, LimitState, ProviderTraits};
use crate::{
    quota::demand::Demand,
    rejection::{Bucket, Rejection},
    request::Cost,
};

/// What a limit shares: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FleetState;

// === impl LimitState ===

impl LimitState {
    pub(super) fn among_replicas(&self, demand: Demand, _now: Instant) -> Demand {
        let FleetState = self.fleet;
        demand
    }

    pub(super) fn bound_by_lease(
        &self,
        _traits: &ProviderTraits,
        (capacity, _demand): (Capacity, Demand),
        _now: Instant,
    ) -> Capacity {
        capacity
    }

    pub(crate) fn own_in_flight(&self) -> u64 {
        self.in_flight.all()
    }

    pub(super) fn is_planning(&self) -> bool {
        false
    }

    pub(super) fn is_closed_remotely(&self, _until: Instant) -> bool {
        false
    }

    pub(super) fn note_reserved(&mut self, _cost: Cost, _now: Instant) {}

    pub(super) fn note_sent(&mut self, _cost: Cost, _now: Instant) {}

    pub(super) fn note_released(&mut self, _cost: Cost, _was_sent: bool) {}

    pub(super) fn note_passed<'a>(
        &mut self,
        _buckets: impl Iterator<Item = &'a Bucket>,
        _when: (Instant, Instant),
    ) {
    }

    pub(super) fn note_rejected(
        &mut self,
        _rejection: &Rejection,
        _buckets: &[Bucket],
        _when: (Instant, Instant),
    ) {
    }
}
