//! A place of one request on the limits that it runs on: reserved, sent, then completed or abandoned.

use tokio::time::Instant;

use super::{
    reservation::Confirmed,
    scheduler::{Candidates, Inner, ReservationOf, Scheduler},
    slot::Slot,
};
use crate::{clock, request::Cost};

/// A reservation that is released when it is dropped.
///
/// ```text
/// Reserved ── confirm ──► Sendable ── mark_sent ──► Sent ── complete ──► Completed
///     └── drop: released ──┘                         └── drop: abandoned, and released
/// ```
pub(crate) struct Permit<C: Candidates> {
    scheduler: Scheduler<C>,
    reservation: ReservationOf<C>,
    stage: PermitStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PermitStage {
    /// Another request may be rejected before this one is sent.
    Reserved,
    Sendable,
    /// The provider counts it, even if its response is not seen.
    Sent,
    Completed,
}

// === impl Scheduler ===

impl<C: Candidates> Scheduler<C> {
    /// Reserves for a request that is sent at once.
    pub(crate) fn acquire<E>(
        &self,
        now: Instant,
        reserve: impl FnOnce(&mut Inner<C>) -> Result<ReservationOf<C>, E>,
    ) -> Result<Permit<C>, E> {
        let reservation = self.with(|inner| {
            let mut reservation = reserve(inner)?;
            inner.mark_sent(&mut reservation, now);
            Ok(reservation)
        })?;
        Ok(self.sendable(reservation))
    }

    /// Makes a permit of a reservation whose request is sent at once.
    pub(crate) fn sendable(&self, reservation: ReservationOf<C>) -> Permit<C> {
        Permit::new(self, reservation, PermitStage::Sendable)
    }

    /// Makes a permit of a reservation whose request is sent later.
    pub(crate) fn reserved(&self, reservation: ReservationOf<C>) -> Permit<C> {
        Permit::new(self, reservation, PermitStage::Reserved)
    }
}

// === impl Permit ===

impl<C: Candidates> Permit<C> {
    fn new(scheduler: &Scheduler<C>, reservation: ReservationOf<C>, stage: PermitStage) -> Self {
        Self {
            scheduler: scheduler.clone(),
            reservation,
            stage,
        }
    }

    pub(crate) fn candidate(&self) -> &C::Candidate {
        &self.reservation.candidate
    }

    /// Returns what the request was taken to cost, if its cost was counted.
    pub(crate) fn cost(&self) -> Option<Cost> {
        let demand = self.reservation.demand;
        let is_counted = !demand.is_rough() && demand.cost() != Cost::default();
        is_counted.then(|| demand.cost())
    }

    /// Confirms the reservation right before its request is sent. One that is stale is confirmed only
    /// with `anyway`.
    pub(crate) fn confirm(&mut self, anyway: bool, now: Instant) -> Confirmed {
        let reservation = &mut self.reservation;
        let confirmed = self.scheduler.with(|inner| {
            let confirmed = inner.check(reservation, now);
            if confirmed == Confirmed::Yes || anyway {
                inner.mark_sent(reservation, now);
            }
            confirmed
        });
        if confirmed == Confirmed::Yes || anyway {
            self.stage = PermitStage::Sendable;
        }
        confirmed
    }

    /// Sets when the request is sent, which may be well after the reservation.
    pub(crate) fn set_sent(&mut self, now: Instant) {
        self.reservation.sent = now;
    }

    /// From now on the provider counts the request.
    pub(crate) fn mark_sent(&mut self) {
        self.stage = PermitStage::Sent;
    }

    /// Reports the outcome, releases the place and serves the queue, all under one lock.
    pub(crate) fn complete<T>(
        mut self,
        now: Instant,
        report: impl FnOnce(&mut Inner<C>, &ReservationOf<C>) -> T,
    ) -> T {
        self.stage = PermitStage::Completed;
        let reservation = &self.reservation;
        self.scheduler.with(|inner| {
            let reported = report(inner, reservation);
            inner.release(reservation, false, now);
            reported
        })
    }

    /// As [`complete`](Self::complete), but the slot stays counted while the body of the response is open.
    pub(crate) fn complete_head<T>(
        self,
        now: Instant,
        report: impl FnOnce(&mut Inner<C>, &ReservationOf<C>) -> T,
    ) -> (T, Slot<C>) {
        let scheduler = self.scheduler.clone();
        self.complete(now, |inner, reservation| {
            let reported = report(inner, reservation);
            inner.open_body(reservation.scope);
            (reported, Slot::of(&scheduler, reservation))
        })
    }
}

impl<C: Candidates> Drop for Permit<C> {
    fn drop(&mut self) {
        let is_abandoned = match self.stage {
            PermitStage::Completed => return,
            PermitStage::Sent => true,
            PermitStage::Reserved | PermitStage::Sendable => false,
        };
        let now = clock::now();
        self.scheduler
            .with(|inner| inner.release(&self.reservation, is_abandoned, now));
    }
}
