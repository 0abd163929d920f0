//! Which target is next: the first that has capacity. The request's own model comes before all targets.

mod choice;
mod record;
mod state;

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use http_body::Body;

use super::{RetryOnError, Target, layer::FallbackLayer, original::OriginalRequest};
use crate::{
    call::{CallState, Route},
    quota::{Confirmed, in_time, poll_again},
    rejection::{Reason, Rejection},
    request::Model,
    retry::{CommonSettings, Config, Decision, Outcome, Prepare, RequestView, Strategy},
    trail::{Action, LayerKind, StopReason},
};
pub(super) use state::FallbackStrategy;
use state::{Choice, Next, TargetStage};

impl<P> Config for FallbackLayer<P> {
    const LAYER: LayerKind = LayerKind::Fallback;
    type Strategy = FallbackStrategy<P>;

    fn strategy(config: Arc<Self>) -> Self::Strategy {
        FallbackStrategy::new(config)
    }

    fn settings(&self) -> &CommonSettings {
        &self.settings
    }
}

impl<P> FallbackStrategy<P> {
    /// Returns why no target is left.
    fn nothing_left(&self, original: &OriginalRequest) -> StopReason {
        let names_no_model = original.model.as_ref().is_none_or(Model::is_nowhere);
        let mut targets = self.policy.targets.iter();
        let needs_model = targets.any(|target| target.own_model().is_some());
        match names_no_model && needs_model {
            true => StopReason::NoModel,
            false => StopReason::NoFreeTarget,
        }
    }

    /// Returns whether more targets could be used if the model were known.
    fn lacks_model(&self, original: &OriginalRequest) -> bool {
        let names_model = |target: &Target| target.own_model().is_some();
        original.model.is_none() && self.policy.targets.iter().any(names_model)
    }

    /// Returns whether the request is sent to another target. A model that the key may not use counts as an
    /// exhausted quota.
    fn acts_on<E>(&self, outcome: &Outcome<'_, E>) -> bool
    where
        P: RetryOnError<E>,
    {
        let retry_on = &self.policy.retry_on;
        let denies_model = outcome.rejection.is_some_and(Rejection::denies_model);
        retry_on.acts_on(outcome)
            || (denies_model && retry_on.reasons.contains(&Reason::QuotaExhausted))
    }
}

impl<P: RetryOnError<E>, R, E> Strategy<R, E> for FallbackStrategy<P> {
    fn settings(&self) -> &CommonSettings {
        &self.policy.settings
    }

    fn poll_prepare<B>(&mut self, draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Prepare<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if self.original.is_none() && !&draft.call.is_without_fallback() {
            self.original = Some(ready!(self.read_original(draft, cx)));
        }
        let (call, now) = (&draft.call, draft.now());
        let policy = self.policy.clone();
        loop {
            match &mut self.stage {
                TargetStage::Sent(_) => return Poll::Ready(Prepare::Send),
                TargetStage::Choosing => {
                    let end = self.max_wait(call, now);
                    let precise = || draft.demand(&policy.scheduler, true);
                    self.choose(end, precise, draft.is_ready, now);
                    if self.is_choosing() {
                        return Poll::Ready(Prepare::Send);
                    }
                }
                TargetStage::Reserved(_, at) if *at > now => {
                    return Poll::Ready(Prepare::WaitUntil(*at));
                }
                // The reservation may become stale until the service is ready.
                TargetStage::Reserved(..) if !draft.is_ready => return Poll::Ready(Prepare::Send),
                TargetStage::Reserved(..) => {
                    if let TargetStage::Reserved(mut permit, _) = self.take_stage() {
                        if permit.confirm(false, now) == Confirmed::Yes {
                            self.stage = TargetStage::Sent(Some(permit));
                        }
                    }
                }
                TargetStage::Waiting(choices, waiter) => match waiter.poll_acquire(cx, now) {
                    Ok((permit, at)) => {
                        self.chosen = choices[*permit.candidate()];
                        let end = self.max_wait(call, now).unwrap_or(now);
                        self.stage = TargetStage::Reserved(permit, in_time(at, end, now));
                    }
                    Err(forecast) => {
                        let end = self.max_wait(call, now);
                        if let Some(end) = end.filter(|end| forecast.prospect.is_before(*end)) {
                            let at = poll_again(forecast.free_at, end, now);
                            return Poll::Ready(Prepare::WaitUntil(at));
                        }
                        // This gives up the place in the queue.
                        self.stage = TargetStage::Choosing;
                        let precise = || draft.demand(&policy.scheduler, true);
                        self.choose(None, precise, draft.is_ready, now);
                        if self.is_choosing() {
                            return Poll::Ready(Prepare::Send);
                        }
                    }
                },
            }
        }
    }

