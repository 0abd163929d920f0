//! What is known of the targets, over calls: which are limited, and how much is left of each.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    allowance::{Allowance, Habits, Room},
    origin::Origin,
    refusal::{Bucket, Refusal},
};

/// A model name may come from a stranger's request, so what is remembered is bounded.
const MOST: usize = 1024;

/// What is limited: a model at an origin.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TargetId {
    pub(super) origin: Option<Origin>,
    /// One origin may stand before several providers.
    pub(super) base_path: String,
    pub(super) model: Option<Arc<str>>,
    /// A target with credentials of its own has limits of its own, and so has each key that a layer
    /// further out puts on.
    pub(super) account: Option<Arc<str>>,
}

/// Shared by all services of a layer.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    targets: HashMap<TargetId, OfTarget>,
    /// Who waits for an answer that tells more.
    waiting: HashMap<u64, Waker>,
    seats: u64,
}

#[derive(Default)]
struct OfTarget {
    allowance: Allowance,
    habits: Habits,
}

/// A request to a target that is under way; over when it is dropped.
pub(super) struct Visit {
    memory: Memory,
    id: TargetId,
    since: Instant,
    is_answered: bool,
}

/// A call's place among those who wait for an answer; given up when it is dropped.
pub(super) struct Seat {
    memory: Memory,
    number: u64,
}

// === impl Memory ===

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn room(&self, id: &TargetId, now: Instant) -> Room {
        match self.lock().targets.get_mut(id) {
            Some(target) => target.allowance.room(&target.habits, true, now),
            None => Allowance::default().room(&Habits::default(), true, now),
        }
    }

    /// When the target frees, and what it waits for; `None` if it is free.
    pub(super) fn end(&self, id: &TargetId, now: Instant) -> Option<(Instant, Refusal)> {
        self.lock().targets.get(id)?.end(now)
    }

    /// Whether any target of this origin is limited.
    pub(super) fn has_limited(&self, origin: Option<&Origin>, now: Instant) -> bool {
        let known = self.lock();
        let mut here = known
            .targets
            .iter()
            .filter(|(id, _)| id.origin.as_ref() == origin);
        here.any(|(_, target)| target.end(now).is_some())
    }

    pub(super) fn visit(&self, id: TargetId, now: Instant) -> Visit {
        let mut known = self.lock();
        if known.targets.len() >= MOST && !known.targets.contains_key(&id) {
            known.forget_one(now);
        }
        let OfTarget { allowance, habits } = known.targets.entry(id.clone()).or_default();
        allowance.take(habits, now);
        drop(known);
        Visit {
            memory: self.clone(),
            id,
            since: now,
            is_answered: false,
        }
    }

    pub(super) fn sit_down(&self) -> Seat {
        let mut known = self.lock();
        known.seats += 1;
        Seat {
            number: known.seats,
            memory: self.clone(),
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Wakes when an answer has come to anybody.
    pub(super) fn wake_after_answer(&self, waker: &Waker) {
        let mut known = self.memory.lock();
        known.waiting.insert(self.number, waker.clone());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.memory.lock().waiting.remove(&self.number);
    }
}

// === impl Known ===

impl Known {
    /// Makes room: those that are idle go, or else one that nobody visits.
    fn forget_one(&mut self, now: Instant) {
        self.targets
            .retain(|_, target| !target.allowance.is_idle(now));
        if self.targets.len() >= MOST {
            let ends = self
                .targets
                .iter()
                .filter_map(|(id, target)| Some((target.end(now)?.0, id)));
            if let Some(id) = ends.min_by_key(|(end, _)| *end).map(|(_, id)| id.clone()) {
                self.targets.remove(&id);
            }
        }
    }
}

// === impl OfTarget ===

impl OfTarget {
    fn end(&self, now: Instant) -> Option<(Instant, Refusal)> {
        self.allowance.end(&self.habits, now)
    }
}

// === impl Visit ===

impl Visit {
    /// There is an answer, or the request has failed.
    pub(super) fn is_answered(&mut self) {
        self.is_answered = true;
    }

    pub(super) fn refused(
        &self,
        refusal: &Refusal,
        told: &[Bucket],
        now: Instant,
        no_hint: Duration,
    ) {
        let mut known = self.memory.lock();
        if let Some(target) = known.targets.get_mut(&self.id) {
            let OfTarget { allowance, habits } = target;
            allowance.refused(habits, refusal, told, (self.since, now), no_hint);
        }
    }

    pub(super) fn succeeded(&self, told: &[Bucket], now: Instant) {
        let mut known = self.memory.lock();
        if let Some(target) = known.targets.get_mut(&self.id) {
            let OfTarget { allowance, habits } = target;
            allowance.succeeded(habits, told.iter(), (self.since, now));
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut known = self.memory.lock();
        if let Some(target) = known.targets.get_mut(&self.id) {
            if !self.is_answered {
                target.allowance.given_up(self.since);
            }
            target.allowance.give_back(self.since);
        }
        let waiting = std::mem::take(&mut known.waiting);
        drop(known);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The paths of targets are nobody's business.
        let known = self.lock();
        let models = known.targets.keys().map(|id| &id.model);
        f.debug_list().entries(models).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::refusal::Reason;

    #[test]
    fn what_is_remembered_is_bounded() {
        let (memory, now) = (Memory::default(), Instant::now());
        let id = |number: usize| TargetId {
            origin: None,
            base_path: String::new(),
            model: Some(number.to_string().into()),
            account: None,
        };
        for number in 0..MOST + 10 {
            let at = now + Duration::from_millis(number as u64);
            let visit = memory.visit(id(number), at);
            visit.refused(
                &Refusal::new(Reason::RateLimited),
                &[],
                at,
                Duration::from_secs(60),
            );
        }
        assert_eq!(memory.lock().targets.len(), MOST);
        assert!(
            memory.end(&id(0), now).is_none(),
            "the one that frees first is forgotten first"
        );
        assert!(memory.end(&id(MOST + 9), now).is_some());
    }

    #[test]
    fn a_call_that_waits_no_more_leaves_nothing_behind() {
        let memory = Memory::default();
        let seat = memory.sit_down();
        seat.wake_after_answer(Waker::noop());
        seat.wake_after_answer(Waker::noop());
        assert_eq!(memory.lock().waiting.len(), 1);
        drop(seat);
        assert!(memory.lock().waiting.is_empty());
    }
}
