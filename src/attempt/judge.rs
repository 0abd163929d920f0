//! What the machine does about an answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

use super::{
    Answer, Attempts, Decide, Draft, Outcome, Settle, State, StateProj, Verdict, steps::host,
};
use crate::{
    clock::{self, Moment},
    replay::{NotReplayable, ReplayBody, RequestBody},
    telemetry,
    trail::{Action, StopReason},
};

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    D: Decide<R, S::Error>,
{
    /// Gives the judgement what it needs to know.
    pub(super) fn poll_inform(
        self: Pin<&mut Self>,
        answer: &Answer<R, S::Error>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let this = self.project();
        let moment = &Moment::default();
        let draft = Draft {
            head: this.head,
            extensions: this.extensions,
            recording: this.recording,
            call: this.call,
            route: this.route,
            moment,
            is_ready: false,
        };
        let outcome = Outcome {
            result: answer.result.as_ref().map(Response::status),
            rejection: answer.rejection.as_ref(),
            once: this.recording.not_replayable().map(why_once),
            call: this.call,
            send: answer.send,
            entry: answer.entry,
            moment,
        };
        this.decide.poll_inform(&outcome, &draft, cx)
    }

    /// Judging => Done, until it is known what comes next: the answer, once there is nothing to wait for.
    pub(super) fn poll_judging(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Answer<R, S::Error>> {
        let StateProj::Judging { answer, .. } = self.as_mut().project().state.project() else {
            return Poll::Pending;
        };
        let Some(taken) = answer.take() else {
            return Poll::Pending;
        };
        let informed = self.as_mut().poll_inform(&taken, cx);
        if informed.is_pending() && self.as_mut().poll_deadline(cx).is_pending() {
            if let StateProj::Judging { answer, .. } = self.project().state.project() {
                *answer = Some(taken);
            }
            return Poll::Pending;
        }
        self.project().state.set(State::Done);
        Poll::Ready(taken)
    }

    /// Done => Settling, or the result is the caller's.
    pub(super) fn judge(
        self: Pin<&mut Self>,
        answer: Answer<R, S::Error>,
    ) -> Option<Result<Response<R>, S::Error>> {
        let mut this = self.project();
        let Answer {
            mut result,
            rejection,
            send,
            entry,
        } = answer;
        // Made before the judgement, for the body may be found too large at any moment until then; but
        // what is in memory stays there, and nearly every answer is one that nobody acts on.
        let mut next: Option<ReplayBody<B::Source>> = None;
        let mut once = None;
        if !this.recording.in_memory() {
            next = this.recording.reader();
            if next.is_none() {
                let why = this.recording.not_replayable().map(why_once);
                once = why.or(Some(StopReason::BodyTooLarge));
            }
        }
        let moment = Moment::default();
        let verdict = this.decide.judge(&Outcome {
            result: result.as_ref().map(Response::status),
            rejection: rejection.as_ref(),
            once,
            call: this.call,
            send,
            entry,
            moment: &moment,
        });
        let action = verdict.action();
        if let Some(action) = action {
            let host = host(this.elsewhere, this.head);
            telemetry::record_action(this.call, entry, host, action);
            let awaited = verdict.awaited().cloned();
            this.call.step(entry, D::LAYER, action, awaited);
        }
        if let Some(Action::Wait(_)) = action {
            *this.waiting = Some(moment.now());
        }
        let recorder = this.outermost.then_some(&*this.recorder);
        telemetry::log_attempt(this.call, entry, D::LAYER, action, recorder);
        if let Some(wait) = verdict.wait() {
            *this.next = next.or_else(|| this.recording.reader());
            if let Some(next) = &*this.next {
                next.reject_older();
                let settle = Settle::new(result.ok(), wait, this.call, clock::now());
                this.state.set(State::Settling { settle });
                return None;
            }
        }
        if let (Ok(response), Verdict::Exhausted(_, rejection)) = (&mut result, verdict) {
            response.extensions_mut().insert(rejection);
        }
        Some(result)
    }
}

/// Why a request is sent once.
fn why_once(why: NotReplayable) -> StopReason {
    match why {
        NotReplayable::TooLarge => StopReason::BodyTooLarge,
        NotReplayable::BodyFailed => StopReason::BodyFailed,
    }
}
