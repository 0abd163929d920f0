//! Who waits for a key, first come first served. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    departures::{self, Departures},
    sessions::{Moved, Sessions},
    state::{Exhausted, KeyId, Loan, Prospect, State, Want},
};

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
    pub(super) sessions: Sessions,
    /// Keys that were set aside for waiters, and when they may go out.
    granted: HashMap<WaiterId, (Loan, Instant)>,
    departures: Departures,
    joined: i64,
    rejoined: i64,
}

/// What one waiter cannot get, another of its class cannot get either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Class {
    model: Option<Arc<str>>,
    /// The key that sessions wait for; `None` where any will do.
    own: Option<KeyId>,
}

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
struct Line {
    waiting: BTreeSet<WaiterId>,
    /// When there may be room for the first; `None` if only an answer can tell.
    free_at: Option<Instant>,
    /// What that moment means to those who wait.
    prospect: Prospect,
    /// Who was told so, and what.
    told: Option<(WaiterId, Option<Instant>)>,
}

/// Where a waiter stands.
#[derive(Debug)]
pub(super) enum Turn {
    /// The key is the waiter's; it goes out at this moment.
    Granted(Loan, Instant),
    Later {
        prospect: Prospect,
        /// When to look again, if nothing happens before.
        look_at: Option<Instant>,
    },
}

// === impl Queue ===

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many have a place.
    fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }

    /// The number of the last place, or for a call that has waited before of one in front of all who have not.
    fn number(&mut self, first: bool) -> WaiterId {
        match first {
            true => {
                self.rejoined += 1;
                WaiterId(i64::MIN + self.rejoined)
            }
            false => {
                self.joined += 1;
                WaiterId(self.joined)
            }
        }
    }

    fn class(&self, id: WaiterId, want: &Want) -> Class {
        let own = want
            .session
            .and_then(|_| self.sessions.own(id, &want.model));
        Class {
            model: want.model.clone(),
            own,
        }
    }

    fn line(&self, id: WaiterId, want: &Want) -> Option<&Line> {
        self.lines.get(&self.class(id, want))
    }

    /// Whether it is for this waiter to look who can be served.
    pub(super) fn is_due(&self, id: WaiterId, want: &Want, now: Instant) -> bool {
        self.line(id, want).is_some_and(|line| {
            let is_overdue = line.free_at.is_some_and(|at| at + BACKUP <= now);
            let is_time = line.free_at.is_none_or(|at| at <= now);
            (is_time && line.waiting.first() == Some(&id)) || is_overdue
        })
    }

    /// Where a waiter stands.
    pub(super) fn turn(&mut self, id: WaiterId, want: &Want) -> Turn {
        if let Some((loan, at)) = self.granted.remove(&id) {
            return Turn::Granted(loan, at);
        }
        let class = self.class(id, want);
        let Some(line) = self.lines.get_mut(&class) else {
            return Turn::Later {
                prospect: Prospect::AnyTime,
                look_at: None,
            };
        };
        let prospect = line.prospect;
        let look_at = match line.waiting.first() == Some(&id) {
            true => {
                line.told = Some((id, line.free_at));
                line.free_at
            }
            false => {
                // It was the first when it was told, and will look later now.
                line.told = line.told.filter(|(told, _)| *told != id);
                line.free_at.map(|at| at + BACKUP)
            }
        };
        Turn::Later { prospect, look_at }
    }

    fn remove(&mut self, id: WaiterId, want: &Want) {
        let class = self.class(id, want);
        self.sessions.leave(id, &want.model);
        self.remove_from(id, &class);
    }

    fn remove_from(&mut self, id: WaiterId, class: &Class) {
        if let Some(line) = self.lines.get_mut(class) {
            line.waiting.remove(&id);
            if line.waiting.is_empty() {
                self.lines.remove(class);
            }
        }
    }

    /// From one line into another.
    fn change_line(&mut self, moved: &Moved, model: &Option<Arc<str>>) {
        let class = |own| Class {
            model: model.clone(),
            own,
        };
        self.remove_from(moved.id, &class(moved.from));
        let line = self.lines.entry(class(moved.to)).or_default();
        line.waiting.insert(moved.id);
        // What those know who stood there, this one does not; nor what it was told before it left.
        (line.free_at, line.prospect) = (None, Prospect::AnyTime);
        line.told = line.told.filter(|(told, _)| *told != moved.id);
    }
}

#[cfg(test)]
impl Queue {
    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The key that a waiter waits for.
    pub(super) fn own(&self, id: WaiterId, want: &Want) -> Option<KeyId> {
        self.class(id, want).own
    }

    pub(super) fn is_first(&self, id: WaiterId) -> bool {
        let mut lines = self.lines.values();
        lines.any(|line| line.waiting.first() == Some(&id))
    }

    /// Whether anything is left of those who wait no more.
    pub(super) fn has_left_overs(&self) -> bool {
        self.has_granted() || !self.sessions.is_empty()
    }

    pub(super) fn has_granted(&self) -> bool {
        !self.granted.is_empty()
    }
}

// === impl State: waiting ===

impl State {
    /// Takes a place: the last, or for a call that has waited before one in front of all who have not.
    pub(super) fn join(&mut self, want: &Want, first: bool, now: Instant) -> WaiterId {
        let id = self.queue.number(first);
        self.rejoin(id, want, now);
        id
    }

