//! The search for a key with capacity, in the order of the pool. Pure.

use std::mem;

use tokio::time::Instant;

use super::{
    choice::KeyRequest,
    closed::{ClosedUntil, LARGE},
    exhausted::Exhausted,
    ids::KeyId,
    keys::Keys,
};
use crate::quota::{Capacity, LimitTable};

/// What was found out while no key with capacity was found.
struct KeySearch {
    exhausted: Exhausted,
    to_verify: Option<usize>,
    /// The keys of a large pool that are closed for every request.
    closed: Vec<ClosedUntil>,
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
    /// Returns the first key with capacity, from the current one on.
    pub(super) fn in_order(
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
}
