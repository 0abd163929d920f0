//! Reservations of keys: for a call in its turn, for one that waits, or whatever is known of the key. Pure.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    choice::{KeyClass, KeyRequest},
    exhausted::Exhausted,
    keys::{KeyInfo, KeyReservation, Keys, Order},
    limits::KeyLimits,
};
use crate::quota::{
    BackgroundShares, Candidates, Capacity, Forecast, Inner, LimitTable, Replicas, Waiting,
};

/// A call waits this long for the key of its session before it takes another.
const AFFINITY_WAIT: Duration = Duration::from_secs(1);

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

    /// Reserves the first key that is only busy. If no key is, reserves the key that frees first. Returns `None`
    /// if the call is pinned to a key that was removed.
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

    /// Reserves the key whose cooldown is only guessed and ends first. Returns `None` if no cooldown is guessed,
    /// or if a request already tests whether the guesses are too long.
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
}

impl Candidates for Keys {
    type Class = KeyClass;
    type Candidate = Arc<KeyInfo>;
    type Limits = KeyLimits;

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

    fn replicas(&self) -> Replicas {
        self.replicas
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
            let soon = |more_at: Option<Instant>, less_may_go| Forecast {
                free_at: Some(more_at.map_or(until, |at| at.min(until))),
                less_may_go,
                ..Forecast::default()
            };
            match self.capacity(index, needs, now) {
                Capacity::Available(_) => {
                    return Ok(self.reserve_key(index, &request, model, now));
                }
                Capacity::Short {
                    more_at,
                    less_may_go,
                } if now < until => return Err(soon(more_at, less_may_go)),
                Capacity::Probing(more_at) | Capacity::Full(more_at) if now < until => {
                    return Err(soon(more_at, false));
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
