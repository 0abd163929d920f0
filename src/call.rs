//! What stacked layers share about one call: its deadline, its sends, its trail.

mod log;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{StatusCode, request};
use tokio::time::Instant;

use crate::{
    head::Head,
    rejection::{Bucket, Rejection},
    replay::Ending,
    request::credentials::{Credential, CredentialLocation as Place, Placed},
    trail::{Action, Attempt, AttemptError, LayerKind, Step, StopReason, Trail},
};
use log::Log;
pub(crate) use log::{Route, SendId, Sends, Sent};

/// One request by the caller, however many sends it takes.
///
/// The outermost layer makes one by itself. Put one into the request's extensions to set limits of
/// this request alone, or to read the trail even when the call ends in an error:
///
/// ```
/// use std::time::Duration;
/// use tower_429::Call;
///
/// let call = Call::new().deadline(Duration::from_secs(30)).max_sends(4);
/// let request = http::Request::post("https://api.example/v1/chat/completions")
///     .extension(call.clone())
///     .body(String::from("{}"))?;
/// // ... send it ...
/// assert!(call.trail().attempts().is_empty(), "nothing was sent yet");
/// # Ok::<(), http::Error>(())
/// ```
///
/// A clone is the same call, so make a new one for each request. Requests that share a call, such as
/// those of a hedge, share its trail and what it may use up, and each keeps its own route. What a request
/// says of itself goes before what the layers say; among the layers the tightest setting holds.
#[derive(Clone)]
pub struct Call {
    shared: Arc<Mutex<State>>,
    /// The send of an outer layer by which the request that carries this went out; of a response, its entry
    /// in the trail. It is no part of what clones share: requests in flight at once have one each.
    under: Option<SendId>,
    /// The end of the request that an outer layer records while it streams. Requests that share a call end
    /// one by one, so this is no part of what clones share either.
    ending: Option<Ending>,
}

#[derive(Default)]
struct State {
    started: Option<Instant>,
    of_request: Limits,
    of_layers: Limits,
    without_fallback: bool,
    log: Log,
    waited: Duration,
    replay_limit: Option<u64>,
    /// The keys that were put on its requests.
    placed: Vec<Placed>,
    /// What the layers that are under way have kept; a trail that outlives them keeps no credentials.
    kept: Weak<Head>,
}

/// What a layer learns of the call of a request that comes to it.
pub(crate) struct Entered {
    pub(crate) call: Call,
    /// Whether it is the first layer to see this request.
    pub(crate) is_outermost: bool,
    pub(crate) head: Arc<Head>,
    /// The largest body that is kept: what the first layer says, for all share its recording.
    pub(crate) replay_limit: u64,
    /// The route that the outer layers have chosen for the request.
    pub(crate) route: Route,
}

/// In the extensions of a response whose body did not end in the time for it: no layer waits for it again.
#[derive(Clone, Copy)]
pub(crate) struct Stalled;

/// Timers count whole milliseconds, and the work between the start of two of them counts too.
const MOMENT: Duration = Duration::from_millis(2);

/// Beyond any call.
const FAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What a call may use up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_sends: Option<u32>,
}

/// The entry of the trail to which an answer belongs.
pub(crate) struct Recorded {
    pub(crate) entry: SendId,
    /// Whether this layer sent the request, and so has its outcome first.
    pub(crate) is_new: bool,
}

// === impl Call ===

impl Call {
    /// A call without limits of its own.
    pub fn new() -> Self {
        Self {
            shared: Arc::default(),
            under: None,
            ending: None,
        }
    }

