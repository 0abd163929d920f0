//! The one state machine: prepare, send, judge, settle, send again. The layers differ only in what they decide.

mod decide;
mod settings;
mod settle;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, Request, Response,
    header::{self, Entry},
    request,
    uri::Authority,
};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::Service;

use crate::{
    call::Call,
    clock,
    refusal::{self, Bucket, Dialect, Refusal},
    replay::{NotReplayable, Recording, ReplayBody, RequestBody},
    telemetry::{self, Telling},
    trail::{Action, Why},
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

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: RequestBody,
    D: Decide<R, S::Error>,
{
    fn poll_prepare(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Prepared<R>> {
        let this = self.project();
        let draft = Draft {
            head: this.head,
            recording: this.recording,
            call: this.call,
            now: clock::now(),
        };
        this.decide.poll_prepare(&draft, cx)
    }

    /// Preparing => Preparing, at that moment.
    fn poll_until(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.waiting.get_or_insert_with(clock::now);
        let StateProj::Preparing { mut timer, .. } = this.state.project() else {
            return Poll::Ready(());
        };
        match timer.as_mut().as_pin_mut() {
            Some(timer) if timer.deadline() == at => {}
            Some(timer) => timer.reset(at),
            None => timer.set(Some(sleep_until(at))),
        }
        timer
            .as_pin_mut()
            .map_or(Poll::Ready(()), |timer| timer.poll(cx))
    }

    /// Preparing => Done: nothing is sent.
    fn answer(mut self: Pin<&mut Self>, why: Why, mut response: Response<R>) -> Response<R> {
        self.as_mut().end_wait();
        let mut this = self.project();
        this.state.set(State::Done);
        let refusal = response.extensions().get::<Refusal>();
        this.call.record_unsent(response.status(), refusal);
        let action = Action::Return(why);
        this.call.step(D::LAYER, action);
        if *this.outermost {
            telemetry::judged(this.call, D::LAYER, Some(action), true);
            response.extensions_mut().insert(this.call.trail());
        }
        response
    }

    /// What held the next send back is over.
    fn end_wait(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(since) = this.waiting.take() {
            let waited = clock::now().saturating_duration_since(since);
            this.call.add_wait(waited);
            telemetry::waited(D::LAYER, this.head, waited);
        }
    }

    /// Preparing => Calling
    fn send(mut self: Pin<&mut Self>) {
        self.as_mut().end_wait();
        let mut this = self.project();
        let prepared = this.state.as_mut().project_replace(State::Done);
        let StateOwned::Preparing { next, .. } = prepared else {
            return;
        };
        let mut head = this.head.clone();
        if let Some(extensions) = this.extensions.take() {
            head.extensions = extensions;
        }
        head.extensions.get_or_insert_with(|| this.call.clone());
        let body = match this.decide.change(&mut head, this.call) {
            Some(bytes) => {
                mend_length(&mut head.headers, bytes.len());
                ReplayBody::from(bytes)
            }
            None => next,
        };
        *this.before = this.call.outcomes();
        *this.authority = head.uri.authority().cloned();
        let request = Request::from_parts(head, B::from_replay(body));
        let future = this.inner.call(request);
        this.state.set(State::Calling { future });
    }

    /// Calling => Judging
    fn take_in(self: Pin<&mut Self>, mut result: Result<Response<R>, S::Error>) {
        let mut this = self.project();
        let host = this.authority.as_ref();
        let refusal = result
            .as_mut()
            .ok()
            .and_then(|response| read_refusal(response, host));
        let response = result.as_ref().ok();
        let is_new = this.call.record(
            *this.before,
            response.map(Response::status),
            refusal.as_ref(),
            || {
                response
                    .map(|response| read_buckets(response.headers(), host))
                    .unwrap_or_default()
            },
        );
        if is_new {
            telemetry::answered(this.call, host);
        }
        this.state.set(State::Judging {
            result,
            refusal,
            deadline: None,
        });
    }

    /// Judging => Settling | Done: the wait until the next send and its body, or `None` if the result
    /// is the caller's.
    fn poll_judge(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Again<B>>> {
        let this = self.project();
        let StateProj::Judging {
            result,
            refusal,
            mut deadline,
        } = this.state.project()
        else {
            return Poll::Ready(None);
        };
        let now = clock::now();
        let draft = Draft {
            head: this.head,
            recording: this.recording,
            call: this.call,
            now,
        };
        let mut outcome = Outcome {
            result: result.as_ref().map(Response::status),
            refusal: refusal.as_ref(),
            left: left(this.recording, this.call, now),
            call: this.call,
            before: *this.before,
            now,
        };
        if this.decide.poll_inform(&outcome, &draft, cx).is_pending() {
            if let (None, Ok(Some(left))) = (deadline.as_ref().get_ref(), outcome.left) {
                deadline.set(Some(sleep_until(after(now, left))));
            }
            match deadline.as_pin_mut() {
                Some(deadline) => ready!(deadline.poll(cx)),
                None => return Poll::Pending,
            }
        }
        // Made before the judgement, for the body may be found too large at any moment until then.
        let next = this.recording.reader();
        if next.is_none() {
            outcome.left = Err(why_once(this.recording));
        }
        let verdict = this.decide.judge(&outcome);
        let action = verdict.action();
        if let Some(action) = action {
            telemetry::acted(this.call, this.authority.as_ref(), action);
            this.call.step(D::LAYER, action);
        }
        if let Some(Action::Wait(_)) = action {
            *this.waiting = Some(now);
        }
        telemetry::judged(this.call, D::LAYER, action, *this.outermost);
        let again = verdict.wait().zip(next);
        if let (None, Ok(response)) = (&again, result) {
            if let Verdict::Exhausted(_, refusal) = verdict {
                response.extensions_mut().insert(refusal);
            }
            if *this.outermost {
                response.extensions_mut().insert(this.call.trail());
            }
        }
        Poll::Ready(again)
    }
}

/// How long to wait until the next send, and its body.
type Again<B> = (Duration, ReplayBody<<B as RequestBody>::Source>);

/// What is left until the deadline, if there is one, or why the request cannot be sent again.
fn left<B>(recording: &Recording<B>, call: &Call, now: Instant) -> Result<Option<Duration>, Why>
where
    B: Body<Data = Bytes> + Unpin,
{
    match recording.not_replayable() {
        Some(_) => Err(why_once(recording)),
        None => call.left(now),
    }
}

/// Why a recording has no body for another send.
fn why_once<B>(recording: &Recording<B>) -> Why
where
    B: Body<Data = Bytes> + Unpin,
{
    match recording.not_replayable() {
        Some(NotReplayable::BodyFailed) => Why::BodyFailed,
        Some(NotReplayable::TooLarge) | None => Why::BodyTooLarge,
    }
}

/// Describes a body of `length` bytes in place of the caller's.
///
/// hyper trusts a caller's `content-length`, so a stale one cuts the body short. The digests of the
/// old bytes are removed, as RFC 9530, section 6.5, asks of whoever changes content.
fn mend_length(headers: &mut HeaderMap, length: usize) {
    if let Entry::Occupied(mut entry) = headers.entry(header::CONTENT_LENGTH) {
        entry.insert(length.into());
    }
    for digest in ["content-digest", "content-md5", "digest", "repr-digest"] {
        headers.remove(digest);
    }
}

/// The refusal that a layer further in has left, or else what the head says; left for layers further out.
fn read_refusal<R>(response: &mut Response<R>, host: Option<&Authority>) -> Option<Refusal> {
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        return Some(refusal.clone());
    }
    let (status, headers) = (response.status(), response.headers());
    // Nearly every answer is a success: of that the head says no refusal.
    if status.as_u16() < 400 {
        return None;
    }
    let host = host.map(Authority::host);
    let refusal = Refusal::from_answer(host, status, headers, clock::wall())?;
    response.extensions_mut().insert(refusal.clone());
    Some(refusal)
}

fn read_buckets(headers: &HeaderMap, host: Option<&Authority>) -> Vec<Bucket> {
    if !Bucket::may_be_in(headers) {
        return Vec::new();
    }
    let host = host.map(Authority::host);
    refusal::buckets(headers, Dialect::guess(host, headers), clock::wall())
}

/// `at + wait`, or a moment that does not come if that is past the end of the clock.
pub(crate) fn after(at: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    at.checked_add(wait).unwrap_or_else(|| at + FAR)
}
