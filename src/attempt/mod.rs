//! The one state machine: send, judge, settle, send again. The layers differ only in what they decide.

mod settle;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::Service;

use crate::{
    call::{Call, Limits},
    clock,
    refusal::Refusal,
    replay::{NotReplayable, Recording, ReplayBody, RequestBody},
    trace,
    trail::{Action, Layer, Why},
};
use settle::Settle;

/// What a layer decides; the machine does the rest.
pub(crate) trait Decide<E> {
    /// Who decides, for the trail.
    const LAYER: Layer;

    /// What to do about an outcome; called once for each, refusals and all.
    fn judge(&mut self, outcome: &Outcome<'_, E>) -> Verdict;
}

/// How an attempt ended, and what is left to spend.
pub(crate) struct Outcome<'a, E> {
    pub(crate) result: Result<http::StatusCode, &'a E>,
    pub(crate) refusal: Option<&'a Refusal>,
    /// What is left until the deadline, if there is one, or why the request cannot be sent again.
    pub(crate) left: Result<Option<Duration>, Why>,
}

pub(crate) enum Verdict {
    /// Not this layer's matter.
    Pass,
    Return(Why),
    Again {
        action: Action,
        wait: Duration,
    },
}

/// How every layer sends, whatever it decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) replay_limit: u64,
    pub(crate) limits: Limits,
}

pin_project! {
    /// A request on its way through one layer.
    pub(crate) struct Attempts<S, B, R, D>
    where
        S: Service<Request<B>>,
        B: RequestBody,
    {
        inner: S,
        head: request::Parts,
        recording: Recording<B::Source>,
        // Made when it is decided to send again, so that the recording cannot overflow in between.
        next: Option<ReplayBody<B::Source>>,
        decide: D,
        call: Call,
        outermost: bool,
        sends_before: usize,
        #[pin]
        state: State<S::Future, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R> {
        // => Calling. The service is ready.
        Sending,
        // => Settling | done
        Calling { #[pin] future: F },
        // => Readying
        Settling { #[pin] settle: Settle<R> },
        // => Sending | done
        Readying,
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            replay_limit: 2 * 1024 * 1024,
            limits: Limits::default(),
        }
    }
}

// === impl Attempts ===

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>>,
    B: RequestBody,
{
    /// `inner` must be ready.
    pub(crate) fn new(inner: S, request: Request<B>, settings: Settings, decide: D) -> Self {
        let (mut head, body) = request.into_parts();
        let (call, outermost) = Call::enter(&mut head.extensions, settings.limits, clock::now());
        let mut recording = Recording::new(body.into_replay(), settings.replay_limit);
        Self {
            inner,
            head,
            next: recording.reader(),
            recording,
            decide,
            sends_before: call.sends(),
            call,
            outermost,
            state: State::Sending,
        }
    }
}

impl<S, B, R, D> Future for Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: RequestBody,
    R: Body,
    D: Decide<S::Error>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Sending => {
                    let body = this.next.take().expect("a body is made before each send");
                    let request = Request::from_parts(this.head.clone(), B::from_replay(body));
                    *this.sends_before = this.call.sends();
                    let future = this.inner.call(request);
                    this.state.set(State::Calling { future });
                }
                StateProj::Calling { future } => {
                    let mut result = ready!(future.poll(cx));
                    match self.as_mut().judge(&mut result) {
                        None => return Poll::Ready(result),
                        Some(wait) => {
                            let body = result.ok().map(Response::into_body);
                            let settle = Settle::new(body, wait, clock::now());
                            self.as_mut()
                                .project()
                                .state
                                .set(State::Settling { settle });
                        }
                    }
                }
                StateProj::Settling { settle } => {
                    ready!(settle.poll(cx));
                    this.state.set(State::Readying);
                }
                StateProj::Readying => {
                    ready!(this.inner.poll_ready(cx))?;
                    this.state.set(State::Sending);
                }
            }
        }
    }
}

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: RequestBody,
    D: Decide<S::Error>,
{
    /// The wait until the next send, or `None` if the result is the caller's.
    fn judge(self: Pin<&mut Self>, result: &mut Result<Response<R>, S::Error>) -> Option<Duration> {
        let this = self.project();
        let refusal = result.as_mut().ok().and_then(read_refusal);
        let status = result.as_ref().map(Response::status);
        this.call
            .record(*this.sends_before, status.ok(), refusal.as_ref());
        let left = match this.recording.not_replayable() {
            Some(NotReplayable::TooLarge) => Err(Why::BodyTooLarge),
            Some(NotReplayable::BodyFailed) => Err(Why::BodyFailed),
            None => this.call.left(clock::now()),
        };
        let verdict = this.decide.judge(&Outcome {
            result: status,
            refusal: refusal.as_ref(),
            left,
        });
        let (action, wait) = match verdict {
            Verdict::Again { action, wait } => (Some(action), Some(wait)),
            Verdict::Return(why) => (Some(Action::Return(why)), None),
            Verdict::Pass => (None, None),
        };
        if let Some(action) = action {
            this.call.step(D::LAYER, action);
        }
        tell(this.call, D::LAYER, action, *this.outermost);
        match wait {
            Some(_) => *this.next = this.recording.reader(),
            None if *this.outermost => {
                if let Ok(response) = result {
                    response.extensions_mut().insert(this.call.trail());
                }
            }
            None => {}
        }
        wait
    }
}

/// One event for each refusal: from the layer that acts on it, or from the outermost if none does.
fn tell(call: &Call, layer: Layer, action: Option<Action>, outermost: bool) {
    let Some(last) = call.last() else {
        return;
    };
    match action {
        Some(Action::Return(_)) | None if !outermost => {}
        Some(action) => trace::refusal(layer, &last, action),
        None if last.refusal.is_some() => {
            let returned = last.steps.iter().rev().find_map(|step| match step.action {
                Action::Return(why) => Some((step.layer, Action::Return(why))),
                _ => None,
            });
            let (layer, action) = returned.unwrap_or((layer, Action::Return(Why::NotCovered)));
            trace::refusal(layer, &last, action);
        }
        None => {}
    }
}

/// The refusal that a layer further in has left, or else what the head says; left for layers further out.
fn read_refusal<R>(response: &mut Response<R>) -> Option<Refusal> {
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        return Some(refusal.clone());
    }
    let refusal = Refusal::from_response(response, clock::wall())?;
    response.extensions_mut().insert(refusal.clone());
    Some(refusal)
}

/// `at + wait`, or a moment that does not come if that is past the end of the clock.
fn after(at: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    at.checked_add(wait).unwrap_or_else(|| at + FAR)
}