    /// The time from the start of the call after which nothing is sent again, nor waited for.
    ///
    /// A send that is under way is not cut off; put a timeout around the stack for that. Nor is one that
    /// was decided on, for which the answer before was given away: what can be foreseen fits into the
    /// deadline, but a service further in that is long in getting ready, such as one behind a limit on
    /// concurrency, or a key that does not free as told, makes it late. Put such limits outside.
    ///
    /// A timeout has an error of its own, which the layers do not: theirs is the inner service's. Give it
    /// the length of the deadline. A call that is dropped once its deadline is over counts as `timed_out`
    /// and is logged as a warning; one that is dropped before counts as `dropped`.
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
    ///     .timeout(limit)                                 // cuts the send that is under way
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
    /// Start both at the same moment. For the deadline of one request use `tokio::time::timeout` around the
    /// call; a timeout that starts earlier, such as one that includes a queue, cuts before the deadline.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.lock().of_request.deadline = Some(deadline);
        self
    }

    /// The most sends that the whole stack may make; the first always goes out.
    #[must_use]
    pub fn max_sends(self, max_sends: u32) -> Self {
        self.lock().of_request.max_sends = Some(max_sends);
        self
    }

    /// Asks the request's own model at its own origin and nobody else, whatever the layers say.
    #[must_use]
    pub fn without_fallback(self) -> Self {
        self.lock().without_fallback = true;
        self
    }

    /// What happened so far.
    pub fn trail(&self) -> Trail {
        Trail(self.clone())
    }

    /// The trail, for the response to which this entry belongs.
    pub(crate) fn trail_at(&self, entry: SendId) -> Trail {
        Trail(self.under(entry))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call of a request that comes to a layer.
    pub(crate) fn enter(
        parts: &mut request::Parts,
        limits: Limits,
        replay_limit: u64,
        now: impl FnOnce() -> Instant,
    ) -> Entered {
        let call = match parts.extensions.get::<Self>() {
            Some(call) => call.clone(),
            None => {
                let call = Self::new();
                parts.extensions.insert(call.clone());
                call
            }
        };
        let mut state = call.lock();
        let under = call.under;
        let head = state.keep(parts);
        let route = match under {
            Some(send) => state.log.take_over(send),
            None => Route::to(head.origin.clone()),
        };
        state.started.get_or_insert_with(now);
        state.of_layers.tighten(limits);
        let replay_limit = *state.replay_limit.get_or_insert(replay_limit);
        drop(state);
        Entered {
            is_outermost: under.is_none(),
            call,
            head,
            replay_limit,
            route,
        }
    }

    pub(crate) fn is_without_fallback(&self) -> bool {
        self.lock().without_fallback
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let state = self.lock();
        let entries = state.log.entries();
        entries.map(|send| send.attempt.clone()).collect()
    }

    /// A layer is about to send the request on, by this route.
    pub(crate) fn open(&self, route: Route) -> SendId {
        self.lock().log.open(self.under, route)
    }

    /// The inner service has the request; it is in the trail from now on.
    pub(crate) fn goes_out(&self, send: SendId) {
        self.lock().log.goes_out(send);
    }

    /// This call, for the extensions of a request that goes out by this send.
    pub(crate) fn under(&self, send: SendId) -> Self {
        Self {
            shared: self.shared.clone(),
            under: Some(send),
            ending: self.ending.clone(),
        }
    }

    /// A key was put on a request.
    pub(crate) fn add_placed(&self, credential: &Arc<Credential>) {
        let mut state = self.lock();
        if !state.placed.iter().any(|placed| placed.is_of(credential)) {
            state.placed.push(Placed::new(credential));
        }
    }

    /// Where keys were put, which must not travel to another origin.
    pub(crate) fn placed(&self) -> Vec<Place> {
        let state = self.lock();
        let places = state.placed.iter().map(Placed::location);
        places.cloned().collect()
    }

    /// The keys that were put on its requests, for texts in which they must not be.
    pub(crate) fn keys(&self) -> Vec<Arc<Credential>> {
        let state = self.lock();
        state.placed.iter().filter_map(Placed::credential).collect()
    }

    /// What is left until the deadline, if there is one, or why nothing may be sent any more.
    pub(crate) fn left(&self, now: Instant) -> Result<Option<Duration>, StopReason> {
        let state = self.lock();
        let max_sends = state.of_request.max_sends.or(state.of_layers.max_sends);
        if max_sends.is_some_and(|most| state.log.sent() >= most as usize) {
            return Err(StopReason::SendsUsedUp);
        }
        match state.until_deadline(now) {
            Some(Duration::ZERO) => Err(StopReason::PastDeadline),
            left => Ok(left),
        }
    }

    /// Starts the time of the call, if no layer has done so.
    pub(crate) fn start(&self, now: impl FnOnce() -> Instant) {
        self.lock().started.get_or_insert_with(now);
    }

    /// Whether the deadline is over; a timer that cuts a call may have been started a moment before it.
    pub(crate) fn is_timed_out(&self, now: Instant) -> bool {
        let left = self.lock().until_deadline(now);
        left.is_some_and(|left| left <= MOMENT)
    }

    /// The time since the start of the call.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        let started = self.lock().started;
        started.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// The time to spend on the body of a response that may be discarded: `most`, or half of what is
    /// left until the deadline. The other half is for the next send, or for the caller.
    pub(crate) fn time_for_body(&self, most: Duration, now: Instant) -> Duration {
        let left = self.lock().until_deadline(now);
        left.map_or(most, |left| most.min(left / 2))
    }

    /// Records what came of a send. `answer` is the trail that the response has brought, if any.
    pub(crate) fn record(
        &self,
        send: SendId,
        answer: Option<&Trail>,
        status: Option<StatusCode>,
        rejection: Option<&Rejection>,
        told: impl FnOnce() -> Vec<Bucket>,
        now: impl FnOnce() -> Instant,
    ) -> Recorded {
        let of_this = |answer: &&Trail| Arc::ptr_eq(&answer.0.shared, &self.shared);
        let brought = answer.filter(of_this).and_then(|answer| answer.0.under);
        let mut state = self.lock();
        match state.log.entry_of(send, brought) {
            Some(entry) if entry != send => {
                let is_new = false;
                return Recorded { entry, is_new };
            }
            // It is this layer's own, or an inner layer has sent nothing.
            _ => {}
        }
        state.log.complete(send, |attempt| {
            attempt.status = status;
            attempt.rejection = rejection.cloned();
            attempt.told = told();
            attempt.rejected_at = rejection.map(|_| now());
        });
        Recorded {
            entry: send,
            is_new: state.log.get(send).is_some_and(|it| it.attempt.sent),
        }
    }

    /// Records the error in which a send ended. The first description with a text is kept.
    pub(crate) fn record_error(&self, entry: SendId, error: AttemptError) {
        let mut state = self.lock();
        if let Some(attempt) = state.log.attempt_mut(entry) {
            let known = attempt.error.as_ref();
            if known.is_none_or(|known| known.text.is_none()) {
                attempt.error = Some(error);
            }
        }
    }

    /// Records that a send was given up; the entry that says so, or the last of those that were made for it.
    pub(crate) fn record_given_up(&self, send: SendId) -> Option<SendId> {
        let mut state = self.lock();
        state.log.abandon(send);
        state.log.under_way(send).or(state.log.entry_of(send, None))
    }

    /// Adds to the trail that a layer answered in the provider's place.
    pub(crate) fn record_unsent(
        &self,
        route: Route,
        status: StatusCode,
        rejection: Option<&Rejection>,
    ) -> SendId {
        let mut state = self.lock();
        let entry = state.log.open(self.under, route);
        state.log.complete(entry, |attempt| {
            attempt.status = Some(status);
            attempt.rejection = rejection.cloned();
        });
        entry
    }

    /// Adds what a layer does about an outcome, and what it waits for, if that is another matter.
    pub(crate) fn step(
        &self,
        entry: SendId,
        layer: LayerKind,
        action: Action,
        awaited: Option<Rejection>,
    ) {
        let mut state = self.lock();
        if let Some(attempt) = state.log.attempt_mut(entry) {
            attempt.steps.push(Step {
                layer,
                action,
                awaited,
            });
        }
    }

    /// Whether Backoff has waited before a send of this call.
    pub(crate) fn has_backed_off(&self) -> bool {
        let state = self.lock();
        let mut steps = state.log.entries().flat_map(|send| &send.attempt.steps);
        steps.any(|step| step.layer == LayerKind::Backoff && matches!(step.action, Action::Wait(_)))
    }

    /// What `read` makes of an entry; it must not use the call.
    pub(crate) fn of_entry<T>(&self, entry: SendId, read: impl FnOnce(&Attempt) -> T) -> Option<T> {
        let state = self.lock();
        state.log.get(entry).map(|send| read(&send.attempt))
    }

    /// What `read` makes of all entries that belong to a send; it must not use the call.
    pub(crate) fn of_sends<T>(&self, send: SendId, read: impl FnOnce(Sends<'_>) -> T) -> T {
        read(self.lock().log.under(send))
    }

    /// How many requests went out.
    #[cfg(feature = "tracing")]
    pub(crate) fn sent(&self) -> usize {
        self.lock().log.sent()
    }

    /// The end of the outermost recording of the request, if there is one.
    pub(crate) fn ending_mut(&mut self) -> &mut Option<Ending> {
        &mut self.ending
    }

    /// Adds a wait that is over.
    pub(crate) fn add_wait(&self, waited: Duration) {
        let mut state = self.lock();
        state.waited = state.waited.saturating_add(waited);
    }

    /// How long the call was held back, all waits together.
    pub(crate) fn waited(&self) -> Duration {
        self.lock().waited
    }
}

impl Default for Call {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Call")
            .field("of_request", &state.of_request)
            .field("of_layers", &state.of_layers)
            .field("attempts", &state.log)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    /// What is left until the deadline, zero once it has passed; `None` if there is no deadline.
    fn until_deadline(&self, now: Instant) -> Option<Duration> {
        let deadline = self.of_request.deadline.or(self.of_layers.deadline)?;
        let started = self.started.unwrap_or(now);
        let left = deadline.saturating_sub(now.saturating_duration_since(started));
        // A deadline beyond the clock's range counts as absent, because adding it to an instant would overflow.
        (left <= FAR).then_some(left)
    }

    /// The head of a request: a layer's further out, if it came as that has sent it.
    fn keep(&mut self, parts: &request::Parts) -> Arc<Head> {
        let kept = self.kept.upgrade();
        kept.filter(|kept| kept.is_of(parts)).unwrap_or_else(|| {
            let head = Arc::new(Head::of(parts));
            self.kept = Arc::downgrade(&head);
            head
        })
    }
}

// === impl Limits ===

impl Limits {
    fn tighten(&mut self, other: Self) {
        self.deadline = tighter(self.deadline, other.deadline);
        self.max_sends = tighter(self.max_sends, other.max_sends);
    }
}

fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
