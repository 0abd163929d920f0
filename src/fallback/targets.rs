//! The limits of the targets, shared by all calls of a layer. Pure.
//!
//! [`id`] says what is limited, and [`pick`] which target is chosen.

mod id;
mod pick;
#[cfg(feature = "share")]
mod sharing;

use std::{fmt, mem, sync::Arc, time::Duration};

use tokio::time::Instant;

#[cfg(feature = "share")]
use crate::share::Id;
use crate::{
    quota::{
        BoundedMap, Demand, End, Evictable, LimitState, LimitTable, ProviderTraits, Replicas,
        Reservation, Scheduler, may_limit_tokens,
    },
    rejection::{Bucket, Rejection},
    request::{Cost, Origin},
};
pub(super) use id::{Account, TargetId};
pub(super) use pick::Pick;
#[cfg(feature = "share")]
pub(super) use sharing::TargetSharing;

#[derive(Default)]
pub(super) struct Targets {
    limits: BoundedMap<TargetId, TargetLimit>,
    random: fastrand::Rng,
    /// Whether a limit may count tokens.
    counts_tokens: bool,
    /// How many processes send to the targets.
    replicas: Replicas,
    /// Whether targets were added that are not shared yet.
    has_new: bool,
    #[cfg(feature = "share")]
    sharing: Option<TargetSharing>,
}

#[derive(Default)]
struct TargetLimit {
    limit: LimitState,
    traits: ProviderTraits,
    #[cfg(feature = "share")]
    share_id: Option<Id>,
}

// === impl Targets ===

impl Targets {
    /// Returns the same targets without their limits.
    pub(super) fn unused(&self) -> Self {
        Self {
            replicas: self.replicas,
            #[cfg(feature = "share")]
            sharing: self.sharing.clone(),
            ..Self::default()
        }
    }

    /// Sets how many processes send to them.
    pub(super) fn among(self, replicas: Replicas) -> Self {
        Self { replicas, ..self }
    }

    pub(super) fn into_scheduler(self) -> Scheduler<Self> {
        #[cfg(feature = "share")]
        if let Some(share) = self.share() {
            return Scheduler::sharing(self, share);
        }
        Scheduler::new(self)
    }

    /// Reserves this target, whatever is known about it.
    pub(super) fn reserve_anyway(
        &mut self,
        id: &TargetId,
        demand: Demand,
        now: Instant,
    ) -> Reservation<usize, usize> {
        let slot = self.limits.find(id);
        let slot = slot.unwrap_or_else(|| self.insert(id, now));
        LimitTable::reserve(self, slot, (0, demand), now)
    }

    fn insert(&mut self, id: &TargetId, now: Instant) -> usize {
        self.has_new = true;
        self.limits.slot_or_insert(id, now)
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
        if let Some(TargetLimit { limit, traits, .. }) = self.limits.get_mut(slot) {
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
        if let Some(TargetLimit { limit, traits, .. }) = self.limits.get_mut(slot) {
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
        if let Some(TargetLimit { limit, traits, .. }) = self.limits.get_mut(slot) {
            limit.was_without(traits, rejection, when, longest_guess);
        }
    }
}

impl LimitTable for Targets {
    type Scope = usize;

    fn take_new(&mut self) -> bool {
        mem::take(&mut self.has_new)
    }

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
