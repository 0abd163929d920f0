//! What a layer decides. The state machine does the rest.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Response, request};
use http_body::Body;
use tokio::time::Instant;

use super::{message::ResponseHead, settings::CommonSettings};
use crate::{
    call::{
        Action, Attempt, CallState, Head, LayerKind, Priority, Route, SendId, Sends, Step,
        StopReason,
    },
    clock::LazyNow,
    quota::{Candidates, Demand, Scheduler},
    rejection::Rejection,
    replay::Recording,
    request::Cost,
};

/// A layer as the configuration of its service.
pub(crate) trait Config {
    /// The layer's name in the log.
    const LAYER: LayerKind;

    /// The type that decides about one request.
    type Strategy;

    fn strategy(config: Arc<Self>) -> Self::Strategy;

    fn settings(&self) -> &CommonSettings;
}

/// The decisions about one request.
pub(crate) trait Strategy<R, E> {
    /// The settings of its layer.
    fn settings(&self) -> &CommonSettings;

    /// Prepares the next send, which may take time, or makes a response in place of the inner service.
    ///
    /// The layer polls it until the request goes out. If it returns `Send` before the inner service is ready,
    /// the layer makes the service ready and polls it again. It is pending only while it reads the caller's
    /// upload. It is also polled when the deadline has passed.
    fn poll_prepare<B>(
        &mut self,
        _request: &RequestView<B>,
        _cx: &mut Context<'_>,
    ) -> Poll<Prepare<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        Poll::Ready(Prepare::Send)
    }

    /// Rewrites the request before a send, and the route that the outer layers have chosen for it. Returns a
    /// body that replaces the caller's, if the body changes too.
    fn rewrite(
        &mut self,
        _head: &mut request::Parts,
        _route: &mut Route,
        _call: &CallState,
    ) -> Option<Bytes> {
        None
    }

    /// Reads the parts of the request that the decision depends on, which may take time.
    fn poll_read_request<B>(
        &mut self,
        _outcome: &Outcome<'_, E>,
        _request: &RequestView<B>,
        _cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        Poll::Ready(())
    }

    /// The error as a trait object, if the layer knows that its type is an error type.
    fn as_error<'a>(&self, _error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        None
    }

    /// Decides about an outcome. It is called once for each, including successes.
    fn decide(&mut self, outcome: &Outcome<'_, E>) -> Decision;
}

/// The request as the caller gave it to the layer.
pub(crate) struct RequestView<B: Body> {
    pub(crate) head: Arc<Head>,
    /// For the sends after the first.
    pub(crate) extensions: Extensions,
    pub(crate) recording: Recording<B>,
    pub(crate) call: CallState,
    /// The route that the outer layers have chosen. Each send starts from it.
    pub(crate) route: Route,
    /// The outer layer's send that carries the request.
    pub(super) parent: Option<SendId>,
    pub(super) now: LazyNow,
    /// Whether the inner service is ready, so that the request goes out now if it is to be sent.
    pub(crate) is_ready: bool,
}

/// How the next send is prepared.
pub(crate) enum Prepare<R> {
    Send,
    /// Polled again at that time, or when woken before.
    WaitUntil(Instant),
    /// Nothing is sent; the caller gets this response.
    Respond(StopReason, Response<R>),
}

/// How an attempt ended, and what the call may still use.
pub(crate) struct Outcome<'a, E> {
    pub(crate) result: Result<ResponseHead<'a>, &'a E>,
    pub(crate) rejection: Option<&'a Rejection>,
    /// Why the body cannot be sent again, if it cannot.
    pub(super) not_replayable: Option<StopReason>,
    pub(crate) call: &'a CallState,
    /// The layer's send. Inner layers may have made several sends for it.
    pub(crate) send: SendId,
    /// The log entry to which the result belongs.
    pub(crate) entry: SendId,
    pub(super) now: &'a LazyNow,
}

pub(crate) enum Decision {
    /// The layer does not act on such an outcome.
    Ignore,
    Stop(StopReason),
    /// The layer returns the outcome, with this rejection in the response extensions for outer layers.
    StopWith(StopReason, Rejection),
    Retry {
        action: Action,
        wait: Duration,
        /// What the strategy itself waits for in [`Strategy::poll_prepare`], after `wait`.
        awaited: Option<Rejection>,
    },
}

