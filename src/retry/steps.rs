//! What the machine does in each state.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    Extensions, HeaderMap, Request, Response,
    header::{self, Entry},
};
use http_body::Body;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::{Answer, Attempts, Decide, Draft, Prepared, Readiness, State, StateProj, after};
use crate::{
    call::{Recorded, SendId},
    clock::{self, Moment},
    head::Head,
    origin::Origin,
    rejection::{self, Bucket, Provider, Rejection},
    replay::{ReplayBody, RequestBody},
    telemetry,
    trail::{Action, AttemptError, StopReason, Trail},
};

impl<S, B, R, D> Attempts<S, B, R, D>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    D: Decide<R, S::Error>,
{
    /// Preparing => Calling, or on with it; the answer if nothing is sent.
    pub(super) fn poll_preparing(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Response<R>>, S::Error>> {
        match self.as_mut().poll_prepare(cx) {
            Poll::Ready(Prepared::Send) if self.readiness == Readiness::Ready => self.send(),
            // Then it is prepared once more, for meanwhile others may have gone before.
            Poll::Ready(Prepared::Send) => ready!(self.poll_ready(cx))?,
            Poll::Ready(Prepared::Later(at)) => {
                self.as_mut().let_go();
                self.as_mut().start_wait();
                ready!(self.poll_until(at, cx));
            }
            Poll::Ready(Prepared::Answer(why, response)) => {
                return Poll::Ready(Ok(Some(self.answer(why, response))));
            }
            Poll::Pending => {
                self.as_mut().let_go();
                ready!(self.poll_deadline(cx));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_prepare(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Prepared<R>> {
        let this = self.project();
        let draft = Draft {
            head: this.head,
            extensions: this.extensions,
            recording: this.recording,
            call: this.call,
            route: this.route,
            moment: &Moment::default(),
            is_ready: *this.readiness == Readiness::Ready,
        };
        this.decide.poll_prepare(&draft, cx)
    }

    /// Preparing => Preparing, once the service is ready, or Done if it fails.
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut this = self.project();
        *this.readiness = Readiness::Asked;
        let ready = ready!(this.inner.poll_ready(cx));
        match &ready {
            Ok(()) => *this.readiness = Readiness::Ready,
            Err(_) => this.state.set(State::Done),
        }
        Poll::Ready(ready)
    }

    /// Whatever the service holds to be ready is for others meanwhile.
    fn let_go(self: Pin<&mut Self>) {
        let this = self.project();
        if *this.readiness != Readiness::Unasked {
            *this.inner = this.inner.clone();
            *this.readiness = Readiness::Unasked;
        }
    }

    /// Ready when the deadline of the call, if it has one, is over.
    pub(super) fn poll_deadline(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        match self.call.left(now) {
            Ok(Some(left)) => self.poll_until(after(now, left), cx),
            Ok(None) => Poll::Pending,
            // It came since the decision was asked.
            Err(_) => Poll::Ready(()),
        }
    }

    /// Ready at that moment.
    fn poll_until(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let (StateProj::Preparing { mut timer, .. } | StateProj::Judging { mut timer, .. }) =
            self.project().state.project()
        else {
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
    fn answer(mut self: Pin<&mut Self>, why: StopReason, mut response: Response<R>) -> Response<R> {
        self.as_mut().end_wait();
        let mut this = self.project();
        this.state.set(State::Done);
        let rejection = response.extensions().get::<Rejection>();
        let entry = this
            .call
            .record_unsent(this.route.clone(), response.status(), rejection);
        *this.entry = Some(entry);
        let action = Action::Return(why);
        this.call.step(entry, D::LAYER, action, None);
        let outermost = this.outermost.then_some(&*this.telling);
        telemetry::judged(this.call, entry, D::LAYER, Some(action), outermost);
        put(response.extensions_mut(), this.call.trail_at(entry));
        response
    }

    /// The next send is held back from now on.
    fn start_wait(self: Pin<&mut Self>) {
        self.project().waiting.get_or_insert_with(clock::now);
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
        let first = match this.state.as_mut().project() {
            StateProj::Preparing { first, .. } => first.take(),
            _ => None,
        };
        let Some(next) = this.next.take() else {
            return this.state.set(State::Done);
        };
        let mut parts = first.unwrap_or_else(|| this.head.with(this.extensions.clone()));
        let mut route = this.route.clone();
        let body = match this.decide.change(&mut parts, &mut route, this.call) {
            Some(bytes) => {
                describe_replaced(&mut parts.headers, bytes.len());
                ReplayBody::from(bytes)
            }
            None => next,
        };
        let send = this.call.open(route);
        let carried = this.call.under(send);
        put(&mut parts.extensions, carried);
        let is_elsewhere = !this.head.is_for_authority_of(&parts.uri);
        *this.elsewhere = is_elsewhere
            .then(|| Some(Origin::of(&parts.uri)?.host().into()))
            .flatten();
        let request = Request::from_parts(parts, B::from_replay(body));
        *this.readiness = Readiness::Unasked;
        let future = this.inner.call(request);
        this.call.goes_out(send);
        this.state.set(State::Calling { future, send });
    }

    /// Calling => Done, until it is known what comes next.
    pub(super) fn take_in(
        self: Pin<&mut Self>,
        send: SendId,
        mut result: Result<Response<R>, S::Error>,
    ) -> Answer<R, S::Error> {
        let mut this = self.project();
        this.state.set(State::Done);
        let host = host(this.elsewhere, this.head);
        let rejection = result
            .as_mut()
            .ok()
            .and_then(|response| read_rejection(response, host));
        let response = result.as_ref().ok();
        let answer = response.and_then(|response| response.extensions().get::<Trail>());
        let Recorded { entry, is_new } = this.call.record(
            send,
            answer,
            response.map(Response::status),
            rejection.as_ref(),
            || {
                response
                    .map(|response| read_buckets(response.headers(), host))
                    .unwrap_or_default()
            },
            clock::now,
        );
        if is_new {
            telemetry::answered(this.call, entry, host);
        }
        if let Err(error) = &result {
            let error = match this.decide.as_error(error) {
                Some(error) => AttemptError::new::<S::Error>(error, this.head, this.call),
                None => AttemptError::of_type::<S::Error>(),
            };
            this.call.record_error(entry, error);
        }
        *this.entry = Some(entry);
        if let Ok(response) = &mut result {
            put(response.extensions_mut(), this.call.trail_at(entry));
        }
        Answer {
            result,
            rejection,
            send,
            entry,
        }
    }
}

/// As [`Extensions::insert`], which allocates also for a value that replaces one.
fn put<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: T) {
    match extensions.get_mut::<T>() {
        Some(there) => *there = value,
        None => drop(extensions.insert(value)),
    }
}

/// Where an attempt went.
pub(super) fn host<'a>(elsewhere: &'a Option<Arc<str>>, head: &'a Head) -> Option<&'a str> {
    elsewhere.as_deref().or_else(|| head.host())
}

/// What a caller says of the bytes of its body. RFC 9530, section 6.5, asks an intermediary that changes
/// content to remove digests.
const OF_THE_BYTES: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

/// Describes a body of `length` bytes in place of the caller's.
///
/// hyper trusts a caller's `content-length`, so a stale one cuts the body short.
fn describe_replaced(headers: &mut HeaderMap, length: usize) {
    if let Entry::Occupied(mut entry) = headers.entry(header::CONTENT_LENGTH) {
        entry.insert(length.into());
    }
    for name in OF_THE_BYTES {
        headers.remove(name);
    }
}

/// The rejection that a layer further in has left, or else what the head says; left for layers further out.
fn read_rejection<R>(response: &mut Response<R>, host: Option<&str>) -> Option<Rejection> {
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        return Some(rejection.clone());
    }
    let (status, headers) = (response.status(), response.headers());
    // Nearly every answer is a success: of that the head says no rejection.
    if status.as_u16() < 400 {
        return None;
    }
    let rejection = Rejection::from_answer(host, status, headers, clock::wall())?;
    response.extensions_mut().insert(rejection.clone());
    Some(rejection)
}

fn read_buckets(headers: &HeaderMap, host: Option<&str>) -> Vec<Bucket> {
    if !Bucket::may_be_in(headers) {
        return Vec::new();
    }
    rejection::buckets(headers, Provider::guess(host, headers), clock::wall())
}
