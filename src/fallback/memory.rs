//! What is known of the targets, over calls: which are limited, and how much is left of each.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    allowance::{Allowance, End, Forgettable, Habits, Remembered, Room},
    jitter::Share,
    rejection::{Bucket, Rejection},
    request::Origin,
};

/// What is limited: a model at an origin.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TargetId {
    pub(super) origin: Option<Origin>,
    /// One origin may stand before several providers.
    pub(super) base_path: String,
    pub(super) model: Option<Arc<str>>,
    pub(super) account: Account,
}

/// Whose limits they are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// Of whoever asks.
    Any,
    /// Each key that a layer further out puts on has its own.
    Key(Arc<str>),
    /// So has a target with credentials of its own, by its place in the list: names may be alike.
    Target(usize),
}

/// Shared by all services of a layer.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Known>>);

#[derive(Default)]
pub(super) struct Known {
    targets: Remembered<TargetId, OfTarget>,
    /// Who waits for an answer that tells more.
    waiting: BTreeMap<u64, Waker>,
    seats: u64,
    random: fastrand::Rng,
}

#[derive(Default)]
struct OfTarget {
    allowance: Allowance,
    habits: Habits,
}

/// A target that is looked at, and its place once that was looked up.
pub(super) struct Candidate {
    id: TargetId,
    place: Option<usize>,
}

/// A request to a target that is under way; over when it is dropped.
pub(super) struct Visit {
    memory: Memory,
    place: usize,
    since: Instant,
    is_over: bool,
}

/// A call's place among those who wait for an answer; given up when it is dropped.
pub(super) struct Seat {
    memory: Memory,
    number: u64,
}

// === impl TargetId ===

impl Hash for TargetId {
    /// By what differs most: few targets share a model and an account.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.model.hash(state);
        self.account.hash(state);
    }
}

// === impl Memory ===

impl Memory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request to the target; `known` is what this memory knows.
    pub(super) fn visit(&self, known: &mut Known, to: Candidate, now: Instant) -> Visit {
        let Candidate { id, place } = to;
        let place = place.or_else(|| known.targets.place_of(&id));
        let place = place.unwrap_or_else(|| known.targets.add(id, now));
        if let Some(OfTarget { allowance, habits }) = known.targets.get_mut(place) {
            allowance.take(habits, now);
        }
        Visit {
            memory: self.clone(),
            place,
            since: now,
            is_over: false,
        }
    }

    /// Takes a place among those who wait; `known` is what this memory knows.
    pub(super) fn sit_down(&self, known: &mut Known) -> Seat {
        known.seats += 1;
        Seat {
            number: known.seats,
            memory: self.clone(),
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Wakes when an answer has come to anybody since the memory was locked.
    pub(super) fn wake_after_answer(&self, known: &mut Known, waker: &Waker) {
        known.waiting.insert(self.number, waker.clone());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.memory.lock().waiting.remove(&self.number);
    }
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn new(id: TargetId) -> Self {
        Self { id, place: None }
    }
}

// === impl Known ===

impl Known {
    pub(super) fn room(&mut self, of: &mut Candidate, now: Instant) -> Room {
        of.place = self.targets.place_of(&of.id);
        match of.place.and_then(|place| self.targets.get_mut(place)) {
            Some(target) => target.allowance.room(&target.habits, true, now),
            None => Allowance::default().room(&Habits::default(), true, now),
        }
    }

    /// When the provider's last hints for a target end that was looked up.
    pub(super) fn hints(&self, of: &Candidate, now: Instant) -> impl Iterator<Item = Instant> {
        let target = of.place.and_then(|place| self.targets.get(place));
        let hints = target.map(|target| target.allowance.hints(&target.habits, now));
        hints.into_iter().flatten()
    }

    /// Where in its jitter a call goes out that waits for a hint's end.
    pub(super) fn draw_share(&mut self) -> Share {
        Share::draw(&mut self.random)
    }

    /// When the target frees, and what it waits for; `None` if it is free.
    pub(super) fn end(&self, of: &Candidate, now: Instant) -> Option<End> {
        let place = of.place.or_else(|| self.targets.place_of(&of.id))?;
        self.targets.get(place)?.end(now)
    }

    /// Whether any target of this origin is limited.
    pub(super) fn has_limited(&self, origin: Option<&Origin>, now: Instant) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|(id, target)| id.origin.as_ref() == origin && target.end(now).is_some())
    }
}

