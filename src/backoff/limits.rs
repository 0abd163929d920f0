//! The limits of the callers' own credentials, shared by all calls of a layer. Pure.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    call::Head,
    quota::{
        BoundedMap, Candidates, Capacity, Demand, Evictable, Forecast, Inner, LimitState,
        LimitTable, ProviderTraits, Reservation, SlowStart, Waiting, may_limit_tokens,
        timing::doublings,
    },
    rejection::{Bucket, Rejection},
    request::{Cost, credentials},
};

/// The number of requests that may be in flight at first to an unknown limit.
///
/// Few calls ever wait for that, because the number doubles every quarter of a second. If a thousand calls
/// start together, a limit of a few requests per second rejects no more than this number at first.
const FIRST_BURST: u64 = 16;

/// What is limited, as a hash: a model at an origin for some credentials.
///
/// The hash is keyed, so that it cannot be used to test guesses of an API key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LimitId(u64);

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum WaitsFor {
    /// Its turn on a limit.
    Turn(LimitId),
    /// The end of a delay of its own. Other calls see that it waits, but the line does not serve it.
    OwnDelay(LimitId),
}

/// Makes the ids of one layer.
#[derive(Clone, Default)]
pub(super) struct LimitIds(RandomState);

#[derive(Default)]
pub(super) struct CredentialLimits {
    limits: BoundedMap<LimitId, CredentialLimit>,
    random: fastrand::Rng,
    /// Whether a limit may count tokens.
    counts_tokens: bool,
}

#[derive(Default)]
struct CredentialLimit {
    state: LimitState,
    traits: ProviderTraits,
    was_rejected: bool,
    /// When the first request was sent.
    opened: Option<Instant>,
    /// Whether a request has passed since the last rejection.
    has_passed: bool,
    /// The end of the provider's last hint.
    hint: Option<Instant>,
}

pub(super) type LimitReservation = Reservation<(), usize>;

// === impl LimitIds ===

impl LimitIds {
    pub(super) fn id(&self, head: &Head, model: Option<&str>) -> LimitId {
        let Self(state) = self;
        let credentials = credentials::hash(&head.uri, &head.headers, state);
        LimitId(state.hash_one((&head.origin, credentials, model)))
    }
}

// === impl CredentialLimits ===

impl CredentialLimits {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            ..Self::default()
        }
    }

    /// Reserves a place, whatever is known about the limit.
    pub(super) fn reserve_anyway(
        &mut self,
        id: LimitId,
        demand: Demand,
        now: Instant,
    ) -> LimitReservation {
        let slot = self.limits.slot_or_insert(&id, now);
        self.reserve(slot, ((), demand), now)
    }

    /// Returns what a limit lets through.
    fn capacity(&mut self, slot: usize, demand: Demand, now: Instant) -> Result<(), Forecast> {
        let limit = self.limits.get_mut(slot);
        let capacity = limit.map_or(Capacity::UNLIMITED, |limit| limit.capacity(demand, now));
        match capacity {
            Capacity::Available(_) | Capacity::Verify(_) => Ok(()),
            Capacity::Short {
                more_at,
                less_may_go,
            } => Err(Forecast {
                free_at: more_at,
                less_may_go,
                ..Forecast::default()
            }),
            Capacity::Probing(at) | Capacity::Full(at) => Err(Forecast {
                free_at: at,
                ..Forecast::default()
            }),
            Capacity::Closed(at) => Err(Forecast::at(at)),
            Capacity::Unusable(_) => Err(Forecast::NEVER),
        }
    }

    fn in_use(&self, slot: usize) -> u64 {
        let limit = self.limits.get(slot);
        limit.map_or(0, |limit| limit.state.in_use())
    }

    /// Returns whether nothing has passed since the last rejection, and only one request is out.
    pub(super) fn is_probed(&self, slot: usize) -> bool {
        self.limits.get(slot).is_some_and(|limit| {
            limit.was_rejected && !limit.has_passed && limit.state.in_flight() <= 1
        })
    }

    fn is_hinted(&self, slot: usize, now: Instant) -> bool {
        let limit = self.limits.get(slot);
        limit.is_some_and(|limit| limit.hint.is_some_and(|end| now < end))
    }

    pub(super) fn succeeded(
        &mut self,
        slot: usize,
        (cost, reports): (Cost, &[Bucket]),
        when: (Instant, Instant),
    ) {
        self.counts_tokens |= may_limit_tokens(reports, None);
        if let Some(limit) = self.limits.get_mut(slot) {
            limit.has_passed = true;
            let CredentialLimit { state, traits, .. } = limit;
            state.succeeded(traits, (cost, reports.iter()), when);
        }
    }

    pub(super) fn rejected(
        &mut self,
        slot: usize,
        rejection: &Rejection,
        reports: (Cost, &[Bucket]),
        when: (Instant, Instant),
        longest_guess: Duration,
    ) {
        self.counts_tokens |= may_limit_tokens(reports.1, Some(rejection));
        if let Some(limit) = self.limits.get_mut(slot) {
            limit.has_passed = false;
            let CredentialLimit { state, traits, .. } = limit;
            state.rejected(traits, rejection, reports, when, longest_guess);
            let hint = rejection
                .retry_after
                .and_then(|hint| when.1.checked_add(hint));
            limit.hint = limit.hint.max(hint);
            limit.was_rejected = true;
        }
    }
}

