//! From the strategy's preparation to the send.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::{
    future::{Readiness, ResponseFuture, RetryState, StateProj},
    message::{describe_replaced, put},
    strategy::{Config, Prepare, RequestView, Strategy},
};
use crate::{
    call::{Action, CallContext, Step, StopReason, Trail},
    clock::{self, after},
    rejection::Rejection,
    replay::{ReplayBody, RequestBody},
    request::Origin,
    telemetry,
};

impl<S, B, R, C> ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    C: Config<Strategy: Strategy<R, S::Error>>,
{
    /// Preparing => Calling | Preparing. Returns a response if the strategy makes it and sends nothing.
    pub(super) fn poll_preparing(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Response<R>>, S::Error>> {
        let this = self.as_mut().project();
        this.strategy.settings().once.require_timer();
        let is_ready = *this.readiness == Readiness::Ready;
        this.request.begin(is_ready);
        match this.strategy.poll_prepare(this.request, cx) {
            Poll::Ready(Prepare::Send) if is_ready => self.send(),
            // The strategy prepares again once the service is ready, because other requests may have been
            // sent meanwhile.
            Poll::Ready(Prepare::Send) => ready!(self.poll_ready(cx))?,
            Poll::Ready(Prepare::WaitUntil(at)) => {
                self.as_mut().release_ready();
                let waiting = self.as_mut().project().waiting;
                waiting.get_or_insert_with(clock::now);
                ready!(self.poll_until(at, cx));
            }
            Poll::Ready(Prepare::Respond(why, response)) => {
                return Poll::Ready(Ok(Some(self.respond(why, response))));
            }
            Poll::Pending => {
                self.as_mut().release_ready();
                ready!(self.poll_deadline(cx));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut this = self.project();
        *this.readiness = Readiness::Polled;
        let ready = ready!(this.inner.poll_ready(cx));
        match &ready {
            Ok(()) => *this.readiness = Readiness::Ready,
            Err(_) => this.state.set(RetryState::Done),
        }
        Poll::Ready(ready)
    }

    /// Releases what the inner service may hold, because the call waits.
    fn release_ready(self: Pin<&mut Self>) {
        let this = self.project();
        if *this.readiness != Readiness::Unpolled {
            *this.inner = this.inner.clone();
            *this.readiness = Readiness::Unpolled;
        }
    }

    /// Ready when the deadline of the call, if there is one, has passed.
    pub(super) fn poll_deadline(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        match self.request.call.left(now) {
            Ok(Some(left)) => self.poll_until(after(now, left), cx),
            Ok(None) => Poll::Pending,
            // It has passed since the strategy was polled.
            Err(_) => Poll::Ready(()),
        }
    }

    fn poll_until(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let (StateProj::Preparing { mut timer, .. } | StateProj::Deciding { mut timer, .. }) =
            self.project().state.project()
        else {
            return Poll::Ready(());
        };
        match timer.as_mut().as_pin_mut() {
            Some(timer) if timer.deadline() == at => {}
            Some(timer) => timer.reset(at),
            None => timer.set(Some(sleep_until(at))),
        }
        let timer = timer.as_pin_mut();
        timer.map_or(Poll::Ready(()), |timer| timer.poll(cx))
    }

    /// Preparing => Done. Returns the strategy's own response.
    fn respond(self: Pin<&mut Self>, why: StopReason, mut response: Response<R>) -> Response<R> {
        let mut this = self.project();
        this.state.set(RetryState::Done);
        if let Some(since) = this.waiting.take() {
            finish_wait::<C, _>(since, this.request);
        }
        let (call, layer) = (&this.request.call, C::LAYER);
        let rejection = response.extensions().get::<Rejection>();
        let route = this.request.route.clone();
        let entry = call.record_unsent(this.request.parent, route, response.status(), rejection);
        *this.entry = Some(entry);
        let action = Action::Return(why);
        call.record_step(entry, Step::new(layer, action));
        telemetry::log_attempt(call, entry, layer, Some(action), this.recorder.as_ref());
        this.strategy.settings().on_attempt(call, entry);
        let trail = Trail::new(call.clone(), Some(entry));
        put(response.extensions_mut(), trail);
        response
    }

    /// Preparing => Calling
    fn send(self: Pin<&mut Self>) {
        let mut this = self.project();
        let request = this.request;
        if let Some(since) = this.waiting.take() {
            finish_wait::<C, _>(since, request);
        }
        let first = match this.state.as_mut().project() {
            StateProj::Preparing { first, .. } => first.take(),
            _ => None,
        };
        let Some(next) = this.next.take() else {
            return this.state.set(RetryState::Done);
        };
        let mut parts = first.unwrap_or_else(|| request.head.with(request.extensions.clone()));
        let mut route = request.route.clone();
        let rewritten = this.strategy.rewrite(&mut parts, &mut route, &request.call);
        let body = match rewritten {
            Some(bytes) => {
                describe_replaced(&mut parts.headers, bytes.len());
                ReplayBody::from(bytes)
            }
            None => next,
        };
        let send = request.call.open(request.parent, route);
        let context = CallContext {
            state: request.call.clone(),
            parent: Some(send),
            ending: this.ending.clone(),
        };
        put(&mut parts.extensions, context);
        let is_rerouted = !request.head.has_authority_of(&parts.uri);
        *this.rerouted_host = is_rerouted
            .then(|| Some(Origin::of(&parts.uri)?.host().into()))
            .flatten();
        let message = Request::from_parts(parts, B::from_replay(body));
        *this.readiness = Readiness::Unpolled;
        let future = this.inner.call(message);
        // The inner layers have the request now, and the client has not read its body yet.
        let replay_limit = request.call.mark_sent(send);
        request.recording.raise_limit(replay_limit);
        this.state.set(RetryState::Calling { future, send });
    }
}

/// Records the wait before a send.
fn finish_wait<C: Config, B: Body>(since: Instant, request: &RequestView<B>) {
    let waited = clock::now().saturating_duration_since(since);
    request.call.add_wait(waited);
    telemetry::record_wait(C::LAYER, &request.head, waited);
}
