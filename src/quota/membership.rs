//! Whether a scheduler shares what it knows with other processes.

use super::{demand::Demand, replicas::Replicas};
use crate::share::{Sharing, SharingState, Urgency};

/// What a scheduler shares through, if it does.
#[derive(Default)]
pub(super) struct Membership {
    pub(super) share: Option<Sharing>,
    /// Whether its limits are leased.
    pub(super) is_leased: bool,
}

// === impl Membership ===

impl Membership {
    /// Returns what a request takes beside the other processes.
    pub(super) fn demand(&self, demand: Demand, replicas: Replicas) -> Demand {
        match self.share.as_ref().map(Sharing::state) {
            // How many there are is not known for a moment.
            Some(SharingState::Starting) => demand.among(Replicas::new(u32::MAX)),
            Some(SharingState::Connected) if self.is_leased => demand.among(replicas).leased(),
            Some(_) | None => demand.among(replicas),
        }
    }

    /// Wakes the driver if there is something to publish or to lease. `has_new` says whether limits are new. Call it
    /// under no lock.
    pub(super) fn notify(&self, has_new: bool) {
        if let Some(share) = &self.share {
            if has_new {
                share.raise(Urgency::Wanted);
            }
            share.wake();
        }
    }
}