// === impl CredentialLimit ===

impl CredentialLimit {
    fn capacity(&mut self, demand: Demand, now: Instant) -> Capacity {
        let opened = *self.opened.get_or_insert(now);
        let Self { state, traits, .. } = self;
        let slow_start = match self.was_rejected {
            true => SlowStart::Careful,
            false => SlowStart::Off,
        };
        match state.capacity(traits, (demand, slow_start), now) {
            // Nothing is known.
            Capacity::UNLIMITED => {
                let (doublings, more_at) = doublings(opened, now);
                match (FIRST_BURST << doublings).saturating_sub(state.in_flight()) {
                    0 => Capacity::Probing(Some(more_at)),
                    more => Capacity::Available(more),
                }
            }
            capacity => capacity,
        }
    }
}

/// Reserves a place for a call that can be sent now, or returns the forecast for a wait.
///
/// A call that is alone on the limit is held only by a hint. A guess does not hold it.
pub(super) fn reserve_in_turn(
    inner: &mut Inner<CredentialLimits>,
    id: LimitId,
    demand: Demand,
    now: Instant,
) -> Result<LimitReservation, Forecast> {
    let in_line = |is_background| inner.waiting(&WaitsFor::Turn(id), is_background);
    let before = match demand.is_background() {
        true => in_line(false) + in_line(true),
        false => in_line(false),
    };
    let all = count_waiting(inner, id);
    let limits = &mut inner.candidates;
    let slot = limits.limits.slot_or_insert(&id, now);
    let is_alone = all == 0 && limits.in_use(slot) == 0;
    if !is_alone || limits.is_hinted(slot, now) {
        limits.capacity(slot, demand, now)?;
        if before > 0 {
            return Err(Forecast::default());
        }
    }
    Ok(limits.reserve(slot, ((), demand), now))
}

/// Returns how many calls have a place on a limit or wait for one.
pub(super) fn count_present(inner: &Inner<CredentialLimits>, id: LimitId) -> u64 {
    let limits = &inner.candidates;
    let in_use = limits
        .limits
        .slot(&id)
        .map_or(0, |slot| limits.in_use(slot));
    let waiting = u64::try_from(count_waiting(inner, id)).unwrap_or(u64::MAX);
    in_use.saturating_add(waiting)
}

/// Returns how many calls wait for their turn or for the end of a delay of their own.
fn count_waiting(inner: &Inner<CredentialLimits>, id: LimitId) -> usize {
    let classes = [WaitsFor::Turn(id), WaitsFor::OwnDelay(id)];
    let waiting = classes.map(|class| inner.waiting(&class, false) + inner.waiting(&class, true));
    waiting.into_iter().sum()
}

impl Candidates for CredentialLimits {
    type Class = WaitsFor;
    type Candidate = ();
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

    fn contains(&self, (): &()) -> bool {
        true
    }

    fn reserve_for(
        &mut self,
        class: &WaitsFor,
        Waiting { demand, .. }: Waiting,
        now: Instant,
    ) -> Result<LimitReservation, Forecast> {
        let WaitsFor::Turn(id) = *class else {
            return Err(Forecast::default());
        };
        let slot = self.limits.slot_or_insert(&id, now);
        self.capacity(slot, demand, now)?;
        Ok(self.reserve(slot, ((), demand), now))
    }
}

impl LimitTable for CredentialLimits {
    type Scope = usize;

    fn limits(&self, slot: usize) -> impl Iterator<Item = (&LimitState, &ProviderTraits)> {
        let limit = self.limits.get(slot).into_iter();
        limit.map(|limit| (&limit.state, &limit.traits))
    }

    fn limits_mut(
        &mut self,
        slot: usize,
    ) -> impl Iterator<Item = (&mut LimitState, &mut ProviderTraits)> {
        let limit = self.limits.get_mut(slot).into_iter();
        limit.map(|limit| (&mut limit.state, &mut limit.traits))
    }
}

impl Evictable for CredentialLimit {
    fn is_unused(&self) -> bool {
        self.state.in_use() == 0
    }

    fn frees_at(&self, now: Instant) -> Option<Instant> {
        self.state.end(&self.traits, now).map(|end| end.at)
    }
}

#[cfg(test)]
mod tests;
