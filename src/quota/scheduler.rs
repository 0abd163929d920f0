//! The one lock: candidates with their limits, and the calls that wait for one.

use std::{hash::Hash, mem, sync::Arc, task::Waker, time::Duration};

use tokio::time::Instant;

use super::{
    background::{BackgroundShares, Share},
    demand::{Costs, Demand},
    departures::{self, Departures},
    membership::Membership,
    queue::{Forecast, QueuePlace, WaitQueue, WaiterId, Waiting, Wakeups},
    replicas::Replicas,
    reservation::{Confirmed, Reservation},
    sync::Mutex,
    table::LimitTable,
};
use crate::request::Cost;

/// What a scheduler chooses among.
pub(crate) trait Candidates {
    /// What a waiter waits for: calls of one class differ only in what they need.
    type Class: Clone + Eq + Hash;
    /// What a reservation is for.
    type Candidate;
    type Limits: LimitTable;

    fn limits(&mut self) -> &mut Self::Limits;

    fn random(&mut self) -> &mut fastrand::Rng;

    /// Returns whether a limit may count tokens.
    fn counts_tokens(&self) -> bool;

    /// Returns how capacity is divided between interactive and background calls.
    fn shares(&self) -> BackgroundShares {
        BackgroundShares::default()
    }

    /// Returns between how many processes what is left is divided.
    fn replicas(&self) -> Replicas {
        Replicas::default()
    }

    /// Returns whether a candidate was not removed.
    fn contains(&self, candidate: &Self::Candidate) -> bool;

    /// Reserves for a call that waits.
    fn reserve_for(
        &mut self,
        class: &Self::Class,
        waiting: Waiting,
        now: Instant,
    ) -> Result<ReservationOf<Self>, Forecast>;
}

pub(crate) type ReservationOf<C> = Reservation<<C as Candidates>::Candidate, ScopeOf<C>>;

pub(super) type ScopeOf<C> = <<C as Candidates>::Limits as LimitTable>::Scope;

/// A handle; a clone is the same scheduler.
pub(crate) struct Scheduler<C: Candidates>(pub(super) Arc<Shared<C>>);

pub(super) struct Shared<C: Candidates> {
    pub(super) inner: Mutex<Inner<C>>,
    costs: Costs,
    /// What background calls leave to interactive ones.
    reserve: Share,
    pub(super) replicas: Replicas,
    pub(super) membership: Membership,
}

/// What the lock protects. It wakes no task by itself, and `now` is an argument.
pub(crate) struct Inner<C: Candidates> {
    pub(crate) candidates: C,
    pub(super) queue: WaitQueue<C::Class, ReservationOf<C>>,
    departures: Departures,
}

// === impl Scheduler ===

impl<C: Candidates> Scheduler<C> {
    pub(crate) fn new(candidates: C) -> Self {
        Self(Arc::new(Shared::new(candidates, Membership::default())))
    }

    /// Returns whether a limit may count tokens, so that the precise cost of a request matters.
    pub(crate) fn counts_tokens(&self) -> bool {
        self.0.costs.are_counted()
    }

    /// Returns what a request takes that costs so much, if that is known.
    pub(crate) fn demand(&self, cost: Option<Cost>, is_precise: bool) -> Demand {
        let demand = self.0.costs.demand(cost, is_precise);
        self.0.membership.demand(demand, self.0.replicas)
    }

    /// Returns what a background call takes.
    pub(crate) fn in_background(&self, demand: Demand) -> Demand {
        demand.in_background(self.0.reserve)
    }

    /// Runs `act` under the lock, then wakes whom it has served.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner<C>) -> T) -> T {
        let Shared { inner, costs, .. } = &*self.0;
        let (result, wakeups, has_new) = inner.with(|inner| {
            let result = act(inner);
            if inner.candidates.counts_tokens() {
                costs.count();
            }
            let has_new = inner.candidates.limits().take_new();
            (result, inner.take_wakeups(), has_new)
        });
        wakeups.wake();
        self.0.membership.notify(has_new);
        result
    }
}

impl<C: Candidates> Clone for Scheduler<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
impl<C: Candidates> Scheduler<C> {
    /// Returns how often the lock was taken.
    pub(crate) fn locked(&self) -> usize {
        self.0.inner.locked()
    }
}

// === impl Shared ===

impl<C: Candidates> Shared<C> {
    pub(super) fn new(candidates: C, membership: Membership) -> Self {
        Self {
            reserve: candidates.shares().reserve,
            replicas: candidates.replicas(),
            inner: Mutex::new(Inner::new(candidates)),
            costs: Costs::default(),
            membership,
        }
    }
}

// === impl Inner ===

impl<C: Candidates> Inner<C> {
    pub(crate) fn new(candidates: C) -> Self {
        Self {
            queue: WaitQueue::new(candidates.shares().floor),
            candidates,
            departures: Departures::default(),
        }
    }

    pub(crate) fn take_wakeups(&mut self) -> Wakeups {
        self.queue.take_wakeups()
    }