    fn rewrite(
        &mut self,
        head: &mut request::Parts,
        route: &mut Route,
        call: &CallState,
    ) -> Option<Bytes> {
        if let TargetStage::Sent(Some(permit)) = &mut self.stage {
            permit.mark_sent();
            route.cost = permit.cost().or(route.cost);
        }
        let original = self.original.as_ref()?;
        match self.chosen {
            Choice::Original => {
                route.model = original.model_name().or(route.model.take());
                None
            }
            Choice::Target(index) => {
                let target = &self.policy.targets[index];
                original.rewrite_for(target, head, route, call)
            }
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
        // Polled again until the body is read, and a closure of the caller may count its calls.
        let acts = self.acts.unwrap_or_else(|| self.acts_on(outcome));
        self.acts = Some(acts);
        let may_send = acts && outcome.left().is_ok();
        let original = self.original.as_ref();
        if may_send && original.is_some_and(|original| self.lacks_model(original)) {
            let model = ready!(read_model(draft, cx));
            if let Some(original) = &mut self.original {
                original.model = model;
            }
        }
        Poll::Ready(())
    }

    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        self.policy.retry_on.error.as_error(error)
    }

    fn decide(&mut self, outcome: &Outcome<'_, E>) -> Decision {
        let permit = match self.take_stage() {
            TargetStage::Sent(permit) => permit,
            _ => None,
        };
        let acts = self.acts.take().unwrap_or_else(|| self.acts_on(outcome));
        if !acts {
            if let Some(permit) = permit {
                self.record(permit, outcome);
            }
            return Decision::Ignore;
        }
        if self.original.is_none() {
            return Decision::Stop(StopReason::FallbackOff);
        }
        let left = outcome.left();
        let (is_limited, next) = self.record_and_choose(permit, left.is_ok(), outcome);
        match left {
            Err(why) => Decision::Stop(why),
            Ok(_) => self.next(next, is_limited, outcome),
        }
    }
}

impl<P> FallbackStrategy<P> {
    /// Reads the original request. Waits for a body that is still being uploaded only if it may be changed
    /// now.
    fn read_original<B>(
        &self,
        draft: &RequestView<B>,
        cx: &mut Context<'_>,
    ) -> Poll<OriginalRequest>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut original = OriginalRequest::new(&draft.head, &draft.route);
        let scheduler = &self.policy.scheduler;
        original.demand = draft.demand(scheduler, false);
        let is_limited = || {
            let origin = original.origin();
            scheduler.with(|inner| inner.candidates.has_limited(origin, draft.now()))
        };
        if original.model.is_none() && (draft.recording.in_memory() || is_limited()) {
            match read_model(draft, cx) {
                Poll::Ready(model) => original.model = model,
                Poll::Pending if draft.call.left(draft.now()).is_ok() => return Poll::Pending,
                // The call may not wait any longer, so the request is sent as it is.
                Poll::Pending => {}
            }
        }
        Poll::Ready(original)
    }

    /// Sends to the next target, waits for one, or gives up.
    fn next<E>(&mut self, next: Next, is_limited: bool, outcome: &Outcome<'_, E>) -> Decision {
        let again = |action| Decision::retry(action);
        let now = outcome.now();
        let (Next::Limited(first_end), Some(original)) = (next, &self.original) else {
            return again(Action::NextTarget);
        };
        let nothing_left = self.nothing_left(original);
        let end = self.max_wait(outcome.call, now);
        let may_wait = end.is_some() && !self.waits.is_used_up();
        let why = match end {
            Some(_) if !may_wait => StopReason::AttemptsUsedUp,
            _ => nothing_left,
        };
        let waits = match (&first_end, end) {
            // A target that was tried is free again, because the response of another took long.
            (None, _) => is_limited && may_wait,
            (Some(first), Some(end)) => {
                is_limited && may_wait && !first.is_unusable && first.at < end
            }
            (Some(_), None) => false,
        };
        if waits {
            // A target that frees after a wait may be tried again.
            self.tried.clear();
            self.waits.count_wait();
        }
        match first_end.filter(|_| is_limited) {
            None if waits => again(Action::Wait(Duration::ZERO)),
            None => Decision::Stop(why),
            Some(first) if waits => {
                Decision::queue(first.at.saturating_duration_since(now), first.rejection)
            }
            Some(first) => Decision::StopWith(why, first.rejection),
        }
    }
}

/// Reads the model from the whole body; `None` if the body is not available.
fn read_model<B>(draft: &RequestView<B>, cx: &mut Context<'_>) -> Poll<Option<Model>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let body = ready!(draft.recording.poll_whole(cx));
    Poll::Ready(body.map(|body| Model::in_body(&draft.head.headers, &body)))
}