// === impl OfTarget ===

impl OfTarget {
    fn end(&self, now: Instant) -> Option<End> {
        self.allowance.end(&self.habits, now)
    }
}

impl Forgettable for OfTarget {
    fn is_unused(&self) -> bool {
        self.allowance.is_unused()
    }

    fn frees_at(&self, now: Instant) -> Option<Instant> {
        self.end(now).map(|end| end.at)
    }
}

// === impl Visit ===

impl Visit {
    /// There is an answer that says nothing, or the request has failed.
    pub(super) fn answered(self) {
        self.end(|_| {});
    }

    pub(super) fn refused(
        self,
        rejection: &Rejection,
        told: &[Bucket],
        now: Instant,
        longest_guess: Duration,
    ) {
        let when = (self.since, now);
        self.end(|OfTarget { allowance, habits }| {
            allowance.refused(habits, rejection, told, when, longest_guess);
        });
    }

    pub(super) fn succeeded(self, told: &[Bucket], now: Instant) {
        let when = (self.since, now);
        self.end(|OfTarget { allowance, habits }| {
            allowance.succeeded(habits, told.iter(), when);
        });
    }

    fn end(mut self, tell: impl FnOnce(&mut OfTarget)) {
        self.is_over = true;
        self.leave(tell);
    }

    fn leave(&self, tell: impl FnOnce(&mut OfTarget)) {
        let mut known = self.memory.lock();
        if let Some(target) = known.targets.get_mut(self.place) {
            tell(target);
            target.allowance.give_back(self.since, self.since);
        }
        if known.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut known.waiting);
        drop(known);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.is_over {
            self.leave(|target| target.allowance.given_up(self.since));
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The paths of targets are nobody's business.
        let known = self.lock();
        let models = known.targets.iter().map(|(id, _)| &id.model);
        f.debug_list().entries(models).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::{allowance::MOST, rejection::Reason};

    #[test]
    fn what_is_remembered_is_bounded() {
        let (memory, now) = (Memory::default(), Instant::now());
        let target = |number: usize| {
            Candidate::new(TargetId {
                origin: None,
                base_path: String::new(),
                model: Some(number.to_string().into()),
                account: Account::Any,
            })
        };
        let rejection = Rejection {
            retry_after: Some(Duration::from_secs(60)),
            ..Rejection::new(Reason::RateLimited)
        };
        let refuse = |number: usize, at| {
            let visit = memory.visit(&mut memory.lock(), target(number), at);
            visit.refused(&rejection, &[], at, Duration::from_secs(60));
        };
        refuse(0, now);
        let visit = memory.visit(&mut memory.lock(), target(0), now);
        for number in 1..MOST + 10 {
            refuse(number, now + Duration::from_millis(number as u64));
        }
        let known = memory.lock();
        assert_eq!(known.targets.iter().count(), MOST);
        assert!(known.end(&target(0), now).is_some(), "it is visited");
        assert!(
            known.end(&target(1), now).is_none(),
            "the one that frees first is forgotten first"
        );
        assert!(known.end(&target(MOST + 9), now).is_some());
        drop(known);
        visit.succeeded(&[], now + Duration::from_secs(1));
    }

    #[test]
    fn a_call_that_waits_no_more_leaves_nothing_behind() {
        let memory = Memory::default();
        let seat = memory.sit_down(&mut memory.lock());
        seat.wake_after_answer(&mut memory.lock(), Waker::noop());
        seat.wake_after_answer(&mut memory.lock(), Waker::noop());
        assert_eq!(memory.lock().waiting.len(), 1);
        drop(seat);
        assert!(memory.lock().waiting.is_empty());
    }
}
