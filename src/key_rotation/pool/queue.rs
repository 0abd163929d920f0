//! Who waits for a key, first come first served. Pure.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::state::{KeyId, Loan, State, Want};

/// Keys that free at one moment go out over this time, so that their requests do not arrive as one.
const SPREAD: Duration = Duration::from_millis(100);
const APART: Duration = Duration::from_millis(2);

/// A waiter wakes by itself this long after whoever is before it should have woken it.
const BACKUP: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WaiterId(u64);

#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<(WaiterId, Want)>,
    /// Keys that were set aside for waiters, and when they may go out.
    granted: HashMap<WaiterId, (Loan, Instant)>,
    /// When the first looks again by itself, once it has looked.
    alarm: Option<(WaiterId, Option<Instant>)>,
    next: u64,
}

/// Where a waiter stands.
#[derive(Debug)]
pub(super) enum Turn {
    /// The key is the waiter's; it goes out at this moment.
    Granted(Loan, Instant),
    /// Worth asking again then, if nothing happens before; `None` if only an answer can help.
    Later(Option<Instant>),
}

// === impl Queue ===

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a place: the last, or the first for a call that has waited before.
    pub(super) fn join(&mut self, want: Want, first: bool) -> WaiterId {
        let id = WaiterId(self.next);
        self.next += 1;
        match first {
            true => self.waiting.push_front((id, want)),
            false => self.waiting.push_back((id, want)),
        }
        id
    }

    /// Takes the first place again: the key that was set aside is none any more.
    pub(super) fn rejoin(&mut self, id: WaiterId, want: Want) {
        self.waiting.push_front((id, want));
    }

    fn head(&self) -> Option<WaiterId> {
        self.waiting.front().map(|(id, _)| *id)
    }

    /// The first, who can be served at that moment, if it does not know so.
    fn to_alarm(&self, head: Option<(WaiterId, Option<Instant>)>) -> Option<WaiterId> {
        let (id, free_at) = head?;
        let knows = self.alarm.is_some_and(|(alarmed, at)| {
            let in_time = |free_at| at.is_some_and(|at| at <= free_at);
            alarmed == id && free_at.is_none_or(in_time)
        });
        (!knows).then_some(id)
    }
}

// === impl State: waiting ===

impl State {
    /// Where a waiter stands, after all that have room were served.
    pub(super) fn turn(&mut self, id: WaiterId, now: Instant) -> Turn {
        if let Some((loan, at)) = self.queue.granted.remove(&id) {
            return Turn::Granted(loan, at);
        }
        let place = self
            .queue
            .waiting
            .iter()
            .position(|(waiter, _)| *waiter == id);
        let Some(want) = place.map(|place| self.queue.waiting[place].1.clone()) else {
            return Turn::Later(None);
        };
        let free_at = match self.choose(&want, now) {
            Ok(_) => Some(now),
            Err(exhausted) => exhausted.free_at,
        };
        if self.queue.head() == Some(id) {
            self.queue.alarm = Some((id, free_at));
            return Turn::Later(free_at);
        }
        // The head's turn serves the others; this is for when its task does not run.
        Turn::Later(free_at.map(|at| at + BACKUP))
    }

    /// Gives up a place, and the key that was set aside for it.
    pub(super) fn leave(&mut self, id: WaiterId) {
        self.queue.waiting.retain(|(waiter, _)| *waiter != id);
        if let Some((loan, _)) = self.queue.granted.remove(&id) {
            self.give_back(&loan);
        }
    }

    /// Sets keys aside for as many waiters as there is room for, in their order; returns who is to be
    /// woken: they, and the first of those that go on waiting if it is to look sooner than it knows.
    #[must_use]
    pub(super) fn serve(&mut self, now: Instant) -> Vec<WaiterId> {
        let mut served: Vec<(WaiterId, Loan)> = Vec::new();
        let mut waiting = std::mem::take(&mut self.queue.waiting);
        // What one could not get, another who wants the same cannot either.
        let mut in_vain: Vec<(Option<std::sync::Arc<str>>, Vec<KeyId>)> = Vec::new();
        let mut head: Option<(WaiterId, Option<Instant>)> = None;
        waiting.retain(|(id, want)| {
            let same = |(model, tried): &(Option<_>, Vec<KeyId>)| {
                *model == want.model && *tried == want.tried
            };
            if want.session.is_none() && in_vain.iter().any(same) {
                return true;
            }
            match self.take(want, now) {
                Ok((loan, _)) => {
                    served.push((*id, loan));
                    false
                }
                Err(exhausted) => {
                    head.get_or_insert((*id, exhausted.free_at));
                    if want.session.is_none() {
                        in_vain.push((want.model.clone(), want.tried.clone()));
                    }
                    true
                }
            }
        });
        self.queue.waiting = waiting;
        let apart = match u32::try_from(served.len()) {
            Ok(count) if count > 0 => APART.min(SPREAD / count),
            _ => Duration::ZERO,
        };
        let mut at = now;
        let served_ids = served.iter().map(|(id, _)| *id);
        let ids = served_ids.chain(self.queue.to_alarm(head)).collect();
        for (id, mut loan) in served {
            loan.sent = at;
            self.queue.granted.insert(id, (loan, at));
            at += apart;
        }
        ids
    }
}
