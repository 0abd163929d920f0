//! Whom to ask now, and when to look again if nobody is worth it.

use std::{task::Waker, time::Duration};

use http_body::Body;
use tokio::time::Instant;

use super::FallbackStrategy;
use crate::{
    allowance::{End, Room},
    call::CallState,
    clock::after,
    fallback::{
        memory::{Candidate, Known},
        own::Own,
    },
    jitter::Jitter,
    retry::RequestView,
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

/// The longest jitter after a hint. A target with capacity idles meanwhile: with up to 500 ms, a batch over
/// two models took 7 % longer than the limits allow, with this 4 % (`examples/simulation`).
const LONGEST_JITTER: Duration = Duration::from_millis(100);

/// What to ask next.
pub(super) enum Pick {
    Ask(Chosen),
    /// This one, better at that time or after an answer: enough are out to find out how much it takes,
    /// or it frees in a moment.
    Hold(Chosen, Option<Instant>),
    /// All are limited; this one frees first, then. `None` if none is a matter of time.
    Limited(Chosen, Option<Instant>),
    Nothing,
}

impl Pick {
    fn choice(&self) -> Option<Choice> {
        match self {
            Self::Ask(chosen) | Self::Hold(chosen, _) | Self::Limited(chosen, _) => Some(chosen.0),
            Self::Nothing => None,
        }
    }
}

/// A choice, and what the memory has of it.
pub(super) struct Chosen(Choice, Candidate);

// === impl Pick ===

impl Pick {
    /// Whether a call waits that may wait until `end`.
    fn is_wait(&self, end: Option<Instant>) -> bool {
        end.is_some_and(|end| match self {
            Self::Hold(_, at) => at.is_none_or(|at| at < end),
            Self::Limited(_, until) => until.is_some_and(|until| until < end),
            Self::Ask(_) | Self::Nothing => false,
        })
    }
}

// === impl FallbackStrategy ===

impl<P> FallbackStrategy<P> {
    /// The choices that this request has, in order of preference.
    pub(super) fn choices<'a>(&'a self, own: &'a Own) -> impl Iterator<Item = Choice> + 'a {
        let targets = self.policy.targets.iter().enumerate();
        let differ = targets.filter(|(_, target)| own.may_become(target));
        [Choice::Own]
            .into_iter()
            .chain(differ.map(|(index, _)| Choice::Target(index)))
    }

    pub(super) fn candidate(&self, own: &Own, choice: Choice) -> Candidate {
        Candidate::new(match choice {
            Choice::Own => own.id(),
            Choice::Target(index) => own.id_of(index, &self.policy.targets[index]),
        })
    }

    /// What to ask next of what was not tried, by a call that may wait until `end`, if at all.
    pub(super) fn pick(
        &self,
        own: &Own,
        known: &mut Known,
        end: Option<Instant>,
        now: Instant,
    ) -> Pick {
        let may_wait = |until| end.is_some_and(|end| until < end);
        let held_until = self.held_until(now);
        let soon = match self.jitter {
            Some(_) => SOON + LONGEST_JITTER,
            None => SOON,
        };
        let mut full = None;
        let mut testable = None;
        let mut closed: Option<(Instant, Chosen)> = None;
        let mut unusable: Option<(Instant, Chosen)> = None;
        for choice in self
            .choices(own)
            .filter(|choice| !self.tried.contains(choice))
        {
            let mut this = Chosen(choice, self.candidate(own, choice));
            let room = known.room(&mut this.1, now);
            match self.after_hint(room, known.hints(&this.1, now), end, now) {
                Room::Open(_) => return Pick::Ask(this),
                Room::Learning(at) => return Pick::Hold(this, at),
                // A lesser target is not worth it for a moment.
                Room::Closed(until) if may_wait(until) && until <= now + soon => {
                    return Pick::Hold(this, Some(until));
                }
                Room::Full(_) if may_wait(held_until) && now < held_until => {
                    return Pick::Hold(this, Some(held_until));
                }
                Room::Full(_) => full = full.or(Some(this)),
                Room::Testable(_) => testable = testable.or(Some(this)),
                Room::Closed(until) if closed.as_ref().is_none_or(|(first, _)| until < *first) => {
                    closed = Some((until, this));
                }
                Room::Unusable(until)
                    if unusable.as_ref().is_none_or(|(first, _)| until < *first) =>
                {
                    unusable = Some((until, this));
                }
                Room::Closed(_) | Room::Unusable(_) => {}
            }
        }
        let limited = closed.map(|(until, this)| Pick::Limited(this, Some(until)));
        let limited = limited.or(unusable.map(|(_, this)| Pick::Limited(this, None)));
        let asked = full.or(testable).map(Pick::Ask);
        asked.or(limited).unwrap_or(Pick::Nothing)
    }

    /// The room where a target opens to a call that has waited for one of these hints to end: a little later
    /// than that, while there is time.
    fn after_hint(
        &self,
        room: Room,
        hints: impl Iterator<Item = Instant>,
        end: Option<Instant>,
        now: Instant,
    ) -> Room {
        let (Some((share, since)), Some(end)) = (self.jitter, end) else {
            return room;
        };
        let opens = match room {
            Room::Closed(until) => until,
            _ => now,
        };
        let waited_for = hints.filter(|hint| (since..=opens).contains(hint));
        let goes_out = waited_for.max().map(|hint| {
            let most = Jitter::DEFAULT.most(hint.saturating_duration_since(since));
            let left = end.saturating_duration_since(hint);
            let most = most.min(LONGEST_JITTER).min(left / 2);
            hint + share.of(most, Duration::ZERO)
        });
        match goes_out.filter(|at| *at > now) {
            Some(at) => Room::Closed(at.max(opens)),
            None => room,
        }
    }

    /// Until when the call waits for answers that may leave room at a preferred target.
    pub(super) fn held_until(&self, now: Instant) -> Instant {
        self.held.unwrap_or(now) + SOON
    }

    /// Until when this call may wait from now on, if it may.
    pub(super) fn max_wait(&mut self, call: &CallState, now: Instant) -> Option<Instant> {
        let end = after(now, self.policy.max_wait?);
        let end = *self.max_wait.get_or_insert(end);
        let left = call.left(now).ok()?;
        Some(left.map_or(end, |left| end.min(now + left))).filter(|end| now < *end)
    }

    /// Chooses whom to ask and counts the request to it, if it goes out now; or says when to choose.
    pub(super) fn choose<B: Body>(
        &mut self,
        draft: &RequestView<B>,
        waker: &Waker,
    ) -> Result<(), Instant> {
        loop {
            match self.choose_verified(draft, waker) {
                Some(chosen) => return chosen,
                None => self.verify_model(),
            }
        }
    }

    /// As [`choose`](Self::choose); `None` if it is to be known first whether the body can be changed.
    fn choose_verified<B: Body>(
        &mut self,
        draft: &RequestView<B>,
        waker: &Waker,
    ) -> Option<Result<(), Instant>> {
        let now = draft.now();
        let end = self.max_wait(&draft.call, now);
        let Some(own) = &self.own else {
            return Some(Ok(()));
        };
        let memory = &self.policy.memory;
        let mut known = memory.lock();
        let mut pick = self.pick(own, &mut known, end, now);
        if self.jitter.is_none() && pick.is_wait(end) {
            self.jitter = Some((known.draw_share(), now));
            pick = self.pick(own, &mut known, end, now);
        }
        if let Some(Choice::Target(index)) = pick.choice() {
            if !own.is_verified_for(&self.policy.targets[index]) {
                return None;
            }
        }
        let later = match (pick, end) {
            (Pick::Hold(_, at), Some(end)) if at.is_none_or(|at| at < end) => {
                self.held.get_or_insert(now);
                at.unwrap_or(now + AWHILE).min(end)
            }
            (Pick::Limited(_, Some(until)), Some(end)) if until < end => until,
            _ if !draft.is_ready => return Some(Ok(())),
            (pick, _) => {
                let chosen = match pick {
                    Pick::Ask(chosen) | Pick::Hold(chosen, _) | Pick::Limited(chosen, _) => chosen,
                    Pick::Nothing => Chosen(self.chosen, self.candidate(own, self.chosen)),
                };
                self.chosen = chosen.0;
                // Of an unknown model nothing is to be remembered: it cannot be told from others.
                let visited = own.model.is_some().then_some(chosen.1);
                let visit = visited.map(|it| memory.visit(&mut known, it, now));
                drop(known);
                self.visit = visit;
                self.seat = None;
                self.jitter = None;
                return Some(Ok(()));
            }
        };
        // Under the lock under which it was looked: no answer comes between.
        let seat = self.seat.get_or_insert_with(|| memory.sit_down(&mut known));
        seat.wake_after_answer(&mut known, waker);
        drop(known);
        Some(Err(later.max(now + TICK)))
    }

    /// When the first choice frees, and what it waits for; `None` if one is free.
    pub(super) fn first_end(&self, own: &Own, now: Instant) -> Option<End> {
        let known = self.policy.memory.lock();
        let ends = self
            .choices(own)
            .map(|choice| known.end(&self.candidate(own, choice), now));
        ends.min_by_key(|end| end.as_ref().map(End::order))
            .flatten()
    }
}
