//! Chooses the target of a request, or lets the request wait for one.

use std::sync::Arc;

use tokio::time::Instant;

use super::state::{Choice, FallbackStrategy, Next, TargetStage};
use crate::{
    call::CallState,
    clock::after,
    fallback::{
        original::OriginalRequest,
        targets::{Pick, TargetId, Targets},
    },
    quota::{Demand, End, LimitTable, QueuePlace, Reservation, Waiting},
};

/// The result of a look at the targets.
enum Chosen {
    Wait,
    /// The body must be checked before it is changed. No lock is held meanwhile, because the body may be
    /// long.
    Unverified,
    /// The request is sent to this target once the inner service is ready.
    Later,
    Send(Choice, Reservation<usize, usize>),
}

// === impl FallbackStrategy ===

impl<P> FallbackStrategy<P> {
    /// Returns the choices that this request has, in order of preference.
    fn choices<'a>(&'a self, original: &'a OriginalRequest) -> impl Iterator<Item = Choice> + 'a {
        let targets = self.policy.targets.iter().enumerate();
        let differ = targets.filter(|(_, target)| original.accepts(target));
        let targets = differ.map(|(index, _)| Choice::Target(index));
        [Choice::Original].into_iter().chain(targets)
    }

    fn untried<'a>(&'a self, original: &'a OriginalRequest) -> impl Iterator<Item = Choice> + 'a {
        let choices = self.choices(original);
        choices.filter(|choice| !self.tried.contains(choice))
    }

    pub(super) fn target_id(&self, original: &OriginalRequest, choice: Choice) -> TargetId {
        match choice {
            Choice::Original => original.id(),
            Choice::Target(index) => original.id_of(index, &self.policy.targets[index]),
        }
    }

    fn pick(
        &self,
        original: &OriginalRequest,
        targets: &mut Targets,
        end: Option<Instant>,
        now: Instant,
    ) -> Option<Pick> {
        let choices = self.untried(original);
        let ids = choices.map(|choice| self.target_id(original, choice));
        let waiting = Waiting {
            since: now,
            demand: self.demand(),
        };
        targets.pick(ids, waiting, end, now)
    }

    pub(super) fn demand(&self) -> Demand {
        let original = self.original.as_ref();
        original.map_or(Demand::default(), |original| original.demand)
    }

    /// Returns the end of the time that this call may wait; `None` if it may not wait.
    pub(super) fn max_wait(&mut self, call: &CallState, now: Instant) -> Option<Instant> {
        let end = after(now, self.policy.max_wait?);
        let end = self.waits.end(end, call.left(now).ok()?, now);
        Some(end).filter(|end| now < *end)
    }

    pub(super) fn verify_model(&mut self) {
        let original = self.original.as_mut();
        if let Some(model) = original.and_then(|original| original.model.as_mut()) {
            model.verify();
        }
    }

    /// Chooses a target, and reserves it if the request is sent now. Instead it enters the queue if the call
    /// has to wait and may wait until `end`.
    pub(super) fn choose(
        &mut self,
        end: Option<Instant>,
        precise_demand: impl Fn() -> Demand,
        is_ready: bool,
        now: Instant,
    ) {
        loop {
            let Some(original) = &self.original else {
                self.stage = TargetStage::Sent(None);
                return;
            };
            if original.model.is_none() {
                // Nothing is recorded about an unknown model, because it cannot be distinguished from others.
                let first = self.untried(original).next();
                self.chosen = first.unwrap_or(self.chosen);
                self.stage = TargetStage::Sent(None);
                return;
            }
            let scheduler = &self.policy.scheduler;
            let chosen = scheduler
                .with(|inner| self.look(original, &mut inner.candidates, end, is_ready, now));
            match chosen {
                Chosen::Later => return,
                Chosen::Unverified => self.verify_model(),
                Chosen::Wait if original.is_unverified() => self.verify_model(),
                Chosen::Wait if original.demand.is_rough() => {
                    let original = self.original.as_mut();
                    original
                        .into_iter()
                        .for_each(|it| it.demand = precise_demand());
                }
                Chosen::Wait => {
                    let choices: Vec<_> = self.untried(original).collect();
                    let ids = choices
                        .iter()
                        .map(|choice| self.target_id(original, *choice));
                    let ids: Arc<[_]> = ids.collect();
                    let place = match self.waits.has_waited() {
                        true => QueuePlace::Again,
                        false => QueuePlace::New,
                    };
                    let waiter = scheduler.enqueue((place, self.demand()), now, |_| ids);
                    self.stage = TargetStage::Waiting(choices, waiter);
                    return;
                }
                Chosen::Send(choice, reservation) => {
                    self.stage = TargetStage::Sent(Some(scheduler.sendable(reservation)));
                    self.chosen = choice;
                    return;
                }
            }
        }
    }

    fn look(
        &self,
        original: &OriginalRequest,
        targets: &mut Targets,
        end: Option<Instant>,
        is_ready: bool,
        now: Instant,
    ) -> Chosen {
        let pick = self.pick(original, targets, end, now);
        let wait = pick.and_then(|pick| pick.wait);
        if wait.is_some_and(|wait| end.is_some_and(|end| wait.prospect.is_before(end))) {
            return Chosen::Wait;
        }
        let choice = pick.and_then(|pick| self.untried(original).nth(pick.number));
        let choice = choice.unwrap_or(self.chosen);
        if let Choice::Target(index) = choice {
            if !original.is_verified_for(&self.policy.targets[index]) {
                return Chosen::Unverified;
            }
        }
        if !is_ready {
            return Chosen::Later;
        }
        let id = || self.target_id(original, choice);
        let mut reservation = match pick {
            Some(pick) => targets.reserve_pick((pick, self.demand()), id, now),
            None => targets.reserve_anyway(&id(), self.demand(), now),
        };
        targets.mark_sent(&mut reservation, now);
        Chosen::Send(choice, reservation)
    }

    /// Returns what is next for a call that may wait until `end`, if at all.
    pub(super) fn next_target(
        &self,
        targets: &mut Targets,
        end: Option<Instant>,
        now: Instant,
    ) -> Next {
        let Some(original) = &self.original else {
            return Next::Limited(None);
        };
        match self.pick(original, targets, end, now) {
            Some(pick) if !pick.is_limited => Next::Target,
            _ => {
                let choices = self.choices(original);
                let ends =
                    choices.map(|choice| targets.end_of(&self.target_id(original, choice), now));
                Next::Limited(
                    ends.min_by_key(|end| end.as_ref().map(End::order))
                        .flatten(),
                )
            }
        }
    }
}