    /// Returns whether a call waits that this one should not overtake: no interactive call waits behind one in
    /// the background.
    pub(crate) fn has_before(&self, demand: Demand) -> bool {
        self.queue.has_before(demand.is_background())
    }

    /// Returns how many calls of one class wait, interactive ones or those in the background.
    pub(crate) fn waiting(&self, class: &C::Class, is_background: bool) -> usize {
        self.queue.waiting(class, is_background)
    }

    pub(crate) fn enqueue(
        &mut self,
        class: &C::Class,
        place: (QueuePlace, Demand),
        now: Instant,
    ) -> WaiterId {
        self.queue.enqueue(class, place, now)
    }

    /// Gives up a place, and the reservation that was granted for it.
    pub(crate) fn leave(&mut self, id: WaiterId, class: &C::Class, now: Instant) {
        if let Some(reservation) = self.queue.remove(id, class) {
            self.candidates.limits().release(&reservation, None);
        }
        self.serve(now);
    }

    /// Returns what a waiter has got, or when to poll again.
    pub(crate) fn poll(
        &mut self,
        id: WaiterId,
        class: &C::Class,
        waker: &Waker,
        now: Instant,
    ) -> Result<(ReservationOf<C>, Instant), Forecast> {
        self.queue.forget_waker(id);
        let granted = self.queue.granted(id);
        let is_removed =
            granted.is_some_and(|reservation| !self.candidates.contains(&reservation.candidate));
        if is_removed {
            if let Some(reservation) = self.queue.take_granted(id) {
                self.candidates.limits().release(&reservation, None);
                let demand = match reservation.demand.is_background() {
                    // It may have been served without a reserve, which it keeps from now on.
                    true => {
                        let reserve = self.candidates.shares().reserve;
                        reservation.demand.in_background(reserve)
                    }
                    false => reservation.demand,
                };
                self.queue.insert(id, class, demand, now);
            }
        }
        if is_removed || self.queue.is_due(id, class, now) {
            self.serve(now);
        }
        self.queue.poll(id, class, waker)
    }

    pub(super) fn check(&mut self, reservation: &ReservationOf<C>, now: Instant) -> Confirmed {
        let (scope, reserved) = (reservation.scope, reservation.reserved);
        if !self.candidates.contains(&reservation.candidate) {
            Confirmed::Removed
        } else if self
            .candidates
            .limits()
            .was_rejected_since(scope, reserved, now)
        {
            Confirmed::Stale
        } else {
            Confirmed::Yes
        }
    }

    pub(crate) fn mark_sent(&mut self, reservation: &mut ReservationOf<C>, now: Instant) {
        self.candidates.limits().mark_sent(reservation, now);
        // What is sent also shows how much more may be.
        self.serve(now);
    }

    pub(crate) fn release(
        &mut self,
        reservation: &ReservationOf<C>,
        is_abandoned: bool,
        now: Instant,
    ) {
        let abandoned_at = is_abandoned.then_some(now);
        self.candidates.limits().release(reservation, abandoned_at);
        self.serve(now);
    }

    /// A response has begun, and its slot stays in use until its body has ended.
    pub(super) fn open_body(&mut self, scope: ScopeOf<C>) {
        self.candidates.limits().open_body(scope);
    }

    pub(super) fn close_body(&mut self, scope: ScopeOf<C>, now: Instant) {
        self.candidates.limits().close_body(scope);
        self.serve(now);
    }

    /// Grants reservations to as many waiters as there is capacity for.
    pub(crate) fn serve(&mut self, now: Instant) {
        if self.queue.is_empty() {
            return;
        }
        let candidates = &mut self.candidates;
        let served = self.queue.serve(now, |class, waiting| {
            candidates.reserve_for(class, waiting, now)
        });
        let mut waiting = self.queue.len() + served.len();
        let stagger = departures::stagger(served.len());
        let mut after_last = Duration::ZERO;
        for (id, mut reservation) in served {
            let ended = self.candidates.limits().ended_hint(reservation.scope, now);
            let random = self.candidates.random();
            let departures = &mut self.departures;
            let at = ended
                .and_then(|end| departures.after_hint(end, waiting, random, now))
                .unwrap_or_else(|| departures.plain(mem::replace(&mut after_last, stagger), now));
            waiting -= 1;
            reservation.sent = at;
            self.queue.grant(id, reservation, at);
        }
    }
}

#[cfg(test)]
impl<C: Candidates> Inner<C> {
    /// Returns in how many lines calls wait.
    pub(crate) fn lines(&self) -> usize {
        self.queue.lines()
    }

    pub(crate) fn is_head(&self, id: WaiterId) -> bool {
        self.queue.is_head(id)
    }

    /// Returns what a waiter needs, and since when its line waits.
    pub(crate) fn waiter(&self, id: WaiterId) -> Option<Waiting> {
        self.queue.waiter(id)
    }

    pub(crate) fn has_granted(&self) -> bool {
        self.queue.has_granted()
    }

    /// Returns whether no call has left anything behind.
    pub(crate) fn is_clean(&self) -> bool {
        self.queue.is_clean()
    }
}
