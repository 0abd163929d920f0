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
    origin::Origin,
    quota::{
        BoundedMap, Candidates, Capacity, End, Evictable, Forecast, LimitState, LimitTable,
        Prospect, ProviderTraits, Reservation, Scheduler,
    },
    rejection::{Bucket, Rejection},
};

/// How long a call waits for a preferred target that is full, or that frees this soon.
const PREFERRED_WAIT: Duration = Duration::from_millis(250);

/// What is limited: a model at an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetId {
    pub(super) origin: Option<Origin>,
    /// One origin may stand before several providers.
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
    /// Those of a target with its own credentials, by its index in the list: names may be alike.
    Target(usize),
}

#[derive(Default)]
pub(super) struct Targets {
    pub(super) limits: TargetLimits,
    random: fastrand::Rng,
}

#[derive(Default)]
pub(super) struct TargetLimits(BoundedMap<TargetId, TargetLimit>);

#[derive(Default)]
struct TargetLimit {
    limit: LimitState,
    traits: ProviderTraits,
}

/// Which target to send to, by its number among those that were offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) number: usize,
    /// Where its limit is, if anything is known of it.
    slot: Option<usize>,
    /// Why the call should rather wait, if it may.
    pub(super) wait: Option<Wait>,
}

/// Why a target is not sent to at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The preferred target has capacity at that time or after a response: enough requests are out to find
    /// its limit, or it frees in a moment.
    Preferred(Option<Instant>),
    /// All targets are limited, and this is when the first frees; `None` if time alone frees none.
    Limited(Option<Instant>),
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) since: Instant,
    /// `None` if the call decides by itself what is too late.
    pub(super) end: Option<Instant>,
}

// === impl TargetId ===

impl Hash for TargetId {
    /// By what differs most: few targets share a model and an account.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.model.hash(state);
        self.account.hash(state);
    }
}

// === impl Pick ===

impl Pick {
    pub(super) fn is_limited(self) -> bool {
        matches!(self.wait, Some(Wait::Limited(_)))
    }
}

// === impl Wait ===

impl Wait {
    /// Returns whether a call waits that may wait until `end`.
    pub(super) fn is_before(self, end: Instant) -> bool {
        self.forecast().prospect.is_before(end)
    }

    fn forecast(self) -> Forecast {
        let (free_at, prospect) = match self {
            Self::Preferred(None) => (None, Prospect::AnyTime),
            Self::Limited(None) => (None, Prospect::Never),
            Self::Preferred(Some(at)) | Self::Limited(Some(at)) => (Some(at), Prospect::At(at)),
        };
        Forecast { free_at, prospect }
    }
}

// === impl Allowed ===

impl Allowed {
    fn reaches(self, at: Instant) -> bool {
        self.end.is_none_or(|end| at < end)
    }
}

// === impl Targets ===

impl Targets {
    /// Returns the best target for a call that may wait, or not; `None` if none is offered.
    pub(super) fn pick<I: Borrow<TargetId>>(
        &mut self,
        ids: impl Iterator<Item = I>,
        allowed: Option<Allowed>,
        now: Instant,
    ) -> Option<Pick> {
        let may_wait = |until| allowed.is_some_and(|allowed| allowed.reaches(until));
        let full_until = allowed.map_or(now, |allowed| allowed.since + PREFERRED_WAIT);
        let (mut full, mut to_verify) = (None, None);
        let mut closed: Option<(Instant, Pick)> = None;
        let mut unusable: Option<(Instant, Pick)> = None;
        for (number, id) in ids.enumerate() {
            let slot = self.limits.0.slot(id.borrow());
            let pick = |wait| Pick { number, slot, wait };
            match self.limits.capacity(slot, now) {
                Capacity::Available(_) => return Some(pick(None)),
                Capacity::Probing(at) => return Some(pick(Some(Wait::Preferred(at)))),
                // A fallback target is not worth it for a moment.
                Capacity::Closed(at) if may_wait(at) && at <= now + PREFERRED_WAIT => {
                    return Some(pick(Some(Wait::Preferred(Some(at)))));
                }
                Capacity::Full(_) if now < full_until && may_wait(full_until) => {
                    return Some(pick(Some(Wait::Preferred(Some(full_until)))));
                }
                Capacity::Full(_) => full = full.or(Some(pick(None))),
                Capacity::Verify(_) => to_verify = to_verify.or(Some(pick(None))),
                Capacity::Closed(at) if closed.is_none_or(|(first, _)| at < first) => {
                    closed = Some((at, pick(Some(Wait::Limited(Some(at))))));
                }
                Capacity::Unusable(at) if unusable.is_none_or(|(first, _)| at < first) => {
                    unusable = Some((at, pick(Some(Wait::Limited(None)))));
                }
                Capacity::Closed(_) | Capacity::Unusable(_) => {}
            }
        }
        let limited = closed.or(unusable).map(|(_, pick)| pick);
        full.or(to_verify).or(limited)
    }

