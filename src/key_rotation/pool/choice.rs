//! Which key a request goes out with: the next in order, the one with more capacity of two, or the one that
//! its session prefers. Pure.

use std::{mem, sync::Arc};

use tokio::time::Instant;

use super::{
    closed::{ClosedUntil, LARGE},
    exhausted::Exhausted,
    ids::KeyId,
    keys::{KeyInfo, Keys, Order},
};
use crate::quota::{Capacity, Demand, LimitTable};

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

/// What was found out while no key with capacity was found.
struct KeySearch {
    exhausted: Exhausted,
    to_verify: Option<usize>,
    /// The keys of a large pool that are closed for every request.
    closed: Vec<ClosedUntil>,
}

// === impl KeyRequest ===

impl KeyRequest {
    pub(super) fn allows(&self, key: &KeyInfo) -> bool {
        self.pinned.as_ref().is_none_or(|label| *label == key.label)
    }
}

// === impl KeySearch ===

impl KeySearch {
    fn new(request: &KeyRequest) -> Self {
        Self {
            exhausted: Exhausted::before_any_key(request.pinned.is_some()),
            to_verify: None,
            closed: Vec::new(),
        }
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

    /// Returns the first key with capacity, from the current one on.
    fn in_order(
        &mut self,
        request: &KeyRequest,
        model: Option<usize>,
        now: Instant,
    ) -> Result<usize, Exhausted> {
        let (count, first) = (self.entries.len(), self.current);
        let is_remembered = count >= LARGE && request.pinned.is_none();
        if is_remembered {
            if let Some(chosen) = self.among_open(request, model, now) {
                return chosen;
            }
        }
        let mut search = KeySearch::new(request);
        for index in (0..count).map(|step| (first + step) % count) {
            if self.look(index, &mut search, (request, model), now) {
                return Ok(index);
            }
        }
        if is_remembered && search.closed.len() == count {
            let closed = mem::take(&mut search.closed);
            self.remember_closed(model, closed);
        }
        self.give_up(search, model, now)
    }

    /// As [`in_order`](Self::in_order), among the keys that may have opened since none was open; `None` if that
    /// is not remembered.
    fn among_open(
        &mut self,
        request: &KeyRequest,
        model: Option<usize>,
        now: Instant,
    ) -> Option<Result<usize, Exhausted>> {
        let mut closed = self.limits.closed.take(model)?;
        closed.open_until(now);
        if closed.is_worthless() {
            return None;
        }
        let (count, first) = (self.entries.len(), self.current);
        let mut open = closed.take_open();
        let indexes = &self.indexes;
        let place = |id: &KeyId| indexes.get(id).map(|index| (index + count - first) % count);
        open.sort_by_key(place);
        let mut search = KeySearch::new(request);
        let mut chosen = None;
        for id in open {
            let (Some(index), None) = (self.index(id), chosen) else {
                closed.keep_open(id);
                continue;
            };
            if self.look(index, &mut search, (request, model), now) {
                chosen = Some(index);
            }
            match search.closed.pop() {
                Some(until) => closed.add(until),
                None => closed.keep_open(id),
            }
        }
        for (is_checked, at, id) in closed.first() {
            search.exhausted.add(is_checked, at, id);
        }
        self.limits.closed.put(closed);
        Some(match chosen {
            Some(index) => Ok(index),
            None => self.give_up(search, model, now),
        })
    }

    /// Looks at one key. Returns whether it is chosen.
    fn look(
        &mut self,
        index: usize,
        search: &mut KeySearch,
        (request, model): (&KeyRequest, Option<usize>),
        now: Instant,
    ) -> bool {
        if !request.allows(&self.entries[index].info) {
            return false;
        }
        let exhausted = &mut search.exhausted;
        exhausted.is_pin_lost = false;
        let id = self.entries[index].info.id;
        let is_tried = request.tried.contains(&id);
        let capacity = self.capacity(index, (model, request.demand), now);
        let (is_checked, at) = match capacity {
            Capacity::Available(_) if is_tried => (false, Some(now)),
            Capacity::Available(_) => return true,
            Capacity::Closed(until) => (false, Some(until)),
            Capacity::Unusable(until) => (true, Some(until)),
            Capacity::Verify(until) => {
                search.to_verify = search.to_verify.or((!is_tried).then_some(index));
                (false, Some(until))
            }
            Capacity::Short {
                more_at,
                less_may_go,
            } => {
                exhausted.busy = exhausted.busy.or((!is_tried).then_some(id));
                exhausted.less_may_go |= less_may_go;
                (false, more_at)
            }
            Capacity::Probing(more_at) | Capacity::Full(more_at) => {
                exhausted.busy = exhausted.busy.or((!is_tried).then_some(id));
                (false, more_at)
            }
        };
        if let Some(at) = at {
            exhausted.add(is_checked, at, id);
        }
        if let (Capacity::Closed(at) | Capacity::Unusable(at), true) =
            (capacity, self.entries.len() >= LARGE)
        {
            search.closed.push((is_checked, at, id));
        }
        false
    }

    /// Returns the key that may verify a report if none is busy, or else why no key has capacity.
    fn give_up(
        &mut self,
        search: KeySearch,
        model: Option<usize>,
        now: Instant,
    ) -> Result<usize, Exhausted> {
        let mut exhausted = search.exhausted;
        if let (None, Some(index)) = (exhausted.busy, search.to_verify) {
            return Ok(index);
        }
        let first = exhausted.first.and_then(|(_, _, id)| self.index(id));
        let end = first.and_then(|index| self.limits.end(self.scope(index, model), now));
        exhausted.rejection = end.map(|end| Box::new(end.rejection));
        Err(exhausted)
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
