//! Which target is asked next: the first that is free, the request's own before all.

mod choice;

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use http_body::Body;
use tokio::time::Instant;

use super::{
    RetryOnError, Target,
    layer::FallbackLayer,
    memory::{Seat, Visit},
    own::Own,
};
use crate::{
    call::{CallState, Route, Sent},
    jitter::Share,
    rejection::{Reason, Rejection},
    request::Model,
    retry::{CommonSettings, Config, Decision, MAX_WAITS, Outcome, Prepare, RequestView, Strategy},
    trail::{Action, Attempt, LayerKind, StopReason},
};
use choice::{Choice, Pick};

pub(crate) struct FallbackStrategy<P> {
    policy: Arc<FallbackLayer<P>>,
    /// `None` before the first send, and if the request asked for no fallback.
    own: Option<Own>,
    /// Who is asked now.
    chosen: Choice,
    /// The request that is under way, or comes next; `None` while it is held back, or if nothing is
    /// known of its model.
    visit: Option<Visit>,
    tried: Vec<Choice>,
    /// Until when the call waits for a target, once it is known.
    max_wait: Option<Instant>,
    /// How often it was refused and waits for a target since.
    waits: u32,
    /// Since when the call waits for a preferred target.
    held: Option<Instant>,
    /// Its place among those who wait.
    seat: Option<Seat>,
    /// How much later than a hint's end it goes out, and since when it waits.
    jitter: Option<(Share, Instant)>,
}

impl<P> Config for FallbackLayer<P> {
    const LAYER: LayerKind = LayerKind::Fallback;
    type Strategy = FallbackStrategy<P>;

    fn strategy(config: Arc<Self>) -> Self::Strategy {
        FallbackStrategy::new(config)
    }

    fn settings(&self) -> CommonSettings {
        self.settings
    }
}

impl<P> FallbackStrategy<P> {
    pub(super) fn new(policy: Arc<FallbackLayer<P>>) -> Self {
        Self {
            policy,
            own: None,
            chosen: Choice::Own,
            visit: None,
            tried: Vec::new(),
            max_wait: None,
            waits: 0,
            held: None,
            seat: None,
            jitter: None,
        }
    }

    /// Why nothing is left to ask.
    fn nothing_left(&self, own: &Own) -> StopReason {
        let names_no_model = own.model.as_ref().is_none_or(Model::is_nowhere);
        let needs_model = self
            .policy
            .targets
            .iter()
            .any(|target| target.own_model().is_some());
        match names_no_model && needs_model {
            true => StopReason::NoModel,
            false => StopReason::NoFreeTarget,
        }
    }

    /// Whether an untried target could be asked if the model were known.
    fn lacks_model(&self, own: &Own) -> bool {
        let names_model = |target: &Target| target.own_model().is_some();
        own.model.is_none() && self.policy.targets.iter().any(names_model)
    }

    /// Whether another target is worth it. A model that no key may use is one that the account has no quota
    /// of.
    fn acts_on<E>(&self, outcome: &Outcome<'_, E>) -> bool
    where
        P: RetryOnError<E>,
    {
        let retry_on = &self.policy.retry_on;
        let denies_model = outcome.rejection.is_some_and(Rejection::denies_model);
        retry_on.acts_on(outcome)
            || (denies_model && retry_on.reasons.contains(&Reason::QuotaExhausted))
    }

    /// Tells the memory what became of the request; whether it was limited.
    fn remember<E>(&mut self, outcome: &Outcome<'_, E>) -> bool {
        let Some(visit) = self.visit.take() else {
            return false;
        };
        let own_key = self.own.as_ref().and_then(|own| own.key.as_ref());
        // What is left for one of the keys that a layer further in has is not what is left of the target.
        let told = |attempt: &Attempt| match attempt.key.as_ref() == own_key {
            true => attempt.buckets.clone(),
            false => Vec::new(),
        };
        let told = || outcome.of_attempt(told).unwrap_or_default();
        match outcome.rejection {
            // What is too large now may fit next time, and what one caller's key may not use another's may.
            Some(rejection) if rejection.reason != Reason::TooLarge && !rejection.is_denial() => {
                visit.refused(rejection, &told(), outcome.now(), self.policy.longest_guess);
                true
            }
            None if outcome.is_success() => {
                visit.succeeded(&told(), outcome.now());
                false
            }
            _ => match self.waited_out(outcome) {
                Some((rejection, at)) => {
                    visit.refused(&rejection, &told(), at, self.policy.longest_guess);
                    true
                }
                None => {
                    visit.answered();
                    false
                }
            },
        }
    }

    /// What a layer further in was waiting out when it was cut off, by a time limit between, and when
    /// that had come.
    fn waited_out<E>(&self, outcome: &Outcome<'_, E>) -> Option<(Rejection, Instant)> {
        outcome.result.err()?;
        outcome.of_sends(|sends| {
            let is_waited_for = |send: &Sent| !sends.iter().any(|it| it.went_out_after(send));
            let waited_for = sends.iter().filter(|send| is_waited_for(send));
            waited_for
                .filter_map(|send| self.wait_after(&send.attempt))
                .last()
        })
    }

    /// The rejection that an inner layer waits out, and when it came.
    fn wait_after(&self, attempt: &Attempt) -> Option<(Rejection, Instant)> {
        let step = attempt.steps.last()?;
        let Action::Wait(_) = step.action else {
            return None;
        };
        // A pool waits for the key that frees first, which need not be the one that was refused.
        let rejection = step.awaited.as_ref().or(attempt.rejection.as_ref())?;
        if !self.policy.retry_on.reasons.contains(&rejection.reason) {
            return None;
        }
        Some((rejection.clone(), attempt.rejected_at?))
    }
}

impl<P: RetryOnError<E>, R, E> Strategy<R, E> for FallbackStrategy<P> {
    fn poll_prepare<B>(&mut self, draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Prepare<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if self.own.is_none() && !draft.call.is_without_fallback() {
            let mut own = Own::new(&draft.head, &draft.route);
            // A body that is still being uploaded is waited for only if it is to be changed now.
            let known = || self.policy.memory.lock();
            let limited = || known().has_limited(own.origin(), draft.now());
            if own.model.is_none() && (draft.recording.in_memory() || limited()) {
                match read_model(draft, cx) {
                    Poll::Ready(model) => own.model = model,
                    Poll::Pending if draft.call.left(draft.now()).is_ok() => return Poll::Pending,
                    // It goes out as it is.
                    Poll::Pending => {}
                }
            }
            self.own = Some(own);
        }
        Poll::Ready(match self.choose(draft, cx.waker()) {
            Ok(()) => Prepare::Send,
            Err(at) => Prepare::WaitUntil(at),
        })
    }

