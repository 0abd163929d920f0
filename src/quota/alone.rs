//! What `membership` does if the feature `share` is off: a scheduler shares nothing.

use super::{demand::Demand, replicas::Replicas};

/// What a scheduler shares through: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alone;

pub(super) type Membership = Alone;

// === impl Alone ===

impl Alone {
    pub(super) fn demand(self, demand: Demand, replicas: Replicas) -> Demand {
        demand.among(replicas)
    }

    pub(super) fn notify(self, _has_new: bool) {}
}
