//! The state machine: prepare, send, decide, drain, prepare again.

use std::{
    any::type_name,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Extensions, Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::{
    drain::Drain,
    settings::CommonSettings,
    strategy::{Config, RequestView, Strategy},
};
use crate::{
    call::{AttemptError, CallContext, SendId},
    clock::{self, LazyNow},
    rejection::Rejection,
    replay::{Ending, Recording, ReplayBody, RequestBody},
    telemetry::{self, CallRecorder},
};

pin_project! {
    /// The future of [`Retry`](super::Retry).
    pub struct ResponseFuture<S, B, R, C>
    where
        S: Service<Request<B>>,
        B: RequestBody,
        C: Config,
    {
        pub(super) inner: S,
        pub(super) readiness: Readiness,
        pub(super) strategy: C::Strategy,
        pub(super) request: RequestView<B::Source>,
        // The body of the next send.
        pub(super) next: Option<ReplayBody<B::Source>>,
        pub(super) ending: Option<Ending>,
        // Only the outermost layer records the call.
        pub(super) recorder: Option<CallRecorder>,
        // When the wait before the next send began; `None` if there is no wait.
        pub(super) waiting: Option<Instant>,
        // The log entry of the last outcome.
        pub(super) entry: Option<SendId>,
        // The host of the last send, if the strategy has rerouted it. It identifies the provider, because the
        // same words mean different things at different providers.
        pub(super) rerouted_host: Option<Arc<str>>,
        #[pin]
        pub(super) state: RetryState<S::Future, R, S::Error>,
    }

    impl<S, B, R, C> PinnedDrop for ResponseFuture<S, B, R, C>
    where
        S: Service<Request<B>>,
        B: RequestBody,
        C: Config,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let request = this.request;
            if let StateProj::Calling { send, .. } = this.state.project() {
                *this.entry = request.call.record_abandoned(*send);
            }
            if let Some(recorder) = this.recorder.take() {
                recorder.end(&request.call, &request.head, *this.entry, None);
            }
        }
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum RetryState<F, R, E> {
        // => Calling | Done
        Preparing {
            // The caller's head, until the first send takes it.
            first: Option<request::Parts>,
            // Made when there is something to wait for.
            #[pin]
            timer: Option<Sleep>,
        },
        // => Deciding | Draining | Done
        Calling { #[pin] future: F, send: SendId },
        // => Draining | Done. The decision waits for the caller's upload, but not past the deadline.
        Deciding {
            completed: Option<Completed<R, E>>,
            #[pin]
            timer: Option<Sleep>,
        },
        // => Preparing
        Draining { #[pin] drain: Drain<R> },
        Done,
    }
}

/// How far the inner service is from being ready.
///
/// A ready service may hold a permit, and one that was polled may hold a place in a queue. So the layer
/// polls it only when the request can go out, and releases it if the call waits after all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Unpolled,
    Polled,
    Ready,
}

/// The outcome of one send.
pub(super) struct Completed<R, E> {
    pub(super) result: Result<Response<R>, E>,
    pub(super) rejection: Option<Rejection>,
    pub(super) send: SendId,
    /// The log entry to which the outcome belongs.
    pub(super) entry: SendId,
}

// === impl ResponseFuture ===

impl<S, B, R, C> ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
    B: RequestBody,
    C: Config,
{
    /// `inner` must be ready.
    pub(super) fn new(inner: S, request: Request<B>, config: Arc<C>) -> Self {
        let (parts, body) = request.into_parts();
        let CommonSettings {
            limits,
            replay_limit,
            counter,
            ..
        } = config.settings();
        let (context, entered) = CallContext::enter(&parts, *limits, *replay_limit, clock::now);
        if let Some(counter) = counter {
            context.state.add_counter(counter);
        }
        let mut ending = context.ending;
        let mut recording = Recording::new(body.into_replay(), entered.replay_limit, &mut ending);
        // A copy of no extensions costs nothing, and a copy of one as much as a copy of all headers.
        let is_inner = parts.extensions.get::<CallContext>().is_some();
        let extensions = match parts.extensions.len() - usize::from(is_inner) {
            0 => Extensions::new(),
            _ => parts.extensions.clone(),
        };
        let is_outermost = context.parent.is_none();
        Self {
            inner,
            readiness: Readiness::Ready,
            strategy: C::strategy(config),
            next: recording.reader(),
            ending,
            recorder: is_outermost.then(|| CallRecorder::open(&entered.head)),
            waiting: None,
            entry: None,
            rerouted_host: None,
            request: RequestView {
                head: entered.head,
                extensions,
                recording,
                call: context.state,
                route: entered.route,
                parent: context.parent,
                now: LazyNow::default(),
                is_ready: true,
            },
            state: RetryState::Preparing {
                first: Some(parts),
                timer: None,
            },
        }
    }
}

impl<S, B, R, C> Future for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    C: Config<Strategy: Strategy<R, S::Error>>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let recorder = self.as_mut().project().recorder;
        let span = recorder.as_mut().map(CallRecorder::enter);
        let polled = self.as_mut().poll_states(cx);
        let this = self.project();
        if let (Some(recorder), Some(span)) = (this.recorder.as_mut(), span) {
            recorder.exit(span);
        }
        if let Poll::Ready(result) = &polled {
            this.request.recording.end();
            if let Some(recorder) = this.recorder.take() {
                let result = result.as_ref().map(Response::status);
                let result = result.map_err(|_| type_name::<S::Error>());
                let (call, head) = (&this.request.call, &this.request.head);
                recorder.end(call, head, *this.entry, Some(result));
            }
        }
        polled
    }
}

impl<S, B, R, C> ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
    C: Config<Strategy: Strategy<R, S::Error>>,
{
    fn poll_states(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<R>, S::Error>> {
        loop {
            let mut this = self.as_mut().project();
            let done = match this.state.as_mut().project() {
                StateProj::Preparing { .. } => {
                    let response = ready!(self.as_mut().poll_preparing(cx))?;
                    response.map(Ok)
                }
                StateProj::Calling { future, send } => {
                    let send = *send;
                    let result = ready!(future.poll(cx));
                    let completed = self.as_mut().on_response(send, result);
                    match self.as_mut().poll_read_request(&completed, cx) {
                        Poll::Ready(()) => self.as_mut().decide(completed),
                        Poll::Pending => {
                            let state = RetryState::Deciding {
                                completed: Some(completed),
                                timer: None,
                            };
                            self.as_mut().project().state.set(state);
                            None
                        }
                    }
                }
                StateProj::Deciding { .. } => {
                    let completed = ready!(self.as_mut().poll_deciding(cx));
                    self.as_mut().decide(completed)
                }
                StateProj::Draining { drain } => {
                    let (call, entry) = (&this.request.call, *this.entry);
                    ready!(drain.poll_drained(cx, || {
                        let error = AttemptError::of_type::<R::Error>();
                        telemetry::drain_failed(call, entry, &error);
                        if let Some(entry) = entry {
                            call.record_error(entry, error);
                        }
                    }));
                    let (first, timer) = (None, None);
                    this.state.set(RetryState::Preparing { first, timer });
                    None
                }
                // Polled again after completion.
                StateProj::Done => return Poll::Pending,
            };
            if let Some(result) = done {
                return Poll::Ready(result);
            }
        }
    }
}

impl<S, B, R, C> fmt::Debug for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
    B: RequestBody,
    C: Config,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
