//! What the lock is for: the state, and whom to wake when it changes. It wakes nobody by itself, and
//! `now` is an argument.

use std::{collections::HashMap, task::Waker};

use tokio::time::Instant;

use super::{
    PoolError,
    builder::Usable,
    queue::{Turn, WaiterId},
    state::{Entry, Exhausted, Loan, State, Want},
};

pub(super) struct Desk {
    pub(super) state: State,
    wakers: HashMap<WaiterId, Waker>,
}

/// Who is to be woken once the lock is released, and who is to be forgotten then: to drop a waker may
/// be to drop its task, and with it another place in the queue.
#[must_use]
#[derive(Default)]
pub(super) struct Wakers {
    woken: Vec<Waker>,
    forgotten: Option<Waker>,
}

// === impl Desk ===

impl Desk {
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            wakers: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, key: Usable, now: Instant) -> Result<Wakers, PoolError> {
        self.state.add(key)?;
        Ok(self.serve(now))
    }

    /// Who waits for just this key is served with another.
    pub(super) fn remove(&mut self, label: &str, now: Instant) -> Result<Wakers, PoolError> {
        self.state.remove(label)?;
        Ok(self.serve(now))
    }

    pub(super) fn replace(
        &mut self,
        label: &str,
        key: Usable,
        now: Instant,
    ) -> Result<Wakers, PoolError> {
        self.state.replace(label, key)?;
        Ok(self.serve(now))
    }

    /// Takes a key that has room, but not before those who wait.
    pub(super) fn take_in_turn(
        &mut self,
        want: &Want,
        now: Instant,
    ) -> Result<(Loan, &Entry), Exhausted> {
        if self.state.queue.is_empty() {
            return self.state.take(want, now);
        }
        Err(match self.state.choose(want, now) {
            Err(exhausted) => exhausted,
            Ok(_) => Exhausted::now(now),
        })
    }

    pub(super) fn give_back(&mut self, loan: &Loan, now: Instant) -> Wakers {
        self.state.give_back(loan);
        self.serve(now)
    }

    /// Where a waiter stands; it is woken when that changes.
    pub(super) fn look(
        &mut self,
        id: WaiterId,
        want: &Want,
        waker: &Waker,
        now: Instant,
    ) -> (Turn, Wakers) {
        // It is here already.
        let forgotten = self.wakers.remove(&id);
        let took_back = self.state.take_back_the_removed(id, want, now);
        let mut to_wake = match took_back || self.state.queue.is_due(id, want, now) {
            true => self.serve(now),
            false => Wakers::default(),
        };
        let turn = self.state.queue.turn(id, want);
        if let Turn::Later { .. } = turn {
            self.wakers.insert(id, waker.clone());
        }
        to_wake.forgotten = forgotten;
        (turn, to_wake)
    }

    /// Gives up a place, and the key that was set aside for it.
    pub(super) fn leave(&mut self, id: WaiterId, want: &Want, now: Instant) -> Wakers {
        let forgotten = self.wakers.remove(&id);
        self.state.leave(id, want);
        Wakers {
            forgotten,
            ..self.serve(now)
        }
    }

    fn serve(&mut self, now: Instant) -> Wakers {
        if self.state.queue.is_empty() {
            return Wakers::default();
        }
        let to_wake = self.state.serve(now);
        let wakers = to_wake.iter().filter_map(|id| self.wakers.remove(id));
        Wakers {
            woken: wakers.collect(),
            forgotten: None,
        }
    }
}

#[cfg(test)]
impl Desk {
    /// Whether nobody has left anything behind.
    pub(super) fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.state.queue.is_empty() && !self.state.queue.has_left_overs()
    }
}

// === impl Wakers ===

impl Wakers {
    pub(super) fn wake(self) {
        self.woken.into_iter().for_each(Waker::wake);
    }
}
