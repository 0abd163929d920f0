//! The limits that one request runs on, whatever it is that is limited. Pure.

use std::{collections::HashMap, hash::Hash};

use tokio::time::Instant;

use super::{
    demand::Demand,
    hash::IdState,
    limit::{Capacity, End, LimitState, ProviderTraits, SlowStart},
    reservation::Reservation,
};

/// All limits of a scheduler. A request runs on several at once, which its scope names.
pub(crate) trait LimitTable {
    type Scope: Copy;

    /// Returns the limits of a scope.
    fn limits(&self, scope: Self::Scope) -> impl Iterator<Item = (&LimitState, &ProviderTraits)>;

    /// As [`limits`](Self::limits), to change them.
    fn limits_mut(
        &mut self,
        scope: Self::Scope,
    ) -> impl Iterator<Item = (&mut LimitState, &mut ProviderTraits)>;

    /// Creates the limits of a scope that a request is counted on from the start.
    fn prepare(&mut self, _scope: Self::Scope) {}

    /// Returns whether limits were created since the last call. Nothing is leased of these yet.
    fn take_new(&mut self) -> bool {
        false
    }

    /// Notes that a place was released on the limits of a scope.
    fn released(&mut self, _scope: Self::Scope) {}

    /// Counts a response whose body is open.
    fn open_body(&mut self, scope: Self::Scope) {
        self.limits_mut(scope)
            .for_each(|(limit, _)| limit.open_body());
    }

    /// That body has ended, or was dropped.
    fn close_body(&mut self, scope: Self::Scope) {
        self.limits_mut(scope)
            .for_each(|(limit, _)| limit.close_body());
    }

    /// Returns when the scope opens again and why it is closed; `None` if it is open.
    fn end(&self, scope: Self::Scope, now: Instant) -> Option<End> {
        let limits = self.limits(scope);
        let ends = limits.filter_map(|(limit, traits)| limit.end(traits, now));
        ends.reduce(End::later)
    }

    /// Returns the last hint that has ended.
    fn ended_hint(&self, scope: Self::Scope, now: Instant) -> Option<Instant> {
        let limits = self.limits(scope);
        let hints = limits.flat_map(|(limit, traits)| limit.hints(traits, now));
        hints.filter(|end| *end <= now).max()
    }

    /// Returns whether a rejection that came since `moment` forbids to send now.
    fn was_rejected_since(&self, scope: Self::Scope, moment: Instant, now: Instant) -> bool {
        let mut limits = self.limits(scope);
        limits.any(|(limit, _)| limit.was_rejected_since(moment, now))
    }

    /// Returns whether a request may test now if the guesses that close the scope are too long.
    fn allows_early_probe(&self, scope: Self::Scope, now: Instant) -> bool {
        let mut limits = self.limits(scope);
        limits.all(|(limit, traits)| limit.allows_early_probe(traits, now))
    }

    /// Reserves a place on all limits of the scope.
    fn reserve<I>(
        &mut self,
        scope: Self::Scope,
        (candidate, demand): (I, Demand),
        now: Instant,
    ) -> Reservation<I, Self::Scope> {
        self.prepare(scope);
        for (limit, traits) in self.limits_mut(scope) {
            limit.reserve(traits, demand.cost(), now);
        }
        Reservation {
            candidate,
            scope,
            demand,
            reserved: now,
            counted: None,
            sent: now,
            is_early_probe: false,
        }
    }

    /// Notes that the request of a reservation is sent now.
    fn mark_sent<I>(&mut self, reservation: &mut Reservation<I, Self::Scope>, now: Instant) {
        (reservation.counted, reservation.sent) = (Some(now), now);
        for (limit, traits) in self.limits_mut(reservation.scope) {
            limit.mark_sent(traits, reservation.demand, now);
        }
    }

    /// Notes that the request tests if a guess is too long.
    fn mark_early_probe<I>(&mut self, reservation: &mut Reservation<I, Self::Scope>) {
        reservation.is_early_probe = true;
        for (limit, _) in self.limits_mut(reservation.scope) {
            limit.begin_early_probe();
        }
    }

    /// Releases a place; `abandoned_at` if the request was sent and its response is not seen.
    fn release<I>(
        &mut self,
        reservation: &Reservation<I, Self::Scope>,
        abandoned_at: Option<Instant>,
    ) {
        for (limit, traits) in self.limits_mut(reservation.scope) {
            if let Some(now) = abandoned_at {
                limit.abandon(traits, reservation.cost(), (reservation.sent, now));
            }
            limit.release(traits, reservation.cost(), reservation.counted);
            if reservation.is_early_probe {
                limit.end_early_probe();
            }
        }
        self.released(reservation.scope);
    }
}

/// Limits of one kind: what the provider's responses show of one is expected of the others.
#[derive(Clone, Debug)]
pub(crate) struct LimitMap<K> {
    traits: ProviderTraits,
    limits: HashMap<K, LimitState, IdState>,
}

// === impl LimitMap ===

impl<K: Copy + Eq + Hash> LimitMap<K> {
    pub(crate) fn get(&self, id: K) -> Option<(&LimitState, &ProviderTraits)> {
        Some((self.limits.get(&id)?, &self.traits))
    }

    pub(crate) fn get_mut(&mut self, id: K) -> Option<(&mut LimitState, &mut ProviderTraits)> {
        Some((self.limits.get_mut(&id)?, &mut self.traits))
    }

    /// As [`get_mut`](Self::get_mut), but adds a limit that is missing.
    pub(crate) fn get_or_insert(&mut self, id: K) -> (&mut LimitState, &mut ProviderTraits) {
        (self.limits.entry(id).or_default(), &mut self.traits)
    }

    /// Returns the capacity of a limit. If the limit is not known, `slow_start` decides.
    pub(crate) fn capacity(
        &mut self,
        id: K,
        (demand, slow_start): (Demand, SlowStart),
        now: Instant,
    ) -> Capacity {
        if slow_start == SlowStart::Off && !self.traits.is_limited() {
            // The limits are not looked up, because a pool may have a thousand keys.
            return Capacity::UNLIMITED;
        }
        match self.limits.get_mut(&id) {
            Some(limit) => limit.capacity(&mut self.traits, (demand, slow_start), now),
            #[cfg(feature = "share")]
            None if demand.is_leased() => {
                // The next exchange shares it.
                let limit = self.limits.entry(id).or_default();
                limit.capacity(&mut self.traits, (demand, slow_start), now)
            }
            None => LimitState::default().capacity(&mut self.traits, (demand, slow_start), now),
        }
    }

    /// Returns when the last of its limits opens.
    pub(crate) fn frees_at(&self, now: Instant) -> Option<Instant> {
        let limits = self.limits.values();
        let ends = limits.filter_map(|limit| limit.end(&self.traits, now));
        ends.map(|end| end.at).max()
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.limits.values().all(|limit| limit.in_use() == 0)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(K) -> bool) {
        self.limits.retain(|id, _| keep(*id));
    }
}

impl<K> Default for LimitMap<K> {
    fn default() -> Self {
        Self {
            traits: ProviderTraits::default(),
            limits: HashMap::default(),
        }
    }
}

#[cfg(test)]
impl<K> LimitMap<K> {
    pub(crate) fn len(&self) -> usize {
        self.limits.len()
    }

    /// Returns how many requests are counted as out by each limit.
    pub(crate) fn out(&self) -> impl Iterator<Item = u64> {
        self.limits.values().map(LimitState::out)
    }
}
