//! Which key a request goes out with: the next in order, the one with more capacity of two, or the one that
//! its session prefers. Pure.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    exhausted::Exhausted,
    ids::KeyId,
    keys::{KeyInfo, Keys, Order},
};
use crate::quota::{Capacity, Demand};

/// What a call needs of the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRequest {
    pub(crate) model: Option<Arc<str>>,
    /// The keys that the call has been sent with.
    pub(crate) tried: Vec<KeyId>,
    /// The hash of the session.
    pub(crate) session: Option<u64>,
    /// What a send takes from the limits of a key.
    pub(crate) demand: Demand,
    /// The label of the only key that the call may be sent with.
    pub(crate) pinned: Option<Arc<str>>,
}

/// What a call waits for. It may take a key again that it has tried before the wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyClass {
    pub(super) model: Option<Arc<str>>,
    pub(super) preferred: Option<KeyId>,
    pub(super) pinned: Option<Arc<str>>,
}

// === impl KeyRequest ===

impl KeyRequest {
    pub(super) fn allows(&self, key: &KeyInfo) -> bool {
        self.pinned.as_ref().is_none_or(|label| *label == key.label)
    }
}

// === impl Keys ===

impl Keys {
    pub(super) fn capacity(
        &mut self,
        index: usize,
        (model, demand): (Option<usize>, Demand),
        now: Instant,
    ) -> Capacity {
        self.limits.capacity(self.scope(index, model), demand, now)
    }

    /// Returns the index of the key that would be reserved.
    pub(super) fn choose(
        &mut self,
        request: &KeyRequest,
        model: Option<usize>,
        now: Instant,
    ) -> Result<usize, Exhausted> {
        if let Some((index, capacity)) = self.preferred(request, model, now) {
            return match capacity {
                Capacity::Short { more_at, .. }
                | Capacity::Probing(more_at)
                | Capacity::Full(more_at) => {
                    Err(Exhausted::busy(self.entries[index].info.id, more_at))
                }
                _ => Ok(index),
            };
        }
        if self.order == Order::LeastLoaded && request.pinned.is_none() {
            if let Some(index) = self.of_two(request, model, now) {
                return Ok(index);
            }
        }
        self.in_order(request, model, now)
    }

    /// Returns the key that the session prefers (rendezvous hashing): the first that is not closed, so that
    /// only the sessions of a key on cooldown move.
    fn preferred(
        &mut self,
        request: &KeyRequest,
        model: Option<usize>,
        now: Instant,
    ) -> Option<(usize, Capacity)> {
        let session = request.session.filter(|_| request.pinned.is_none())?;
        if self.limits.closed.is_all(model, now) {
            return None;
        }
        let mut best: Option<(u64, usize, Capacity)> = None;
        for index in 0..self.entries.len() {
            let KeyInfo {
                id, secret_hash, ..
            } = *self.entries[index].info;
            let this = secret_hash.score(session);
            let is_better = best.is_none_or(|(highest, ..)| this > highest);
            if !is_better || request.tried.contains(&id) {
                continue;
            }
            let capacity = self.capacity(index, (model, request.demand), now);
            if capacity.closed_until().is_none() {
                best = Some((this, index, capacity));
            }
        }
        best.map(|(_, index, capacity)| (index, capacity))
    }

    /// Returns the one with more capacity of two that are drawn, which is as even as to look at all.
    fn of_two(
        &mut self,
        request: &KeyRequest,
        model: Option<usize>,
        now: Instant,
    ) -> Option<usize> {
        let count = self.entries.len();
        let drawn = [self.random.usize(..count), self.random.usize(..count)];
        let [one, other] =
            drawn.map(
                |index| match self.capacity(index, (model, request.demand), now) {
                    Capacity::Available(more) => {
                        let is_tried = request.tried.contains(&self.entries[index].info.id);
                        (!is_tried).then_some(more)
                    }
                    _ => None,
                },
            );
        let [out_one, out_other] = drawn.map(|index| self.in_flight(index));
        match (one, other) {
            // If both are alike, the one with fewer requests in flight.
            (Some(one), Some(other)) if one == other && out_one > out_other => Some(drawn[1]),
            (Some(one), Some(other)) if one < other => Some(drawn[1]),
            (Some(_), _) => Some(drawn[0]),
            (None, other) => other.map(|_| drawn[1]),
        }
    }

    /// Returns how many calls have a key now.
    pub(super) fn in_flight(&self, index: usize) -> u64 {
        let own = self.limits.keys.get(self.entries[index].info.id);
        own.map_or(0, |(limit, _)| limit.in_flight())
    }

    /// Returns what a call waits for: of its session's keys the first that is not closed, if there is one.
    pub(super) fn class(&mut self, request: &KeyRequest, now: Instant) -> KeyClass {
        let model = self.limits.slot(request.model.as_ref(), now);
        let preferred = self.preferred(request, model, now).map(|(index, _)| index);
        let first = || {
            let session = request.session.filter(|_| request.pinned.is_none())?;
            let hash = |index: &usize| self.entries[*index].info.secret_hash;
            (0..self.entries.len()).max_by_key(|index| hash(index).score(session))
        };
        let preferred = preferred.or_else(first);
        KeyClass {
            model: request.model.clone(),
            preferred: preferred.map(|index| self.entries[index].info.id),
            pinned: request.pinned.clone(),
        }
    }
}