// === impl RequestView ===

impl<B: Body> RequestView<B> {
    pub(crate) fn now(&self) -> Instant {
        self.now.now()
    }

    /// Whether no other layer is outside this one.
    pub(crate) fn is_outermost(&self) -> bool {
        self.parent.is_none()
    }

    /// Returns what the request costs; `None` if its body streams and has no length.
    ///
    /// The cost is precise if the tokens matter. Otherwise nothing is parsed: it is what the call knows
    /// already, or else an estimate by the length of the body.
    fn cost(&self, is_precise: bool) -> Option<Cost> {
        let body = self.recording.memory().filter(|_| is_precise);
        self.call.cost(&self.head, self.recording.length(), body)
    }

    /// Returns what the request takes from the limits of a scheduler. Its body is read for that if tokens may
    /// be limited, or if the request waits.
    pub(crate) fn demand<C: Candidates>(&self, scheduler: &Scheduler<C>, waits: bool) -> Demand {
        let is_precise = waits || scheduler.counts_tokens();
        let cost = self.cost(is_precise);
        let demand = scheduler.demand(cost, is_precise || self.call.has_precise_cost());
        match self.extensions.get() {
            Some(Priority::Background) => scheduler.in_background(demand),
            Some(Priority::Interactive) | None => demand,
        }
    }

    /// Begins a decision, which has a time of its own.
    pub(super) fn begin(&mut self, is_ready: bool) {
        self.now = LazyNow::default();
        self.is_ready = is_ready;
    }
}

// === impl Outcome ===

impl<E> Outcome<'_, E> {
    pub(crate) fn now(&self) -> Instant {
        self.now.now()
    }

    /// Reads the attempt to which the result belongs. `read` must not use the call.
    pub(crate) fn of_attempt<T>(&self, read: impl FnOnce(&Attempt) -> T) -> Option<T> {
        self.call.of_entry(self.entry, read)
    }

    /// Reads all attempts that were made for this send. `read` must not use the call.
    pub(crate) fn of_sends<T>(&self, read: impl FnOnce(Sends<'_>) -> T) -> T {
        self.call.of_sends(self.send, read)
    }

    /// Whether an inner layer has the request, and decides which sends are made for it.
    pub(crate) fn is_of_inner_layer(&self) -> bool {
        self.entry != self.send
    }

    /// Returns the time until the deadline, if there is one, or the reason why the request cannot be sent
    /// again.
    pub(crate) fn left(&self) -> Result<Option<Duration>, StopReason> {
        match self.not_replayable {
            Some(why) => Err(why),
            None => self.call.left(self.now()),
        }
    }

    /// Whether the provider served the request. A 200 may begin with an error, which is a rejection.
    pub(crate) fn is_success(&self) -> bool {
        self.rejection.is_none() && self.result.is_ok_and(|head| head.status.is_success())
    }
}

// === impl Decision ===

impl Decision {
    /// Sends again at once.
    pub(crate) fn retry(action: Action) -> Self {
        Self::Retry {
            action,
            wait: Duration::ZERO,
            awaited: None,
        }
    }

    /// Sends again after `wait`.
    pub(crate) fn retry_after(wait: Duration) -> Self {
        Self::Retry {
            action: Action::Wait(wait),
            wait,
            awaited: None,
        }
    }

    /// Sends again when the strategy lets it, which is expected after `wait`.
    pub(crate) fn queue(wait: Duration, awaited: Rejection) -> Self {
        Self::Retry {
            action: Action::Wait(wait),
            wait: Duration::ZERO,
            awaited: Some(awaited),
        }
    }

    /// What the layer does; `None` if it does not act on the outcome.
    pub(super) fn action(&self) -> Option<Action> {
        match self {
            Self::Ignore => None,
            Self::Stop(why) | Self::StopWith(why, _) => Some(Action::Return(*why)),
            Self::Retry { action, .. } => Some(*action),
        }
    }

    pub(super) fn step(&self, layer: LayerKind, action: Action) -> Step {
        let mut step = Step::new(layer, action);
        if let Self::Retry { awaited, .. } = self {
            step.awaited = awaited.clone();
        }
        step
    }
}