    /// Reserves the target that was picked.
    pub(super) fn reserve(
        &mut self,
        pick: Pick,
        id: impl FnOnce() -> TargetId,
        now: Instant,
    ) -> Reservation<usize, usize> {
        let slot = pick.slot;
        let slot = slot.unwrap_or_else(|| self.limits.0.slot_or_insert(&id(), now));
        self.limits.reserve(slot, pick.number, now)
    }

    /// Reserves this target, whatever is known of it.
    pub(super) fn reserve_anyway(
        &mut self,
        id: &TargetId,
        now: Instant,
    ) -> Reservation<usize, usize> {
        let slot = self.limits.0.slot_or_insert(id, now);
        self.limits.reserve(slot, 0, now)
    }

    /// Returns when a target opens again and why it is closed; `None` if it is open.
    pub(super) fn end(&self, id: &TargetId, now: Instant) -> Option<End> {
        self.limits.end(self.limits.0.slot(id)?, now)
    }

    /// Returns whether any target of this origin is limited.
    pub(super) fn has_limited(&self, origin: Option<&Origin>, now: Instant) -> bool {
        let mut targets = self.limits.0.iter();
        targets.any(|(id, target)| id.origin.as_ref() == origin && target.frees_at(now).is_some())
    }

    pub(super) fn models(&self) -> impl Iterator<Item = &Option<Arc<str>>> {
        self.limits.0.iter().map(|(id, _)| &id.model)
    }

    pub(super) fn succeeded(&mut self, slot: usize, reports: &[Bucket], when: (Instant, Instant)) {
        if let Some(TargetLimit { limit, traits }) = self.limits.0.get_mut(slot) {
            limit.succeeded(traits, reports.iter(), when);
        }
    }

    pub(super) fn rejected(
        &mut self,
        slot: usize,
        rejection: &Rejection,
        reports: &[Bucket],
        when: (Instant, Instant),
        longest_guess: Duration,
    ) {
        if let Some(TargetLimit { limit, traits }) = self.limits.0.get_mut(slot) {
            limit.rejected(traits, rejection, reports, when, longest_guess);
        }
    }
}

impl Candidates for Targets {
    type Class = Arc<[TargetId]>;
    type Candidate = usize;
    type Limits = TargetLimits;

    fn limits(&mut self) -> &mut TargetLimits {
        &mut self.limits
    }

    fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    fn contains(&self, _: &usize) -> bool {
        true
    }

    fn reserve_for(
        &mut self,
        ids: &Arc<[TargetId]>,
        since: Instant,
        now: Instant,
    ) -> Result<Reservation<usize, usize>, Forecast> {
        let allowed = Allowed { since, end: None };
        let pick = self.pick(ids.iter(), Some(allowed), now);
        let pick = pick.ok_or(Wait::Limited(None).forecast())?;
        match pick.wait {
            Some(wait) => Err(wait.forecast()),
            None => Ok(self.reserve(pick, || ids[pick.number].clone(), now)),
        }
    }
}

// === impl TargetLimits ===

impl TargetLimits {
    fn capacity(&mut self, slot: Option<usize>, now: Instant) -> Capacity {
        match slot.and_then(|slot| self.0.get_mut(slot)) {
            Some(TargetLimit { limit, traits }) => limit.capacity(traits, true, now),
            None => LimitState::default().capacity(&ProviderTraits::default(), true, now),
        }
    }
}

impl LimitTable for TargetLimits {
    type Scope = usize;

    fn for_each(&self, slot: usize, mut visit: impl FnMut(&LimitState, &ProviderTraits)) {
        if let Some(TargetLimit { limit, traits }) = self.0.get(slot) {
            visit(limit, traits);
        }
    }

    fn for_each_mut(
        &mut self,
        slot: usize,
        mut visit: impl FnMut(&mut LimitState, &mut ProviderTraits),
    ) {
        if let Some(TargetLimit { limit, traits }) = self.0.get_mut(slot) {
            visit(limit, traits);
        }
    }
}

impl Evictable for TargetLimit {
    fn is_unused(&self) -> bool {
        self.limit.in_flight() == 0
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
            let reservation = targets.reserve_anyway(&target(number), at);
            let longest_guess = Duration::from_secs(60);
            targets.rejected(reservation.scope, &rejection, &[], (at, at), longest_guess);
            // The first is still in flight.
            if number > 0 {
                targets.limits.release(&reservation, false);
            }
        };
        for number in 0..MAX_ENTRIES + 10 {
            reject(number, now + Duration::from_millis(number as u64));
        }
        assert_eq!(targets.models().count(), MAX_ENTRIES);
        assert!(targets.end(&target(0), now).is_some(), "it is in flight");
        assert!(
            targets.end(&target(1), now).is_none(),
            "the one that frees first is evicted first"
        );
        assert!(targets.end(&target(MAX_ENTRIES + 9), now).is_some());
    }
}
