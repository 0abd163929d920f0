//! The one state machine: prepare, send, judge, settle, prepare again. The layers differ only in what they decide.

mod decide;
mod judge;
mod settings;
mod settle;
mod steps;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Extensions, Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::Service;

use crate::{
    call::{Call, Route, SendId},
    clock,
    head::Head,
    rejection::Rejection,
    replay::{Recording, ReplayBody, RequestBody},
    telemetry::{self, Telling},
    trail::AttemptError,
};
pub(crate) use decide::{Decide, Draft, Outcome, Prepared, Verdict};
pub(crate) use settings::{Settings, setters};
use settle::Settle;

pin_project! {
    /// A request on its way through one layer.
    pub(crate) struct Attempts<S, B, R, D>
    where
        S: Service<Request<B>>,
        B: RequestBody,
    {
        inner: S,
        readiness: Readiness,
        // For the sends after the first, which takes the head that came.
        head: Arc<Head>,
        // Empty if there is nothing but the call in them: a copy would cost as much as one of all headers.
        extensions: Extensions,
        recording: Recording<B::Source>,
        // The body of the next send.
        next: Option<ReplayBody<B::Source>>,
        decide: D,
        call: Call,
        // By which the request came: each send starts from it.
        route: Route,
        outermost: bool,
        telling: Telling,
        // Since when the next send is held back.
        waiting: Option<Instant>,
        // The entry of the trail to which the last answer belongs.
        entry: Option<SendId>,
        // Where the attempt went, if not to where the head says: providers say the same thing with
        // different words.
        elsewhere: Option<Arc<str>>,
        #[pin]
        state: State<S::Future, R, S::Error>,
    }

    impl<S, B, R, D> PinnedDrop for Attempts<S, B, R, D>
    where
        S: Service<Request<B>>,
        B: RequestBody,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let StateProj::Calling { send, .. } = this.state.project() {
                *this.entry = this.call.record_given_up(*send);
            }
            this.telling.end(this.call, this.head, *this.entry, None);
        }
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R, E> {
        // => Calling | Done
        Preparing {
            // The head that came, until it goes out.
            first: Option<request::Parts>,
            // Made when there is something to wait for.
            #[pin]
            timer: Option<Sleep>,
        },
        // => Judging | Settling | Done
        Calling { #[pin] future: F, send: SendId },
        // => Settling | Done. The judgement waits for the caller's upload, but not past the deadline.
        Judging {
            answer: Option<Answer<R, E>>,
            #[pin]
            timer: Option<Sleep>,
        },
        // => Preparing
        Settling { #[pin] settle: Settle<R> },
        Done,
    }
}

/// How far the inner service is.
///
/// One that is ready may hold something that others wait for, such as a permit, and so may one that was
/// only asked. So it is asked once the request can go out, and let go if there is to wait after all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Unasked,
    Asked,
    Ready,
}

/// How an attempt ended.
struct Answer<R, E> {
    result: Result<Response<R>, E>,
    rejection: Option<Rejection>,
    send: SendId,
    // The entry of the trail to which it belongs.
    entry: SendId,
}

// === impl Attempts ===

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>>,
    B: RequestBody,
{
    /// `inner` must be ready.
    pub(crate) fn new(inner: S, request: Request<B>, settings: Settings, decide: D) -> Self {
        let (mut parts, body) = request.into_parts();
        let Settings {
            limits,
            replay_limit,
        } = settings;
        let mut entered = Call::enter(&mut parts, limits, replay_limit, clock::now);
        let telling = match entered.is_outermost {
            true => Telling::open(&entered.head),
            false => Telling::none(),
        };
        let extensions = match parts.extensions.len() {
            1 => Extensions::new(),
            _ => parts.extensions.clone(),
        };
        let mut recording = Recording::new(
            body.into_replay(),
            entered.replay_limit,
            entered.call.ending_mut(),
        );
        Self {
            inner,
            readiness: Readiness::Ready,
            head: entered.head,
            extensions,
            next: recording.reader(),
            recording,
            decide,
            call: entered.call,
            route: entered.route,
            outermost: entered.is_outermost,
            telling,
            waiting: None,
            entry: None,
            elsewhere: None,
            state: State::preparing(Some(parts)),
        }
    }
}

impl<S, B, R, D> Future for Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    D: Decide<R, S::Error>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // There is one span for a call.
        if !self.outermost {
            let polled = self.as_mut().poll_in_span(cx);
            if polled.is_ready() {
                self.project().recording.end();
            }
            return polled;
        }
        let entered = self.as_mut().project().telling.enter();
        let polled = self.as_mut().poll_in_span(cx);
        let this = self.project();
        this.telling.exit(entered);
        if let Poll::Ready(result) = &polled {
            this.recording.end();
            let result = result.as_ref().map(Response::status);
            let result = result.map_err(|_| std::any::type_name::<S::Error>());
            let entry = *this.entry;
            this.telling.end(this.call, this.head, entry, Some(result));
        }
        polled
    }
}

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    D: Decide<R, S::Error>,
{
    fn poll_in_span(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<R>, S::Error>> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                StateProj::Preparing { .. } => {
                    if let Some(answer) = ready!(self.as_mut().poll_preparing(cx))? {
                        return Poll::Ready(Ok(answer));
                    }
                }
                StateProj::Calling { future, send } => {
                    let send = *send;
                    let result = ready!(future.poll(cx));
                    let answer = self.as_mut().take_in(send, result);
                    match self.as_mut().poll_inform(&answer, cx) {
                        Poll::Ready(()) => {
                            if let Some(result) = self.as_mut().judge(answer) {
                                return Poll::Ready(result);
                            }
                        }
                        Poll::Pending => {
                            let state = State::Judging {
                                answer: Some(answer),
                                timer: None,
                            };
                            self.as_mut().project().state.set(state);
                        }
                    }
                }
                StateProj::Judging { .. } => {
                    let answer = ready!(self.as_mut().poll_judging(cx));
                    if let Some(result) = self.as_mut().judge(answer) {
                        return Poll::Ready(result);
                    }
                }
                StateProj::Settling { settle } => {
                    let (call, entry) = (&*this.call, *this.entry);
                    ready!(settle.poll_settled(cx, || {
                        let error = AttemptError::of_type::<R::Error>();
                        telemetry::drain_failed(call, entry, &error);
                        if let Some(entry) = entry {
                            call.record_error(entry, error);
                        }
                    }));
                    this.state.set(State::preparing(None));
                }
                // Polled again after it was done.
                StateProj::Done => return Poll::Pending,
            }
        }
    }
}

// === impl State ===

impl<F, R, E> State<F, R, E> {
    fn preparing(first: Option<request::Parts>) -> Self {
        Self::Preparing { first, timer: None }
    }
}

/// `at + wait`, or a moment that does not come if that is past the end of the clock.
pub(crate) fn after(at: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    at.checked_add(wait).unwrap_or_else(|| at + FAR)
}
