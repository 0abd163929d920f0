//! The limits of the targets, shared by all calls of a layer, and which target is chosen. Pure.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    quota::{
        BoundedMap, Candidates, Capacity, Demand, End, Evictable, Forecast, LimitState, LimitTable,
        ProviderTraits, Reservation, Scheduler, SlowStart, Waiting, may_limit_tokens,
        timing::MAX_COOLDOWN,
    },
    rejection::{Bucket, Rejection},
    request::{Cost, Origin},
};

/// How long a call waits for a preferred target that is full, or that frees this soon.
const PREFERRED_WAIT: Duration = Duration::from_millis(250);

/// What is limited: a model at an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetId {
    pub(super) origin: Option<Origin>,
    /// One origin may serve several providers, each under its own path.
    pub(super) base_path: String,
    pub(super) model: Option<Arc<str>>,
    pub(super) account: Account,
}

/// Whose limits they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// Those of every caller.
    Any,
    /// Those of a key that an outer layer has put on.
    Key(Arc<str>),
    /// Those of a target with its own credentials, by its index in the list, because names may be equal.
    Target(usize),
}

#[derive(Default)]
pub(super) struct Targets {
    limits: BoundedMap<TargetId, TargetLimit>,
    random: fastrand::Rng,
    /// Whether a limit may count tokens.
    counts_tokens: bool,
}

#[derive(Default)]
struct TargetLimit {
    limit: LimitState,
    traits: ProviderTraits,
}

/// Which target to send to, by its number among those that were offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) number: usize,
    /// Where its limit is, if anything is known about it.
    slot: Option<usize>,
    /// What the call waits for, if it may. It is a preferred target that has capacity in a moment or after a
    /// response, or else the first target that frees.
    pub(super) wait: Option<Forecast>,
    /// Whether all targets are limited.
    pub(super) is_limited: bool,
}

// === impl TargetId ===

impl Hash for TargetId {
    /// Hashes only the fields that differ most, because few targets share a model and an account.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.model.hash(state);
        self.account.hash(state);
    }
}

// === impl Targets ===

impl Targets {
    /// Returns the best target for a call that has waited since `since`; `None` if no target is offered. If
    /// the call may wait, `end` is the end of that time.
    pub(super) fn pick<I: Borrow<TargetId>>(
        &mut self,
        ids: impl Iterator<Item = I>,
        Waiting { since, demand }: Waiting,
        end: Option<Instant>,
        now: Instant,
    ) -> Option<Pick> {
        let may_wait = |until| end.is_some_and(|end| until < end);
        let full_until = since + PREFERRED_WAIT;
        let (mut busy, mut to_verify) = (None, None);
        let mut closed: Option<(Instant, Pick)> = None;
        let mut unusable: Option<(Instant, Pick)> = None;
        let is_first = |known: &Option<(Instant, Pick)>, at| known.is_none_or(|it| at < it.0);
        for (number, id) in ids.enumerate() {
            let slot = self.limits.slot(id.borrow());
            let pick = |wait, is_limited| Pick {
                number,
                slot,
                wait,
                is_limited,
            };
            let preferred = |at| Some(pick(Some(Forecast::at(at)), false));
            match self.capacity(slot, demand, now) {
                Capacity::Available(_) => return Some(pick(None, false)),
                Capacity::Probing(at) => {
                    let wait = at.map_or(Forecast::default(), Forecast::at);
                    return Some(pick(Some(wait), false));
                }
                // The wait is too short to be worth another target.
                Capacity::Closed(at) if may_wait(at) && at <= now + PREFERRED_WAIT => {
                    return preferred(at);
                }
                Capacity::Short {
                    more_at: Some(at),
                    less_may_go,
                } => {
                    let wait = Forecast {
                        less_may_go,
                        ..Forecast::at(at)
                    };
                    if may_wait(at) && at <= now + PREFERRED_WAIT {
                        return Some(pick(Some(wait), false));
                    }
                    if is_first(&closed, at) {
                        closed = Some((at, pick(Some(wait), true)));
                    }
                }
                // Only a response can tell.
                Capacity::Short { less_may_go, .. } => {
                    let wait = Forecast {
                        less_may_go,
                        ..Forecast::default()
                    };
                    busy = busy.or(Some(pick(Some(wait), false)));
                }
                Capacity::Full(at) if now < full_until && may_wait(full_until) => {
                    if at.is_none_or(|at| at <= full_until) {
                        return preferred(full_until);
                    }
                    // It has capacity again too late, so another target that has capacity comes first.
                    busy = busy.or(preferred(full_until));
                }
                Capacity::Full(_) => busy = busy.or(Some(pick(None, false))),
                Capacity::Verify(_) => to_verify = to_verify.or(Some(pick(None, false))),
                Capacity::Closed(at) if is_first(&closed, at) => {
                    closed = Some((at, pick(Some(Forecast::at(at)), true)));
                }
                Capacity::Unusable(at) if is_first(&unusable, at) => {
                    unusable = Some((at, pick(Some(Forecast::NEVER), true)));
                }
                Capacity::Closed(_) | Capacity::Unusable(_) => {}
            }
        }
        let limited = closed.or(unusable).map(|(_, pick)| pick);
        busy.or(to_verify).or(limited)
    }

