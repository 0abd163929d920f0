//! A place in the queue for capacity.

use std::task::Context;

use tokio::time::Instant;

use super::{
    demand::Demand,
    permit::Permit,
    queue::{Forecast, QueuePlace, WaiterId},
    scheduler::{Candidates, Scheduler},
};
use crate::clock;

/// A place in the queue; given up when it is dropped.
pub(crate) struct Waiter<C: Candidates> {
    scheduler: Scheduler<C>,
    class: C::Class,
    /// `None` once it was served.
    id: Option<WaiterId>,
}

// === impl Scheduler ===

impl<C: Candidates> Scheduler<C> {
    /// Takes a place in the queue for what `class` says.
    pub(crate) fn enqueue(
        &self,
        place: (QueuePlace, Demand),
        now: Instant,
        class: impl FnOnce(&mut C) -> C::Class,
    ) -> Waiter<C> {
        let (class, id) = self.with(|inner| {
            let class = class(&mut inner.candidates);
            let id = inner.enqueue(&class, place, now);
            (class, id)
        });
        Waiter {
            scheduler: self.clone(),
            class,
            id: Some(id),
        }
    }
}

// === impl Waiter ===

impl<C: Candidates> Waiter<C> {
    /// Returns its place; `None` once it was served.
    pub(crate) fn place(&self) -> Option<WaiterId> {
        self.id
    }

    /// Returns a permit and when it departs, or when to poll again unless the task is woken before.
    pub(crate) fn poll_acquire(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<(Permit<C>, Instant), Forecast> {
        let id = self.id.ok_or_else(Forecast::default)?;
        let class = &self.class;
        let (reservation, at) = self
            .scheduler
            .with(|inner| inner.poll(id, class, cx.waker(), now))?;
        self.id = None;
        Ok((self.scheduler.reserved(reservation), at))
    }
}

impl<C: Candidates> Drop for Waiter<C> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let now = clock::now();
            self.scheduler
                .with(|inner| inner.leave(id, &self.class, now));
        }
    }
}
