//! From a response, or an error, to the decision about it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

use super::{
    drain::Drain,
    future::{Completed, ResponseFuture, RetryState, StateProj},
    message::{ResponseHead, put, read_limits, read_rejection},
    strategy::{Config, Decision, Outcome, RequestView, Strategy},
};
use crate::{
    call::{Action, AttemptError, Recorded, SendId, StopReason, Trail},
    clock,
    replay::{NotReplayable, RequestBody},
    telemetry,
};

impl<S, B, R, C> ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    C: Config<Strategy: Strategy<R, S::Error>>,
{
    /// Calling => Done, until the decision sets another state. Records the outcome.
    pub(super) fn on_response(
        self: Pin<&mut Self>,
        send: SendId,
        mut result: Result<Response<R>, S::Error>,
    ) -> Completed<R, S::Error> {
        let mut this = self.project();
        this.state.set(RetryState::Done);
        let (head, call) = (&this.request.head, &this.request.call);
        let host = this.rerouted_host.as_deref().or_else(|| head.host());
        let rejection = result
            .as_mut()
            .ok()
            .and_then(|response| read_rejection(response, host, &this.strategy.settings().once));
        let response = result.as_ref().ok();
        let trail = response.and_then(|response| response.extensions().get::<Trail>());
        let limits = || response.map(|response| read_limits(response.headers(), host));
        let Recorded {
            entry,
            is_new,
            replay_limit,
        } = call.record(
            send,
            trail.and_then(|trail| trail.entry_in(call)),
            response.map(Response::status),
            rejection.as_ref(),
            || limits().unwrap_or_default(),
            clock::now,
        );
        // An inner layer may have got the request only after the inner service was called.
        this.request.recording.raise_limit(replay_limit);
        if is_new {
            telemetry::record_outcome(call, entry, host);
        }
        *this.entry = Some(entry);
        match &mut result {
            Ok(response) => {
                let trail = Trail::new(call.clone(), Some(entry));
                put(response.extensions_mut(), trail);
            }
            Err(error) => {
                let error = match this.strategy.as_error(error) {
                    Some(error) => AttemptError::new::<S::Error>(error, head, &call.keys()),
                    None => AttemptError::of_type::<S::Error>(),
                };
                call.record_error(entry, error);
            }
        }
        Completed {
            result,
            rejection,
            send,
            entry,
        }
    }

    /// Lets the strategy read the parts of the request that its decision depends on.
    pub(super) fn poll_read_request(
        self: Pin<&mut Self>,
        completed: &Completed<R, S::Error>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let this = self.project();
        this.request.begin(false);
        let why = this.request.recording.not_replayable();
        let outcome = completed.outcome(this.request, why.map(StopReason::from));
        this.strategy.poll_read_request(&outcome, this.request, cx)
    }

    /// Deciding => Done, until the decision sets another state. Ready when the decision can be made.
    pub(super) fn poll_deciding(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Completed<R, S::Error>> {
        let StateProj::Deciding { completed, .. } = self.as_mut().project().state.project() else {
            return Poll::Pending;
        };
        let Some(taken) = completed.take() else {
            return Poll::Pending;
        };
        let read = self.as_mut().poll_read_request(&taken, cx);
        if read.is_pending() && self.as_mut().poll_deadline(cx).is_pending() {
            if let StateProj::Deciding { completed, .. } = self.project().state.project() {
                *completed = Some(taken);
            }
            return Poll::Pending;
        }
        self.project().state.set(RetryState::Done);
        Poll::Ready(taken)
    }

    /// Done => Draining, or returns the result to the caller.
    pub(super) fn decide(
        self: Pin<&mut Self>,
        completed: Completed<R, S::Error>,
    ) -> Option<Result<Response<R>, S::Error>> {
        let mut this = self.project();
        let request = this.request;
        request.begin(false);
        // A streaming body may outgrow its bound before the next attempt has a reader, so the reader is made
        // before the decision. A body in memory needs none, and most outcomes are not retried.
        let mut next = None;
        let mut not_replayable = None;
        if !request.recording.in_memory() {
            next = request.recording.reader();
            if next.is_none() {
                let why = request.recording.not_replayable().map(StopReason::from);
                not_replayable = why.or(Some(StopReason::BodyTooLarge));
            }
        }
        let outcome = completed.outcome(request, not_replayable);
        let decision = this.strategy.decide(&outcome);
        let (call, entry, layer) = (&request.call, completed.entry, C::LAYER);
        let action = decision.action();
        if let Some(action) = action {
            let host = this.rerouted_host.as_deref();
            let host = host.or_else(|| request.head.host());
            telemetry::record_action(call, entry, host, action);
            call.record_step(entry, decision.step(layer, action));
            if let Action::Wait(_) = action {
                *this.waiting = Some(request.now());
            }
        }
        telemetry::log_attempt(call, entry, layer, action, this.recorder.as_ref());
        this.strategy.settings().on_attempt(call, entry);
        let Completed { mut result, .. } = completed;
        match decision {
            Decision::Retry { wait, .. } => {
                *this.next = next.or_else(|| request.recording.reader());
                if let Some(next) = &*this.next {
                    next.reject_older();
                    let drain = Drain::new(result.ok(), wait, call, clock::now());
                    this.state.set(RetryState::Draining { drain });
                    return None;
                }
            }
            Decision::StopWith(_, rejection) => {
                if let Ok(response) = &mut result {
                    response.extensions_mut().insert(rejection);
                }
            }
            Decision::Ignore | Decision::Stop(_) => {}
        }
        Some(result)
    }
}

// === impl Completed ===

impl<R, E> Completed<R, E> {
    fn outcome<'a, B: Body>(
        &'a self,
        request: &'a RequestView<B>,
        not_replayable: Option<StopReason>,
    ) -> Outcome<'a, E> {
        Outcome {
            result: self.result.as_ref().map(ResponseHead::of),
            rejection: self.rejection.as_ref(),
            not_replayable,
            call: &request.call,
            send: self.send,
            entry: self.entry,
            now: &request.now,
        }
    }
}

// === impl StopReason ===

impl From<NotReplayable> for StopReason {
    fn from(why: NotReplayable) -> Self {
        match why {
            NotReplayable::TooLarge => Self::BodyTooLarge,
            NotReplayable::BodyFailed => Self::BodyFailed,
        }
    }
}
