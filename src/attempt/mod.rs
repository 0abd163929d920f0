//! The one state machine: prepare, send, judge, settle, send again. The layers differ only in what they decide.

mod decide;
mod settings;
mod settle;
mod steps;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Extensions, Request, Response, request, uri::Authority};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::Service;

use crate::{
    call::Call,
    clock,
    refusal::Refusal,
    replay::{Recording, ReplayBody, RequestBody},
    telemetry::Telling,
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
        head: request::Parts,
        // The extensions of the request if there is nothing but the call in them: they go out with the
        // first send, and a copy would cost as much as one of all headers.
        extensions: Option<Extensions>,
        recording: Recording<B::Source>,
        decide: D,
        call: Call,
        outermost: bool,
        telling: Telling,
        // Since when the next send is held back.
        waiting: Option<Instant>,
        before: usize,
        // Where the attempt went: providers say the same thing with different words.
        authority: Option<Authority>,
        #[pin]
        state: State<S::Future, R, S::Error, ReplayBody<B::Source>>,
    }

    impl<S, B, R, D> PinnedDrop for Attempts<S, B, R, D>
    where
        S: Service<Request<B>>,
        B: RequestBody,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.telling.end(this.call, this.head, None);
        }
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<F, R, E, N> {
        // => Calling | Done. The service is ready.
        Preparing {
            next: N,
            // Made when there is something to wait for.
            #[pin]
            timer: Option<Sleep>,
        },
        // => Judging
        Calling { #[pin] future: F },
        // => Settling | Done
        Judging {
            result: Result<Response<R>, E>,
            refusal: Option<Refusal>,
            // The judgement may wait for the caller's upload, but not past the deadline.
            #[pin]
            deadline: Option<Sleep>,
        },
        // => Readying
        Settling { next: N, #[pin] settle: Settle<R> },
        // => Preparing | Done
        Readying { next: N },
        // Also what stands here while one state is made from another.
        Done,
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
        let (call, outermost) = Call::enter(&mut head, settings.limits, clock::now());
        let telling = match outermost {
            true => Telling::open(&head),
            false => Telling::none(),
        };
        let mut recording =
            Recording::new(body.into_replay(), call.replay_limit(settings.replay_limit));
        let state = match recording.reader() {
            Some(next) => State::Preparing { next, timer: None },
            None => State::Done,
        };
        let only_call = head.extensions.len() == 1;
        let extensions = only_call.then(|| std::mem::take(&mut head.extensions));
        Self {
            inner,
            head,
            extensions,
            recording,
            decide,
            before: call.outcomes(),
            call,
            outermost,
            telling,
            waiting: None,
            authority: None,
            state,
        }
    }
}

impl<S, B, R, D> Future for Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: RequestBody,
    R: Body,
    D: Decide<R, S::Error>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let entered = self.as_mut().project().telling.enter();
        let polled = self.as_mut().poll_in_span(cx);
        let this = self.project();
        this.telling.exit(entered);
        if let Poll::Ready(result) = &polled {
            let result = result.as_ref().map(Response::status);
            let result = result.map_err(|_| std::any::type_name::<S::Error>());
            this.telling.end(this.call, this.head, Some(result));
        }
        polled
    }
}

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>>,
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
                StateProj::Preparing { .. } => match ready!(self.as_mut().poll_prepare(cx)) {
                    Prepared::Send => self.as_mut().send(),
                    Prepared::Later(at) => ready!(self.as_mut().poll_until(at, cx)),
                    Prepared::Answer(why, response) => {
                        return Poll::Ready(Ok(self.answer(why, response)));
                    }
                },
                StateProj::Calling { future } => {
                    let result = ready!(future.poll(cx));
                    self.as_mut().take_in(result);
                }
                StateProj::Judging { .. } => {
                    let again = ready!(self.as_mut().poll_judge(cx));
                    let mut this = self.as_mut().project();
                    let judged = this.state.as_mut().project_replace(State::Done);
                    if let StateOwned::Judging { result, .. } = judged {
                        let Some((wait, next)) = again else {
                            return Poll::Ready(result);
                        };
                        let body = result.ok().map(Response::into_body);
                        let now = clock::now();
                        let settle = Settle::new(body, wait, this.call.left(now), now);
                        this.state.set(State::Settling { next, settle });
                    }
                }
                StateProj::Settling { settle, .. } => {
                    ready!(settle.poll(cx));
                    let settled = this.state.as_mut().project_replace(State::Done);
                    if let StateOwned::Settling { next, .. } = settled {
                        this.state.set(State::Readying { next });
                    }
                }
                StateProj::Readying { .. } => {
                    let ready = ready!(this.inner.poll_ready(cx));
                    let readied = this.state.as_mut().project_replace(State::Done);
                    ready?;
                    if let StateOwned::Readying { next } = readied {
                        this.state.set(State::Preparing { next, timer: None });
                    }
                }
                // Polled again after it was done.
                StateProj::Done => return Poll::Pending,
            }
        }
    }
}

/// `at + wait`, or a moment that does not come if that is past the end of the clock.
pub(crate) fn after(at: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    at.checked_add(wait).unwrap_or_else(|| at + FAR)
}
