//! Which key a request goes out with: the next in order, the one with more capacity of two, or the one that
//! its session prefers. Pure.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    exhausted::Exhausted,
    ids::KeyId,
    keys::{KeyInfo, KeyReservation, Keys, Order},
};
use crate::quota::{
    BackgroundShares, Candidates, Capacity, Demand, Forecast, Inner, LimitTable, Waiting,
};

/// A call waits this long for the key of its session before it takes another.
const AFFINITY_WAIT: Duration = Duration::from_secs(1);

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
    model: Option<Arc<str>>,
    preferred: Option<KeyId>,
    pinned: Option<Arc<str>>,
}

// === impl KeyRequest ===

impl KeyRequest {
    fn allows(&self, key: &KeyInfo) -> bool {
        self.pinned.as_ref().is_none_or(|label| *label == key.label)
    }
}

// === impl Keys ===

impl Keys {
    /// Reserves the next key that has capacity.
    pub(crate) fn reserve(
        &mut self,
        request: &KeyRequest,
        now: Instant,
    ) -> Result<KeyReservation, Exhausted> {
        let model = self.limits.slot(request.model.as_ref(), now);
        let index = self.choose(request, model, now)?;
        Ok(self.reserve_key(index, request, model, now))
    }

    /// Reserves the key of which enough requests are out, or else the one that frees first; `None` if the
    /// call is pinned to a key that was removed.
    pub(crate) fn reserve_anyway(
        &mut self,
        exhausted: &Exhausted,
        request: &KeyRequest,
        now: Instant,
    ) -> Option<KeyReservation> {
        let model = self.limits.slot(request.model.as_ref(), now);
        // It may have been removed meanwhile.
        let id = exhausted.busy.or(exhausted.first.map(|(_, _, id)| id));
        let index = match (id.and_then(|id| self.index(id)), &request.pinned) {
            (Some(index), _) => index,
            (None, Some(label)) => self.find(label)?,
            (None, None) => self.current,
        };
        Some(self.reserve_key(index, request, model, now))
    }

    /// Reserves the key whose cooldown is only guessed and ends first; `None` if there is none, or a request
    /// tests already if they are too long.
    pub(super) fn reserve_early(
        &mut self,
        request: &KeyRequest,
        now: Instant,
    ) -> Option<KeyReservation> {
        let model = self.limits.slot(request.model.as_ref(), now);
        let allowed = (0..self.entries.len()).filter(|index| {
            let scope = self.scope(*index, model);
            request.allows(&self.entries[*index].info)
                && !request.tried.contains(&scope.key)
                && self.limits.allows_early_probe(scope, now)
        });
        let ends = allowed.filter_map(|index| {
            let end = self.limits.end(self.scope(index, model), now)?;
            Some((end.at, index))
        });
        let (_, index) = ends.min()?;
        let mut reservation = self.reserve_key(index, request, model, now);
        self.limits.mark_early_probe(&mut reservation);
        Some(reservation)
    }

    fn reserve_key(
        &mut self,
        index: usize,
        request: &KeyRequest,
        model: Option<usize>,
        now: Instant,
    ) -> KeyReservation {
        self.current = match self.order {
            // The pool did not choose it, and does not go on from there.
            _ if request.pinned.is_some() => self.current,
            Order::FillFirst | Order::LeastLoaded => index,
            Order::RoundRobin => (index + 1) % self.entries.len(),
        };
        let info = self.entries[index].info.clone();
        self.limits
            .reserve(self.scope(index, model), (info, request.demand), now)
    }

    fn capacity(
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
        let mut exhausted = Exhausted::before_any_key(request.pinned.is_some());
        let mut to_verify = None;
        for index in (0..count).map(|step| (first + step) % count) {
            if !request.allows(&self.entries[index].info) {
                continue;
            }
            exhausted.is_pin_lost = false;
            let id = self.entries[index].info.id;
            let is_tried = request.tried.contains(&id);
            let (is_checked, at) = match self.capacity(index, (model, request.demand), now) {
                Capacity::Available(_) if is_tried => (false, Some(now)),
                Capacity::Available(_) => return Ok(index),
                Capacity::Closed(until) => (false, Some(until)),
                Capacity::Unusable(until) => (true, Some(until)),
                Capacity::Verify(until) => {
                    to_verify = to_verify.or((!is_tried).then_some(index));
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
        }
        if let (None, Some(index)) = (exhausted.busy, to_verify) {
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

impl Candidates for Keys {
    type Class = KeyClass;
    type Candidate = Arc<KeyInfo>;
    type Limits = super::limits::KeyLimits;

    fn limits(&mut self) -> &mut Self::Limits {
        &mut self.limits
    }

    fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    fn counts_tokens(&self) -> bool {
        self.counts_tokens
    }

    fn shares(&self) -> BackgroundShares {
        self.shares
    }

    fn contains(&self, key: &Arc<KeyInfo>) -> bool {
        self.indexes.contains_key(&key.id)
    }

    fn reserve_for(
        &mut self,
        class: &KeyClass,
        waiting: Waiting,
        now: Instant,
    ) -> Result<KeyReservation, Forecast> {
        let model = self.limits.slot(class.model.as_ref(), now);
        let needs = (model, waiting.demand);
        let request = KeyRequest {
            demand: waiting.demand,
            pinned: class.pinned.clone(),
            ..KeyRequest::default()
        };
        if let Some(index) = class.preferred.and_then(|id| self.index(id)) {
            let until = waiting.since + AFFINITY_WAIT;
            match self.capacity(index, needs, now) {
                Capacity::Available(_) => {
                    return Ok(self.reserve_key(index, &request, model, now));
                }
                Capacity::Short { more_at, .. }
                | Capacity::Probing(more_at)
                | Capacity::Full(more_at)
                    if now < until =>
                {
                    return Err(Forecast {
                        free_at: Some(more_at.map_or(until, |at| at.min(until))),
                        ..Forecast::default()
                    });
                }
                _ => {}
            }
        }
        match self.choose(&request, model, now) {
            Ok(index) => Ok(self.reserve_key(index, &request, model, now)),
            Err(exhausted) => Err(exhausted.forecast()),
        }
    }
}

impl Inner<Keys> {
    /// Reserves the next key that has capacity, but not before the calls that wait.
    pub(crate) fn reserve_in_turn(
        &mut self,
        request: &KeyRequest,
        now: Instant,
    ) -> Result<KeyReservation, Exhausted> {
        let has_before = self.has_before(request.demand);
        let keys = &mut self.candidates;
        let model = keys.limits.slot(request.model.as_ref(), now);
        match keys.choose(request, model, now)? {
            index if !has_before => Ok(keys.reserve_key(index, request, model, now)),
            _ => Err(Exhausted::free_at(now)),
        }
    }
}
