//! The keys of a large pool while none is open: when each opens. A call then looks only at those that may have
//! opened since. Pure.
//!
//! A time is remembered as it was when the key was looked at. A later rejection elsewhere can only move it
//! back, and the key is then looked at too early. What can move it forward is forgotten as a whole, except the
//! end of a probe in flight, which moves it by less than a second.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

use tokio::time::Instant;

use super::ids::KeyId;
use crate::quota::IdState;

/// A pool of fewer keys is looked through, because that takes no longer.
pub(super) const LARGE: usize = 64;

/// For so many models it is remembered.
const MODELS: usize = 4;

/// What is remembered, for each model and for calls without one.
#[derive(Clone, Default)]
pub(super) struct ClosedKeys(Vec<ClosedFor>);

/// The keys that are closed for a model.
#[derive(Clone)]
pub(super) struct ClosedFor {
    model: Option<usize>,
    /// Whether keys share limits, so that a change of one may concern others.
    is_grouped: bool,
    /// Those that time opens, and those that are only checked again.
    opening: [BTreeSet<(Instant, KeyId)>; 2],
    /// Which of the two sets has a key, and when it opens.
    until: HashMap<KeyId, (usize, Instant), IdState>,
    /// Those that were changed or have opened since. They may be closed again.
    open: Vec<KeyId>,
}

/// Whether a key is only checked then, and when it opens.
pub(super) type ClosedUntil = (bool, Instant, KeyId);

// === impl ClosedKeys ===

impl ClosedKeys {
    /// Remembers keys of which none is open.
    pub(super) fn remember(
        &mut self,
        model: Option<usize>,
        is_grouped: bool,
        closed: impl Iterator<Item = ClosedUntil>,
    ) {
        let mut new = ClosedFor {
            model,
            is_grouped,
            opening: Default::default(),
            until: HashMap::default(),
            open: Vec::new(),
        };
        closed.for_each(|closed| new.add(closed));
        self.put(new);
    }

    /// Returns what is remembered for a model, and forgets it.
    pub(super) fn take(&mut self, model: Option<usize>) -> Option<ClosedFor> {
        let at = self.0.iter().position(|closed| closed.model == model)?;
        Some(self.0.swap_remove(at))
    }

    /// Returns whether it is known that no key is open for a model.
    pub(super) fn is_all(&mut self, model: Option<usize>, now: Instant) -> bool {
        let closed = self.0.iter_mut().find(|closed| closed.model == model);
        closed.is_some_and(|closed| {
            closed.open_until(now);
            closed.open.is_empty()
        })
    }

    pub(super) fn put(&mut self, closed: ClosedFor) {
        if self.0.len() >= MODELS {
            self.0.remove(0);
        }
        self.0.push(closed);
    }

    /// Notes that a request has ended on a key, so that it may have been rejected.
    pub(super) fn change(&mut self, key: KeyId) {
        self.0.retain(|closed| !closed.is_grouped);
        for closed in &mut self.0 {
            closed.open(key);
        }
    }

    /// Forgets all, because any key may have opened.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

// === impl ClosedFor ===

impl ClosedFor {
    pub(super) fn add(&mut self, (is_checked, at, key): ClosedUntil) {
        let set = usize::from(is_checked);
        self.opening[set].insert((at, key));
        self.until.insert(key, (set, at));
    }

    /// Adds a key to the open ones.
    pub(super) fn open(&mut self, key: KeyId) {
        if let Some((set, at)) = self.until.remove(&key) {
            self.opening[set].remove(&(at, key));
            self.open.push(key);
        }
    }

    /// Moves the keys that may have opened by now to the open ones.
    pub(super) fn open_until(&mut self, now: Instant) {
        for set in 0..self.opening.len() {
            let first = |closed: &Self| closed.opening[set].first().copied();
            while let Some((_, key)) = first(self).filter(|(at, _)| *at <= now) {
                self.open(key);
            }
        }
    }

    /// Returns the keys that may be open, of which each is then added again, here or to the closed ones.
    pub(super) fn take_open(&mut self) -> Vec<KeyId> {
        mem::take(&mut self.open)
    }

    /// Adds a key that may be open.
    pub(super) fn keep_open(&mut self, key: KeyId) {
        self.open.push(key);
    }

    /// Returns whether so many may be open that all are looked through with less effort.
    pub(super) fn is_worthless(&self) -> bool {
        self.open.len() * 8 > self.until.len()
    }

    /// Returns the keys that open first, of those that time opens and of those that are only checked.
    pub(super) fn first(&self) -> impl Iterator<Item = ClosedUntil> + '_ {
        let kinds = [false, true].into_iter().zip(&self.opening);
        kinds.filter_map(|(is_checked, opening)| {
            let (at, key) = opening.first().copied()?;
            Some((is_checked, at, key))
        })
    }
}
