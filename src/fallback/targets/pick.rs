//! Which target a call is sent to, or waits for. Pure.

use std::{borrow::Borrow, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{TargetId, TargetLimit, Targets};
use crate::quota::{
    Candidates, Capacity, Demand, Forecast, LimitState, LimitTable, ProviderTraits, Replicas,
    Reservation, SlowStart, Waiting, timing::MAX_COOLDOWN,
};

/// How long a call waits for a preferred target that is full, or that frees this soon.
const PREFERRED_WAIT: Duration = Duration::from_millis(250);

/// Which target to send to, by its number among those that were offered.
#[derive(Clone, Copy, Debug)]
pub(in crate::fallback) struct Pick {
    pub(in crate::fallback) number: usize,
    /// Where its limit is, if anything is known about it.
    slot: Option<usize>,
    /// What the call waits for, if it may. It is a preferred target that has capacity in a moment or after a
    /// response, or else the first target that frees.
    pub(in crate::fallback) wait: Option<Forecast>,
    /// Whether all targets are limited.
    pub(in crate::fallback) is_limited: bool,
}

// === impl Targets ===

impl Targets {
    /// Returns the best target for a call that has waited since `since`; `None` if no target is offered. If
    /// the call may wait, `end` is the end of that time.
    pub(in crate::fallback) fn pick<I: Borrow<TargetId>>(
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
        for (number, id) in ids.enumerate() {
            let slot = self.limits.find(id.borrow());
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
                    return Some(pick(Some(forecast(at)), false));
                }
                // The wait is too short to be worth another target.
                Capacity::Closed(at) if may_wait(at) && at <= now + PREFERRED_WAIT => {
                    return preferred(at);
                }
                Capacity::Short {
                    more_at,
                    less_may_go,
                } => {
                    let wait = Some(Forecast {
                        less_may_go,
                        ..forecast(more_at)
                    });
                    match more_at {
                        Some(at) if may_wait(at) && at <= now + PREFERRED_WAIT => {
                            return Some(pick(wait, false));
                        }
                        Some(at) => keep_first(&mut closed, at, pick(wait, true)),
                        // Only a response can tell.
                        None => busy = busy.or(Some(pick(wait, false))),
                    }
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
                Capacity::Closed(at) => {
                    keep_first(&mut closed, at, pick(Some(Forecast::at(at)), true));
                }
                Capacity::Unusable(at) => {
                    keep_first(&mut unusable, at, pick(Some(Forecast::NEVER), true));
                }
            }
        }
        let limited = closed.or(unusable).map(|(_, pick)| pick);
        busy.or(to_verify).or(limited)
    }

    fn capacity(&mut self, slot: Option<usize>, demand: Demand, now: Instant) -> Capacity {
        let demand = (demand, SlowStart::Quick);
        match slot.and_then(|slot| self.limits.get_mut(slot)) {
            Some(TargetLimit { limit, traits, .. }) => limit.capacity(traits, demand, now),
            None => LimitState::default().capacity(&mut ProviderTraits::default(), demand, now),
        }
    }

    /// Reserves the target that was picked.
    pub(in crate::fallback) fn reserve_pick(
        &mut self,
        (pick, demand): (Pick, Demand),
        id: impl FnOnce() -> TargetId,
        now: Instant,
    ) -> Reservation<usize, usize> {
        let slot = pick.slot;
        let slot = slot.unwrap_or_else(|| self.insert(&id(), now));
        LimitTable::reserve(self, slot, (pick.number, demand), now)
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

    fn replicas(&self) -> Replicas {
        self.replicas
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

/// Returns what a call may expect of a target that has more then, or after a response.
fn forecast(more_at: Option<Instant>) -> Forecast {
    more_at.map_or(Forecast::default(), Forecast::at)
}

/// Keeps a target if it frees before the one that is known.
fn keep_first(known: &mut Option<(Instant, Pick)>, at: Instant, pick: Pick) {
    if known.is_none_or(|(first, _)| at < first) {
        *known = Some((at, pick));
    }
}