    /// Takes the place of its number.
    fn rejoin(&mut self, id: WaiterId, want: &Want, now: Instant) {
        if let Some(session) = want.session {
            if !self.queue.sessions.have(&want.model) {
                let open = self.open(want.model.as_ref(), now);
                self.queue.sessions.choose(&want.model, open);
            }
            self.queue.sessions.join(id, session, &want.model);
        }
        let class = self.queue.class(id, want);
        let line = self.queue.lines.entry(class).or_default();
        line.waiting.insert(id);
    }

    /// Gives up a place, and the key that was set aside for it.
    pub(super) fn leave(&mut self, id: WaiterId, want: &Want) {
        self.queue.remove(id, want);
        if let Some((loan, _)) = self.queue.granted.remove(&id) {
            self.give_back(&loan);
        }
    }

    /// Takes the place of its number again if the key that was set aside is in the pool no more;
    /// whether it is so, which leaves room for others of its group.
    pub(super) fn take_back_the_removed(
        &mut self,
        id: WaiterId,
        want: &Want,
        now: Instant,
    ) -> bool {
        let granted = self.queue.granted.get(&id);
        let is_removed = granted.is_some_and(|(loan, _)| self.entry_of(loan).is_none());
        if is_removed {
            if let Some((loan, _)) = self.queue.granted.remove(&id) {
                self.give_back(&loan);
            }
            self.rejoin(id, want, now);
        }
        is_removed
    }

    /// Sets keys aside for as many waiters as there is room for, in their order; returns who is to be
    /// woken: they, who is the first of a line now or is to look sooner than it knows, and those whose
    /// max_wait may not reach any more.
    #[must_use]
    pub(super) fn serve(&mut self, now: Instant) -> Vec<WaiterId> {
        self.choose_own_keys(now);
        let lines = self.queue.lines.iter();
        let mut heads: BinaryHeap<_> = lines
            .filter_map(|(class, line)| Some(Reverse((*line.waiting.first()?, class.clone()))))
            .collect();
        let mut served: Vec<(WaiterId, Loan)> = Vec::new();
        let mut to_wake = Vec::new();
        while let Some(Reverse((id, class))) = heads.pop() {
            let taken = self.take_for(&class, now);
            let Some(line) = self.queue.lines.get_mut(&class) else {
                continue;
            };
            match taken {
                Ok(loan) => {
                    served.push((id, loan));
                    line.waiting.pop_first();
                    let next = line.waiting.first().copied();
                    self.queue.sessions.leave(id, &class.model);
                    match next {
                        Some(next) => heads.push(Reverse((next, class))),
                        None => drop(self.queue.lines.remove(&class)),
                    }
                }
                Err(exhausted) => {
                    let is_put_off = line.is_put_off(&exhausted, now);
                    (line.free_at, line.prospect) = (exhausted.free_at, exhausted.prospect());
                    match is_put_off {
                        true => to_wake.extend(&line.waiting),
                        false => to_wake.extend((!line.knows(id)).then_some(id)),
                    }
                }
            }
        }
        to_wake.extend(served.iter().map(|(id, _)| *id));
        self.grant(served, now);
        to_wake
    }

    /// Has each session wait for the key that is its own now, which changes when keys close or open.
    fn choose_own_keys(&mut self, now: Instant) {
        for model in self.queue.sessions.models() {
            let open = self.open(model.as_ref(), now);
            for moved in self.queue.sessions.choose(&model, open) {
                self.queue.change_line(&moved, &model);
            }
        }
    }

    fn take_for(&mut self, class: &Class, now: Instant) -> Result<Loan, Exhausted> {
        // What frees after a wait may be tried again.
        let want = Want {
            model: class.model.clone(),
            ..Want::default()
        };
        match class.own {
            Some(own) => {
                let next_at = self.queue.sessions.next_at(&class.model);
                self.take_own(own, &want, next_at, now)
            }
            None => self.take(&want, now).map(|(loan, _)| loan),
        }
    }

    fn grant(&mut self, served: Vec<(WaiterId, Loan)>, now: Instant) {
        let mut waiting = self.queue.waiting() + served.len();
        let mut apart = Duration::ZERO;
        let then_apart = departures::apart(served.len());
        for (id, mut loan) in served {
            let ended = self.hints(&loan, now).filter(|end| *end <= now).max();
            let departures = &mut self.queue.departures;
            let at = ended
                .and_then(|end| departures.after_hint(end, waiting, &mut self.random, now))
                .unwrap_or_else(|| departures.plain(mem::replace(&mut apart, then_apart), now));
            waiting -= 1;
            self.set_aside(&mut loan);
            loan.sent = at;
            self.queue.granted.insert(id, (loan, at));
        }
    }
}

// === impl Line ===

impl Line {
    /// Whether there is room only so much later that some may not want to wait any more.
    fn is_put_off(&self, exhausted: &Exhausted, now: Instant) -> bool {
        // As long as an answer could tell it might have been now.
        let before = match self.prospect {
            Prospect::At(at) => at,
            Prospect::AnyTime | Prospect::Never => now,
        };
        match exhausted.prospect() {
            Prospect::AnyTime => false,
            Prospect::At(after) => before + PUT_OFF < after,
            Prospect::Never => true,
        }
    }

    /// Whether the first looks again in time by itself.
    fn knows(&self, head: WaiterId) -> bool {
        self.told.is_some_and(|(told, at)| {
            let in_time = |free_at| at.is_some_and(|at| at <= free_at);
            told == head && self.free_at.is_none_or(in_time)
        })
    }
}
