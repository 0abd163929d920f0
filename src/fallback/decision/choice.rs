//! Whom to ask now, and when to look again if nobody is worth it.

use std::{task::Waker, time::Duration};

use tokio::time::Instant;

use super::Decision;
use crate::{
    allowance::Room,
    attempt::after,
    call::Call,
    fallback::{memory::TargetId, own::Own},
    refusal::Refusal,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Own,
    /// The target at this place of the list.
    Target(usize),
}

/// While an answer is awaited that tells how much a target takes.
const AWHILE: Duration = Duration::from_millis(250);

/// The least time until a call that waits looks again.
const TICK: Duration = Duration::from_millis(1);

/// A preferred target that may free this soon is waited for, by a call that may wait.
const SOON: Duration = Duration::from_millis(250);

/// What to ask next.
pub(super) enum Pick {
    Ask(Choice),
    /// This one, better at that time or after an answer: enough are out to find out how much it takes,
    /// or it frees in a moment.
    Hold(Choice, Option<Instant>),
    /// All are limited; this one frees first, then.
    Limited(Choice, Instant),
    Nothing,
}

impl<P> Decision<P> {
    /// The choices that this request has, in order of preference.
    pub(super) fn choices<'a>(&'a self, own: &'a Own) -> impl Iterator<Item = Choice> + 'a {
        let targets = self.policy.targets.iter().enumerate();
        let differ = targets.filter(|(_, target)| own.may_become(target));
        [Choice::Own]
            .into_iter()
            .chain(differ.map(|(index, _)| Choice::Target(index)))
    }

    pub(super) fn id(&self, own: &Own, choice: Choice) -> TargetId {
        match choice {
            Choice::Own => own.id(),
            Choice::Target(index) => own.id_of(&self.policy.targets[index]),
        }
    }

    pub(super) fn end(
        &self,
        own: &Own,
        choice: Choice,
        now: Instant,
    ) -> Option<(Instant, Refusal)> {
        self.policy.memory.end(&self.id(own, choice), now)
    }

    /// What to ask next of what was not tried.
    pub(super) fn pick(&self, own: &Own, now: Instant) -> Pick {
        let mut full = None;
        let mut testable = None;
        let mut closed: Option<(Instant, Choice)> = None;
        for choice in self
            .choices(own)
            .filter(|choice| !self.tried.contains(choice))
        {
            match self.policy.memory.room(&self.id(own, choice), now) {
                Room::Open(_) => return Pick::Ask(choice),
                Room::Learning(at) => return Pick::Hold(choice, at),
                // A lesser target is not worth it for a moment.
                Room::Closed(until) if self.may_wait() && until <= now + SOON => {
                    return Pick::Hold(choice, Some(until));
                }
                Room::Full(_) if self.may_wait() && now < self.held_until(now) => {
                    return Pick::Hold(choice, Some(self.held_until(now)));
                }
                Room::Full(_) => full = full.or(Some(choice)),
                Room::Testable(_) => testable = testable.or(Some(choice)),
                Room::Closed(until) if closed.is_none_or(|(first, _)| until < first) => {
                    closed = Some((until, choice));
                }
                Room::Closed(_) => {}
            }
        }
        match (full.or(testable), closed) {
            (Some(choice), _) => Pick::Ask(choice),
            (None, Some((until, choice))) => Pick::Limited(choice, until),
            (None, None) => Pick::Nothing,
        }
    }

    /// Until when the call waits for answers that may leave room at a preferred target.
    pub(super) fn held_until(&self, now: Instant) -> Instant {
        self.held.unwrap_or(now) + SOON
    }

    pub(super) fn may_wait(&self) -> bool {
        self.policy.patience.is_some()
    }

    /// Until when this call may wait from now on, if it may.
    pub(super) fn patience(&mut self, call: &Call, now: Instant) -> Option<Instant> {
        let end = after(now, self.policy.patience?);
        let end = *self.patience.get_or_insert(end);
        let left = call.left(now).ok()?;
        Some(left.map_or(end, |left| end.min(now + left))).filter(|end| now < *end)
    }

    /// Chooses whom to ask, or when to choose.
    pub(super) fn choose(
        &mut self,
        call: &Call,
        now: Instant,
        waker: &Waker,
    ) -> Result<(), Instant> {
        let end = self.patience(call, now);
        let Some(own) = &self.own else {
            return Ok(());
        };
        let later = match (self.pick(own, now), end) {
            (Pick::Hold(_, at), Some(end)) if at.is_none_or(|at| at < end) => {
                self.held.get_or_insert(now);
                at.unwrap_or(now + AWHILE).min(end)
            }
            (Pick::Limited(_, until), Some(end)) if until < end => until,
            (Pick::Nothing, _) => return self.visit_chosen(now),
            (Pick::Ask(choice) | Pick::Hold(choice, _) | Pick::Limited(choice, _), _) => {
                self.chosen = choice;
                return self.visit_chosen(now);
            }
        };
        let memory = &self.policy.memory;
        let seat = self.seat.get_or_insert_with(|| memory.sit_down());
        seat.wake_after_answer(waker);
        Err(later.max(now + TICK))
    }

    /// Counts the request to the one that was chosen.
    pub(super) fn visit_chosen(&mut self, now: Instant) -> Result<(), Instant> {
        self.seat = None;
        // Of an unknown model nothing is to be remembered: it cannot be told from others.
        if let Some(own) = self.own.as_ref().filter(|own| own.model.is_some()) {
            let id = self.id(own, self.chosen);
            self.visit = Some(self.policy.memory.visit(id, now));
        }
        Ok(())
    }

    /// When the first choice frees, and what it waits for; `None` if one is free.
    pub(super) fn first_end(&self, own: &Own, now: Instant) -> Option<(Instant, Refusal)> {
        let ends = self.choices(own).map(|choice| self.end(own, choice, now));
        ends.min_by_key(|end| end.as_ref().map(|(end, _)| *end))
            .flatten()
    }
}
