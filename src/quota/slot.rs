//! A slot of a response whose body is open: the provider counts it as a request in flight until its last byte.

use super::scheduler::{Candidates, ReservationOf, Scheduler, ScopeOf};
use crate::clock;

/// Counted until it is dropped. A limit that was removed meanwhile counts nothing.
pub(crate) struct Slot<C: Candidates> {
    scheduler: Scheduler<C>,
    scope: ScopeOf<C>,
}

// === impl Slot ===

impl<C: Candidates> Slot<C> {
    /// Returns a slot that the limits count already.
    pub(super) fn of(scheduler: &Scheduler<C>, reservation: &ReservationOf<C>) -> Self {
        Self {
            scheduler: scheduler.clone(),
            scope: reservation.scope,
        }
    }
}

impl<C: Candidates> Drop for Slot<C> {
    fn drop(&mut self) {
        let now = clock::now();
        self.scheduler
            .with(|inner| inner.close_body(self.scope, now));
    }
}
