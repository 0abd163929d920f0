//! What this process has leased of a limit, for operators. Pure.

use tokio::time::Instant;

use super::FleetCounts;
use crate::{
    quota::limit::{LimitState, ProviderTraits, SlowStart},
    share::{Id, LeaseSums},
};

// === impl LimitState ===

impl LimitState {
    /// Returns the id by which other processes know it, if it is shared.
    pub(crate) fn share_id(&self) -> Option<Id> {
        self.fleet.as_ref().map(|fleet| fleet.id)
    }

    /// Adds what is leased of it now.
    pub(crate) fn add_leases(&self, traits: &ProviderTraits, sums: &mut LeaseSums, now: Instant) {
        let fleet = self.fleet.as_ref();
        let leases = fleet.filter(|fleet| fleet.counts == FleetCounts::Leases);
        if let Some(fleet) = leases.filter(|_| self.may_be_leased(traits)) {
            for (unit, amounts) in fleet.leases.leased(&fleet.own, now) {
                sums.add(unit, amounts);
            }
        }
    }

    /// Returns whether something may be leased of it: most groups have no limit for all models.
    pub(super) fn may_be_leased(&self, traits: &ProviderTraits) -> bool {
        traits.is_limited() || self.slow_start != SlowStart::Off
    }
}