    fn rewrite(
        &mut self,
        head: &mut request::Parts,
        route: &mut Route,
        call: &CallState,
    ) -> Option<Bytes> {
        let own = self.own.as_ref()?;
        match self.chosen {
            Choice::Own => {
                route.model = own.model_name().or(route.model.take());
                None
            }
            Choice::Target(index) => own.turn_into(&self.policy.targets[index], head, route, call),
        }
    }

    fn poll_read_request<B>(
        &mut self,
        outcome: &Outcome<'_, E>,
        draft: &RequestView<B>,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let acts = self.acts_on(outcome) && outcome.left().is_ok();
        let lacks_model = self.own.as_ref().is_some_and(|own| self.lacks_model(own));
        if acts && lacks_model {
            let model = ready!(read_model(draft, cx));
            if let Some(own) = &mut self.own {
                own.model = model;
            }
        }
        Poll::Ready(())
    }

    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        self.policy.retry_on.error.as_error(error)
    }

    fn decide(&mut self, outcome: &Outcome<'_, E>) -> Decision {
        if !self.acts_on(outcome) {
            if outcome.rejection.is_none() {
                self.remember(outcome);
            }
            if let Some(visit) = self.visit.take() {
                visit.answered();
            }
            return Decision::Ignore;
        }
        if self.own.is_none() {
            return Decision::Stop(StopReason::FallbackOff);
        }
        let limited = self.remember_late(outcome);
        if let Err(why) = outcome.left() {
            return Decision::Stop(why);
        }
        self.tried.push(self.chosen);
        self.next(outcome, limited)
    }
}

impl<P> FallbackStrategy<P> {
    /// As [`remember`](Self::remember), of a request whose model may have become known only now.
    fn remember_late<E>(&mut self, outcome: &Outcome<'_, E>) -> bool {
        if let (None, Some(own)) = (&self.visit, &self.own) {
            let chosen = own.model.as_ref().map(|_| self.candidate(own, self.chosen));
            let memory = &self.policy.memory;
            self.visit = chosen.map(|it| memory.visit(&mut memory.lock(), it, outcome.now()));
        }
        self.remember(outcome)
    }

    /// Reads a body to its end before it is changed. No lock is held, because the body may be long.
    fn verify_model(&mut self) {
        if let Some(model) = self.own.as_mut().and_then(|own| own.model.as_mut()) {
            model.verify();
        }
    }

    /// Asks the next target, waits for one, or gives up.
    fn next<E>(&mut self, outcome: &Outcome<'_, E>, limited: bool) -> Decision {
        self.verify_model();
        let (call, now) = (outcome.call, outcome.now());
        let end = self.max_wait(call, now);
        let Some(own) = &self.own else {
            return Decision::Ignore;
        };
        let pick = self.pick(own, &mut self.policy.memory.lock(), end, now);
        if let Pick::Ask(_) | Pick::Hold(..) = pick {
            return Decision::retry(Action::NextTarget);
        }
        let may_wait = end.is_some() && self.waits < MAX_WAITS;
        let why = match end {
            Some(_) if !may_wait => StopReason::AttemptsUsedUp,
            _ => self.nothing_left(own),
        };
        let first_end = match self.first_end(own, now) {
            // One that was tried is free again, for the answer of another has taken long.
            None if limited && may_wait => {
                self.tried.clear();
                self.waits += 1;
                return Decision::retry(Action::Wait(Duration::ZERO));
            }
            first_end => first_end.filter(|_| limited),
        };
        match (first_end, end) {
            (Some(first), Some(end)) if may_wait && !first.is_unusable && first.at < end => {
                // What frees after a wait may be asked again.
                self.tried.clear();
                self.waits += 1;
                let wait = first.at.saturating_duration_since(now);
                Decision::queue(wait, first.rejection)
            }
            (Some(first), _) => Decision::StopWith(why, first.rejection),
            (None, _) => Decision::Stop(why),
        }
    }
}

/// Reads the model from the whole body; `None` if it cannot be had whole.
fn read_model<B>(draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Option<Model>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let body = ready!(draft.recording.poll_whole(cx));
    Poll::Ready(body.map(|body| Model::in_body(&draft.head.headers, &body)))
}
