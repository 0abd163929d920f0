//! A key that is reserved for one attempt.

use std::sync::{Arc, atomic::Ordering};

use http::request;
use http_body::Body;
use tokio::time::Instant;

use super::{
    KeyPool,
    choice::KeyRequest,
    exhausted::Exhausted,
    keys::{KeyReservation, Keys},
};
use crate::{
    quota::{Demand, Permit, QueuePlace, Waiter},
    request::credentials::Credential,
    retry::RequestView,
};

/// A key that is reserved for one attempt; released when it is dropped.
pub(crate) type Lease = Permit<Keys>;

// === impl KeyPool ===

impl KeyPool {
    /// Returns what a request takes from the limits. Its body is read for that if it may matter.
    pub(crate) fn demand<B: Body>(&self, request: &RequestView<B>, waits: bool) -> Demand {
        request.demand(&self.0.scheduler, waits)
    }

    /// Reserves a key that has capacity.
    pub(crate) fn acquire(&self, request: &KeyRequest, now: Instant) -> Result<Lease, Exhausted> {
        let scheduler = &self.0.scheduler;
        scheduler.acquire(now, |inner| inner.candidates.reserve(request, now))
    }

    /// Reserves a key that has capacity, but not before the calls that wait.
    pub(crate) fn acquire_in_turn(
        &self,
        request: &KeyRequest,
        now: Instant,
    ) -> Result<Lease, Exhausted> {
        let scheduler = &self.0.scheduler;
        scheduler.acquire(now, |inner| inner.reserve_in_turn(request, now))
    }

    /// Reserves a key whose cooldown is only guessed, to test if the guess is too long; `None` if there is
    /// none, or each is tested already.
    pub(crate) fn acquire_early(&self, request: &KeyRequest, now: Instant) -> Option<Lease> {
        let scheduler = &self.0.scheduler;
        let reserve = |keys: &mut Keys| keys.reserve_early(request, now).ok_or(());
        let lease = scheduler.acquire(now, |inner| reserve(&mut inner.candidates));
        lease.ok()
    }

    /// Reserves the first key that is only busy, or else the key that frees first, whatever is known of it. Returns
    /// `None` if the call is pinned to a key that was removed.
    pub(crate) fn acquire_anyway(
        &self,
        exhausted: &Exhausted,
        request: &KeyRequest,
        now: Instant,
    ) -> Option<Lease> {
        let reserve = |keys: &mut Keys| keys.reserve_anyway(exhausted, request, now).ok_or(());
        let scheduler = &self.0.scheduler;
        let lease = scheduler.acquire(now, |inner| reserve(&mut inner.candidates));
        lease.ok()
    }

    /// Holds a key whose request is sent later.
    pub(crate) fn reserved(&self, reservation: KeyReservation) -> Lease {
        self.0.scheduler.reserved(reservation)
    }

    /// Takes a place in the queue.
    pub(crate) fn enqueue(
        &self,
        request: &KeyRequest,
        place: QueuePlace,
        now: Instant,
    ) -> Waiter<Keys> {
        let scheduler = &self.0.scheduler;
        let place = (place, request.demand);
        scheduler.enqueue(place, now, |keys| keys.class(request, now))
    }
}

// === impl Lease ===

impl Lease {
    /// Puts the key on a request that is sent, in place of the credential that it had.
    pub(crate) fn place(&mut self, head: &mut request::Parts) -> &Arc<Credential> {
        self.mark_sent();
        let info = self.candidate();
        info.uses.fetch_add(1, Ordering::Relaxed);
        info.credential.put(head);
        &info.credential
    }
}
