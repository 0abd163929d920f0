//! A place of one request on the limits that it runs on: reserved, sent, then completed or abandoned.

use tokio::time::Instant;

use super::scheduler::{Candidates, Inner, ReservationOf, Scheduler};
use crate::clock;

/// What the limits need to know of a request to count and release it.
#[derive(Clone, Debug)]
pub(crate) struct Reservation<I, S> {
    pub(crate) candidate: I,
    pub(crate) scope: S,
    pub(super) reserved: Instant,
    /// When the limits counted it as sent, if they did.
    pub(super) counted: Option<Instant>,
    /// When the request is sent.
    pub(crate) sent: Instant,
    /// Whether it tests before the end of a guess if that is too long.
    pub(super) is_early_probe: bool,
}

/// A reservation that is released when it is dropped.
///
/// ```text
/// Reserved ── confirm ──► Sendable ── mark_sent ──► Sent ── complete ──► Completed
///     └── drop: released ──┘                         └── drop: abandoned, and released
/// ```
pub(crate) struct Permit<C: Candidates> {
    scheduler: Scheduler<C>,
    reservation: ReservationOf<C>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Another request may be rejected before this one is sent.
    Reserved,
    Sendable,
    /// The provider counts it, even if nobody sees its response.
    Sent,
    Completed,
}

/// What became of a reservation before its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Yes,
    /// Another request was rejected by one of its limits meanwhile.
    Stale,
    /// Its candidate was removed.
    Removed,
}

// === impl Permit ===

impl<C: Candidates> Permit<C> {
    pub(super) fn new(
        scheduler: &Scheduler<C>,
        reservation: ReservationOf<C>,
        stage: Stage,
    ) -> Self {
        Self {
            scheduler: scheduler.clone(),
            reservation,
            stage,
        }
    }

    pub(crate) fn candidate(&self) -> &C::Candidate {
        &self.reservation.candidate
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
            self.stage = Stage::Sendable;
        }
        confirmed
    }

    /// Sets when the request is sent, which may be well after the reservation.
    pub(crate) fn set_sent(&mut self, now: Instant) {
        self.reservation.sent = now;
    }

    /// From now on the provider counts the request.
    pub(crate) fn mark_sent(&mut self) {
        self.stage = Stage::Sent;
    }

    /// Reports the outcome, releases the place and serves the queue, all under one lock.
    pub(crate) fn complete<T>(
        mut self,
        now: Instant,
        report: impl FnOnce(&mut Inner<C>, &ReservationOf<C>) -> T,
    ) -> T {
        self.stage = Stage::Completed;
        let reservation = &self.reservation;
        self.scheduler.with(|inner| {
            let reported = report(inner, reservation);
            inner.release(reservation, false, now);
            reported
        })
    }
}

impl<C: Candidates> Drop for Permit<C> {
    fn drop(&mut self) {
        let is_abandoned = match self.stage {
            Stage::Completed => return,
            Stage::Sent => true,
            Stage::Reserved | Stage::Sendable => false,
        };
        let now = clock::now();
        self.scheduler
            .with(|inner| inner.release(&self.reservation, is_abandoned, now));
    }
}