    fn capacity(&mut self, slot: Option<usize>, demand: Demand, now: Instant) -> Capacity {
        let demand = (demand, SlowStart::Quick);
        match slot.and_then(|slot| self.limits.get_mut(slot)) {
            Some(TargetLimit { limit, traits }) => limit.capacity(traits, demand, now),
            None => LimitState::default().capacity(&mut ProviderTraits::default(), demand, now),
        }
    }

    /// Reserves the target that was picked.
    pub(super) fn reserve_pick(
        &mut self,
        (pick, demand): (Pick, Demand),
        id: impl FnOnce() -> TargetId,
        now: Instant,
    ) -> Reservation<usize, usize> {
        let slot = pick.slot;
        let slot = slot.unwrap_or_else(|| self.limits.slot_or_insert(&id(), now));
        LimitTable::reserve(self, slot, (pick.number, demand), now)
    }

    /// Reserves this target, whatever is known about it.
    pub(super) fn reserve_anyway(
        &mut self,
        id: &TargetId,
        demand: Demand,
        now: Instant,
    ) -> Reservation<usize, usize> {
        let slot = self.limits.slot_or_insert(id, now);
        LimitTable::reserve(self, slot, (0, demand), now)
    }

    /// Returns when a target opens again and why it is closed; `None` if it is open.
    pub(super) fn end_of(&self, id: &TargetId, now: Instant) -> Option<End> {
        self.end(self.limits.slot(id)?, now)
    }

    /// Returns whether any target of this origin is limited.
    pub(super) fn has_limited(&self, origin: Option<&Origin>, now: Instant) -> bool {
        let mut targets = self.limits.iter();
        targets.any(|(id, target)| id.origin.as_ref() == origin && target.frees_at(now).is_some())
    }

    pub(super) fn models(&self) -> impl Iterator<Item = &Option<Arc<str>>> {
        self.limits.iter().map(|(id, _)| &id.model)
    }

    pub(super) fn succeeded(
        &mut self,
        slot: usize,
        (cost, reports): (Cost, &[Bucket]),
        when: (Instant, Instant),
    ) {
        if let Some(TargetLimit { limit, traits }) = self.limits.get_mut(slot) {
            limit.succeeded(traits, (cost, reports.iter()), when);
        }
        self.counts_tokens |= may_limit_tokens(reports, None);
    }

    pub(super) fn rejected(
        &mut self,
        slot: usize,
        rejection: &Rejection,
        reports: (Cost, &[Bucket]),
        when: (Instant, Instant),
        longest_guess: Duration,
    ) {
        if let Some(TargetLimit { limit, traits }) = self.limits.get_mut(slot) {
            limit.rejected(traits, rejection, reports, when, longest_guess);
        }
        self.counts_tokens |= may_limit_tokens(reports.1, Some(rejection));
    }

