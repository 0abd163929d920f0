//! Who waits for a key, first come first served. Pure.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::state::{Exhausted, Loan, State, Want};

/// Keys that free at one moment go out over this time, so that their requests do not arrive as one.
const SPREAD: Duration = Duration::from_millis(100);
const APART: Duration = Duration::from_millis(2);

/// A waiter looks by itself this long after the first of its line should have, whose task may not run.
const BACKUP: Duration = Duration::from_millis(100);

/// What is known of a moment may change by this without a word to all who wait for it.
const PUT_OFF: Duration = Duration::from_secs(1);

/// Who came first has the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WaiterId(i64);

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Queue {
    lines: HashMap<Class, Line>,
    /// Keys that were set aside for waiters, and when they may go out.
    granted: HashMap<WaiterId, (Loan, Instant)>,
    /// When the last of them may go out: nobody overtakes those who came before.
    last: Option<Instant>,
    joined: i64,
    rejoined: i64,
}

/// What one waiter cannot get, another of its class cannot get either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Class {
    model: Option<Arc<str>>,
    session: Option<u64>,
}

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
struct Line {
    waiting: VecDeque<WaiterId>,
    /// When there may be room for the first; `None` if only an answer can tell.
    free_at: Option<Instant>,
    /// Whether an answer may tell of room before.
    is_busy: bool,
    /// Who was told so, and what.
    told: Option<(WaiterId, Option<Instant>)>,
}

/// Where a waiter stands.
#[derive(Debug)]
pub(super) enum Turn {
    /// The key is the waiter's; it goes out at this moment.
    Granted(Loan, Instant),
    Later {
        /// When there may be room; `None` if an answer may tell of some before.
        free_at: Option<Instant>,
        /// When to look again, if nothing happens before.
        look_at: Option<Instant>,
    },
}

// === impl Queue ===

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes a place: the last, or for a call that has waited before one in front of all who have not.
    pub(super) fn join(&mut self, want: &Want, first: bool) -> WaiterId {
        let id = match first {
            true => {
                self.rejoined += 1;
                WaiterId(i64::MIN + self.rejoined)
            }
            false => {
                self.joined += 1;
                WaiterId(self.joined)
            }
        };
        self.rejoin(id, want);
        id
    }

    /// Takes the place of its number.
    fn rejoin(&mut self, id: WaiterId, want: &Want) {
        let line = self.lines.entry(Class::of(want)).or_default();
        let place = line.waiting.partition_point(|waiter| *waiter < id);
        line.waiting.insert(place, id);
    }

    /// Whether it is for this waiter to look who can be served.
    pub(super) fn is_due(&self, id: WaiterId, want: &Want, now: Instant) -> bool {
        self.lines.get(&Class::of(want)).is_some_and(|line| {
            let is_overdue = line.free_at.is_some_and(|at| at + BACKUP <= now);
            let is_time = line.free_at.is_none_or(|at| at <= now);
            (is_time && line.waiting.front() == Some(&id)) || is_overdue
        })
    }

    /// Where a waiter stands.
    pub(super) fn turn(&mut self, id: WaiterId, want: &Want) -> Turn {
        if let Some((loan, at)) = self.granted.remove(&id) {
            return Turn::Granted(loan, at);
        }
        let Some(line) = self.lines.get_mut(&Class::of(want)) else {
            return Turn::Later {
                free_at: None,
                look_at: None,
            };
        };
        let free_at = line.free_at.filter(|_| !line.is_busy);
        let look_at = match line.waiting.front() == Some(&id) {
            true => {
                line.told = Some((id, line.free_at));
                line.free_at
            }
            false => line.free_at.map(|at| at + BACKUP),
        };
        Turn::Later { free_at, look_at }
    }

    fn remove(&mut self, id: WaiterId, want: &Want) {
        let class = Class::of(want);
        if let Some(line) = self.lines.get_mut(&class) {
            line.waiting.retain(|waiter| *waiter != id);
            if line.waiting.is_empty() {
                self.lines.remove(&class);
            }
        }
    }
}

#[cfg(test)]
impl Queue {
    pub(super) fn is_first(&self, id: WaiterId) -> bool {
        let mut lines = self.lines.values();
        lines.any(|line| line.waiting.front() == Some(&id))
    }

