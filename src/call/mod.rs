//! What stacked layers share about one request: its options, budget, log, route and head.

mod attempt;
mod attempt_error;
mod budget;
mod cost;
mod head;
mod log;
mod open_body;
mod priority;
mod route;
mod state;
mod trail;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Extensions, request};
use tokio::time::Instant;

use crate::{replay::Ending, request::Cost};
pub use attempt::{Action, Attempt, LayerKind, Progress, Step, StopReason};
pub use attempt_error::AttemptError;
pub(crate) use attempt_error::sources;
pub(crate) use budget::Limits;
pub use cost::CostRequest;
pub(crate) use cost::TokenCounter;
pub(crate) use head::Head;
pub(crate) use log::{SendId, Sends, Sent};
pub(crate) use open_body::{BodyGuards, OpenBody};
pub use priority::Priority;
pub(crate) use route::Route;
pub(crate) use state::{CallState, EnteredCall, Recorded};
pub use trail::Trail;

/// The options of one request, in its extensions.
///
/// A call is one request by the caller, however many sends it takes. An option that a request sets here
/// replaces the setting of the layers. Among the layers the tightest setting holds.
///
/// A call also keeps the [`Trail`] of the request that was sent with it last, so that it can be read
/// without a response:
///
/// ```
/// use std::{io, time::Duration};
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_429::{BackoffLayer, Call};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let broken = service_fn(|_: Request<String>| async {
///     Err::<Response<String>, _>(io::Error::from(io::ErrorKind::ConnectionReset))
/// });
/// let client = BackoffLayer::new().layer(broken);
///
/// let call = Call::new().deadline(Duration::from_secs(30)).max_sends(4);
/// let request = Request::post("https://api.example/v1/chat/completions")
///     .extension(call.clone())
///     .body(String::from("{}"))?;
/// assert!(client.oneshot(request).await.is_err());
/// assert_eq!(call.trail().attempts().len(), 1);
/// # Ok::<(), http::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones have the same options and keep the same trail. Two requests that carry clones of one call have
/// separate budgets and logs. So a call can be part of a template that is sent many times. A request that a
/// service *inside* the outermost layer sends twice, such as a hedge, is still one call.
#[derive(Clone, Debug, Default)]
pub struct Call {
    limits: Limits,
    cost: Option<Cost>,
    without_fallback: bool,
    last: Arc<Mutex<Trail>>,
}

/// What a layer stores in the extensions of a request that it sends, for the inner layers.
#[derive(Clone)]
pub(crate) struct CallContext {
    pub(crate) state: CallState,
    /// The outer layer's send that carries this request. Requests in flight at once have one each.
    pub(crate) parent: Option<SendId>,
    /// The end of the request whose upload an outer layer records.
    pub(crate) ending: Option<Ending>,
}

/// Marks a response whose body did not end in time, so that no layer waits for it again.
#[derive(Clone, Copy)]
pub(crate) struct Stalled;

// === impl Call ===

impl Call {
    /// Returns a call without limits of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time after which the layers neither send again nor begin a wait.
    ///
    /// It counts from when the outermost layer gets the request. A send in flight is not cancelled; put a
    /// timeout around the stack for that. A retry that has started is not cancelled either, because the
    /// previous response is already gone. An inner service that is slow to become ready, such as a
    /// concurrency limit, can therefore push a call past its deadline. Put such limits outside the layers.
    ///
    /// The layers have no error of their own, so only a timeout can fail the call. Give it the length of the
    /// deadline. A call that is dropped after its deadline counts as `timed_out` and is logged as a warning.
    /// A call that is dropped before its deadline counts as `dropped`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, Response};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn, timeout::error::Elapsed};
    /// use tower_429::{BackoffLayer, Call};
    ///
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # runtime.enable_time().start_paused(true).build()?.block_on(async {
    /// let silent = service_fn(|_: Request<String>| {
    ///     std::future::pending::<Result<Response<String>, std::io::Error>>()
    /// });
    /// let limit = Duration::from_secs(30);
    /// let client = ServiceBuilder::new()
    ///     .timeout(limit)                                 // cancels the send in flight
    ///     .layer(BackoffLayer::new().deadline(limit))     // begins no wait that does not fit
    ///     .service(silent);
    /// let call = Call::new();
    /// let request = Request::get("https://api.example/").extension(call.clone());
    /// let error = client.oneshot(request.body(String::new())?).await.unwrap_err();
    /// assert!(error.is::<Elapsed>());
    /// assert_eq!(call.trail().to_string(), "1. given up");
    /// # Ok::<(), http::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Start both at the same moment. For the deadline of one request, put `tokio::time::timeout` around the
    /// call. A timeout that starts earlier, such as one that includes a queue, ends before the deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Sets the most sends that the whole stack may make. The first send always goes out.
    #[must_use]
    pub fn max_sends(mut self, max_sends: u32) -> Self {
        self.limits.max_sends = Some(max_sends);
        self
    }

    /// Sets what the request costs. The layers then neither count its tokens nor estimate them.
    ///
    /// The cost is the same for all sends of the call, also if a fallback target has another tokenizer.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_429::{BackoffLayer, Call, Cost};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// # let provider = service_fn(|_: Request<String>| async {
    /// #     Ok::<_, std::io::Error>(Response::new(String::new()))
    /// # });
    /// let client = BackoffLayer::new().layer(provider);
    /// let call = Call::new().cost(Cost::new(1_200, 400));
    /// let request = Request::post("https://api.example/v1/chat/completions")
    ///     .extension(call.clone())
    ///     .body(String::from("{}"))?;
    /// assert_eq!(client.oneshot(request).await?.status(), 200);
    /// assert_eq!(call.trail().attempts()[0].cost, Some(Cost::new(1_200, 400)));
    /// assert_eq!(call.trail().to_string(), "1. 200 (about 1,600 tokens)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cost(mut self, cost: Cost) -> Self {
        self.cost = Some(cost);
        self
    }

    /// Sets what the request costs, all of it for the prompt: short for [`cost`](Self::cost).
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_429::{BackoffLayer, Call, Cost};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// # let provider = service_fn(|_: Request<String>| async {
    /// #     Ok::<_, std::io::Error>(Response::new(String::new()))
    /// # });
    /// let client = BackoffLayer::new().layer(provider);
    /// let call = Call::new().tokens(8_000);
    /// let request = Request::post("https://api.example/v1/embeddings")
    ///     .extension(call.clone())
    ///     .body(String::from("{}"))?;
    /// assert_eq!(client.oneshot(request).await?.status(), 200);
    /// assert_eq!(call.trail().attempts()[0].cost, Some(Cost::new(8_000, 0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tokens(self, tokens: u64) -> Self {
        self.cost(Cost::new(tokens, 0))
    }

    /// Sends the request only with its own model and to its own origin, whatever the layers allow.
    #[must_use]
    pub fn without_fallback(mut self) -> Self {
        self.without_fallback = true;
        self
    }

    /// Returns what has happened so far to the request that was sent last with this call or a clone.
    pub fn trail(&self) -> Trail {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Starts the state of a request that carries this call.
    fn start(&self) -> CallState {
        let state = CallState::new(self.limits, self.cost, self.without_fallback);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Trail::new(state.clone(), None);
        state
    }
}

// === impl CallContext ===

impl CallContext {
    /// Adds a layer to the call of a request. The outermost layer makes the state of the call.
    pub(crate) fn enter(
        parts: &request::Parts,
        limits: Limits,
        replay_limit: u64,
        now: impl FnOnce() -> Instant,
    ) -> (Self, EnteredCall) {
        let context = Self::of(&parts.extensions);
        let state = &context.state;
        let entered = state.enter(context.parent, parts, limits, replay_limit, now);
        (context, entered)
    }

    /// Starts the time of the call, if the request carries a call and no layer has started it.
    pub(crate) fn start(
        extensions: &mut Extensions,
        now: impl FnOnce() -> Instant,
    ) -> Option<CallState> {
        if extensions.get::<Self>().is_none() {
            extensions.get::<Call>()?;
            extensions.insert(Self::of(extensions));
        }
        let state = extensions.get::<Self>()?.state.clone();
        state.start(now);
        Some(state)
    }

    fn of(extensions: &Extensions) -> Self {
        match extensions.get::<Self>() {
            Some(context) => context.clone(),
            None => Self {
                state: extensions
                    .get::<Call>()
                    .map(Call::start)
                    .unwrap_or_default(),
                parent: None,
                ending: None,
            },
        }
    }
}