    /// Records that an inner layer had no key for a target.
    pub(super) fn was_without_key(
        &mut self,
        slot: usize,
        rejection: &Rejection,
        when: (Instant, Instant),
        longest_guess: Duration,
    ) {
        if let Some(TargetLimit { limit, traits }) = self.limits.get_mut(slot) {
            limit.was_without(traits, rejection, when, longest_guess);
        }
    }
}

impl Candidates for Targets {
    type Class = Arc<[TargetId]>;
    type Candidate = usize;
    type Limits = Self;

    fn limits(&mut self) -> &mut Self {
        self
    }

    fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    fn counts_tokens(&self) -> bool {
        self.counts_tokens
    }

    fn contains(&self, _: &usize) -> bool {
        true
    }

    fn reserve_for(
        &mut self,
        ids: &Arc<[TargetId]>,
        waiting: Waiting,
        now: Instant,
    ) -> Result<Reservation<usize, usize>, Forecast> {
        // No limit lasts longer. Each waiter decides by itself when to stop waiting.
        let end = Some(now + 2 * MAX_COOLDOWN);
        let pick = self.pick(ids.iter(), waiting, end, now);
        match pick.ok_or(Forecast::NEVER)? {
            Pick {
                wait: Some(forecast),
                ..
            } => Err(forecast),
            pick => {
                let id = || ids[pick.number].clone();
                Ok(self.reserve_pick((pick, waiting.demand), id, now))
            }
        }
    }
}

impl LimitTable for Targets {
    type Scope = usize;

    fn limits(&self, slot: usize) -> impl Iterator<Item = (&LimitState, &ProviderTraits)> {
        let target = self.limits.get(slot).into_iter();
        target.map(|target| (&target.limit, &target.traits))
    }

    fn limits_mut(
        &mut self,
        slot: usize,
    ) -> impl Iterator<Item = (&mut LimitState, &mut ProviderTraits)> {
        let target = self.limits.get_mut(slot).into_iter();
        target.map(|target| (&mut target.limit, &mut target.traits))
    }
}

impl Evictable for TargetLimit {
    fn is_unused(&self) -> bool {
        self.limit.in_use() == 0
    }

    fn frees_at(&self, now: Instant) -> Option<Instant> {
        self.limit.end(&self.traits, now).map(|end| end.at)
    }
}

impl fmt::Debug for Scheduler<Targets> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The paths of targets may hold secrets.
        self.with(|inner| f.debug_list().entries(inner.candidates.models()).finish())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::{quota::MAX_ENTRIES, rejection::Reason};

    #[test]
    fn targets_are_bounded_though_each_is_limited() {
        let (mut targets, now) = (Targets::default(), Instant::now());
        let target = |number: usize| TargetId {
            origin: None,
            base_path: String::new(),
            model: Some(number.to_string().into()),
            account: Account::Any,
        };
        let rejection = Rejection {
            retry_after: Some(Duration::from_secs(60)),
            ..Rejection::new(Reason::RateLimited)
        };
        let mut reject = |number: usize, at| {
            let reservation = targets.reserve_anyway(&target(number), Demand::default(), at);
            let longest_guess = Duration::from_secs(60);
            let reports = (Cost::default(), &[][..]);
            targets.rejected(
                reservation.scope,
                &rejection,
                reports,
                (at, at),
                longest_guess,
            );
            // The first is still in flight.
            if number > 0 {
                targets.release(&reservation, None);
            }
        };
        for number in 0..MAX_ENTRIES + 10 {
            reject(number, now + Duration::from_millis(number as u64));
        }
        assert_eq!(targets.models().count(), MAX_ENTRIES);
        assert!(targets.end_of(&target(0), now).is_some(), "it is in flight");
        assert!(
            targets.end_of(&target(1), now).is_none(),
            "the one that frees first is evicted first"
        );
        assert!(targets.end_of(&target(MAX_ENTRIES + 9), now).is_some());
    }
}