    pub(super) fn has_granted(&self) -> bool {
        !self.granted.is_empty()
    }
}

// === impl State: waiting ===

impl State {
    /// Gives up a place, and the key that was set aside for it.
    pub(super) fn leave(&mut self, id: WaiterId, want: &Want) {
        self.queue.remove(id, want);
        if let Some((loan, _)) = self.queue.granted.remove(&id) {
            self.give_back(&loan);
        }
    }

    /// Takes the place of its number again if the key that was set aside is in the pool no more;
    /// whether it is so, which leaves room for others of its group.
    pub(super) fn take_back_the_removed(&mut self, id: WaiterId, want: &Want) -> bool {
        let granted = self.queue.granted.get(&id);
        let is_removed = granted.is_some_and(|(loan, _)| self.entry_of(loan).is_none());
        if is_removed {
            if let Some((loan, _)) = self.queue.granted.remove(&id) {
                self.give_back(&loan);
            }
            self.queue.rejoin(id, want);
        }
        is_removed
    }

    /// Sets keys aside for as many waiters as there is room for, in their order; returns who is to be
    /// woken: they, who is the first of a line now or is to look sooner than it knows, and those whose
    /// patience may not reach any more.
    #[must_use]
    pub(super) fn serve(&mut self, now: Instant) -> Vec<WaiterId> {
        let lines = self.queue.lines.iter();
        let mut heads: BinaryHeap<_> = lines
            .filter_map(|(class, line)| Some(Reverse((*line.waiting.front()?, class.clone()))))
            .collect();
        let mut served: Vec<(WaiterId, Loan)> = Vec::new();
        let mut to_wake = Vec::new();
        while let Some(Reverse((id, class))) = heads.pop() {
            let taken = self.take(&class.want(), now).map(|(loan, _)| loan);
            let Some(line) = self.queue.lines.get_mut(&class) else {
                continue;
            };
            match taken {
                Ok(loan) => {
                    served.push((id, loan));
                    line.waiting.pop_front();
                    match line.waiting.front() {
                        Some(next) => heads.push(Reverse((*next, class))),
                        None => drop(self.queue.lines.remove(&class)),
                    }
                }
                Err(exhausted) => {
                    let is_put_off = line.is_put_off(&exhausted, now);
                    (line.free_at, line.is_busy) = (exhausted.free_at, exhausted.is_busy());
                    match is_put_off {
                        true => to_wake.extend(&line.waiting),
                        false => to_wake.extend((!line.knows(id)).then_some(id)),
                    }
                }
            }
        }
        to_wake.extend(served.iter().map(|(id, _)| *id));
        self.set_aside(served, now);
        to_wake
    }

    fn set_aside(&mut self, served: Vec<(WaiterId, Loan)>, now: Instant) {
        let apart = match u32::try_from(served.len()) {
            Ok(count) if count > 0 => APART.min(SPREAD / count),
            _ => Duration::ZERO,
        };
        let mut at = self.queue.last.map_or(now, |last| last.max(now));
        for (id, mut loan) in served {
            at = at.min(now + SPREAD);
            loan.sent = at;
            self.queue.granted.insert(id, (loan, at));
            self.queue.last = Some(at);
            at += apart;
        }
    }
}

// === impl Line ===

impl Line {
    /// Whether there is room only so much later that some may not want to wait any more.
    fn is_put_off(&self, exhausted: &Exhausted, now: Instant) -> bool {
        // As long as an answer could tell it might have been now.
        let before = self.free_at.filter(|_| !self.is_busy).unwrap_or(now);
        let after = exhausted.free_for_sure();
        after.is_some_and(|after| before + PUT_OFF < after)
    }

    /// Whether the first looks again in time by itself.
    fn knows(&self, head: WaiterId) -> bool {
        self.told.is_some_and(|(told, at)| {
            let in_time = |free_at| at.is_some_and(|at| at <= free_at);
            told == head && self.free_at.is_none_or(in_time)
        })
    }
}

// === impl Class ===

impl Class {
    fn of(want: &Want) -> Self {
        Self {
            model: want.model.clone(),
            session: want.session,
        }
    }

    /// What frees after a wait may be tried again.
    fn want(&self) -> Want {
        Want {
            model: self.model.clone(),
            tried: Vec::new(),
            session: self.session,
        }
    }
}
