//! What the stacked layers share about one request.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, request};
use tokio::time::Instant;

use super::{
    attempt::{Action, Attempt, LayerKind, Step, StopReason},
    attempt_error::AttemptError,
    budget::{Budget, Limits},
    cost::{CallCost, TokenCounter},
    head::Head,
    log::{Log, SendId, Sends},
    route::Route,
};
use crate::{
    rejection::{Bucket, NamedAccount, Rejection},
    request::{
        Cost,
        credentials::{Credential, CredentialLocation, Placed},
    },
};

/// The state of one request, however many sends it takes. A clone is a handle to the same state.
#[derive(Clone, Default)]
pub(crate) struct CallState(Arc<Mutex<CallData>>);

#[derive(Default)]
struct CallData {
    budget: Budget,
    without_fallback: bool,
    log: Log,
    waited: Duration,
    replay_limit: u64,
    cost: CallCost,
    /// The keys that were put on its requests.
    placed: Vec<Placed>,
    /// The head that the running layers keep. It is weak, so that a trail that outlives them holds no
    /// credentials.
    head: Weak<Head>,
}

/// What a layer reads of the call when it gets a request.
pub(crate) struct EnteredCall {
    pub(crate) head: Arc<Head>,
    /// The route that the outer layers have chosen for the request.
    pub(crate) route: Route,
    pub(crate) replay_limit: u64,
}

/// The log entry to which an outcome belongs.
pub(crate) struct Recorded {
    pub(crate) entry: SendId,
    /// Whether this layer sent the request, so that no inner layer has counted the outcome.
    pub(crate) is_new: bool,
    /// The largest replay limit of all layers that have seen the request.
    pub(crate) replay_limit: u64,
}

// === impl CallState ===

impl CallState {
    pub(super) fn new(limits: Limits, cost: Option<Cost>, without_fallback: bool) -> Self {
        let shared = CallData {
            budget: Budget::new(limits),
            cost: CallCost::new(cost),
            without_fallback,
            ..CallData::default()
        };
        Self(Arc::new(Mutex::new(shared)))
    }

    fn lock(&self) -> MutexGuard<'_, CallData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Adds a layer to the call. `parent` is the outer layer's send that carries the request.
    pub(super) fn enter(
        &self,
        parent: Option<SendId>,
        parts: &request::Parts,
        limits: Limits,
        replay_limit: u64,
        now: impl FnOnce() -> Instant,
    ) -> EnteredCall {
        let mut shared = self.lock();
        let kept = shared.head.upgrade().filter(|kept| kept.is_of(parts));
        let head = kept.unwrap_or_else(|| {
            let head = Arc::new(Head::of(parts));
            shared.head = Arc::downgrade(&head);
            head
        });
        shared.budget.start(now);
        shared.budget.tighten(limits);
        shared.replay_limit = shared.replay_limit.max(replay_limit);
        let route = match parent {
            Some(send) => shared.log.take_over(send),
            None => Route {
                original_origin: head.origin.clone(),
                ..Route::default()
            },
        };
        EnteredCall {
            head,
            route,
            replay_limit: shared.replay_limit,
        }
    }

    /// Starts the time of the call, unless a layer has already started it.
    pub(super) fn start(&self, now: impl FnOnce() -> Instant) {
        self.lock().budget.start(now);
    }

    pub(crate) fn is_without_fallback(&self) -> bool {
        self.lock().without_fallback
    }

    /// Returns the time until the deadline, if there is one, or the reason why no further send is allowed.
    pub(crate) fn left(&self, now: Instant) -> Result<Option<Duration>, StopReason> {
        let shared = self.lock();
        let max_sends = shared.budget.max_sends();
        if max_sends.is_some_and(|most| shared.log.sent() >= most as usize) {
            return Err(StopReason::SendsUsedUp);
        }
        match shared.budget.until_deadline(now) {
            Some(Duration::ZERO) => Err(StopReason::PastDeadline),
            left => Ok(left),
        }
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_timed_out(&self, now: Instant) -> bool {
        self.lock().budget.is_timed_out(now)
    }

    /// The time since the start of the call.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        self.lock().budget.elapsed(now)
    }

    /// The time to spend on the body of a response that may be discarded: `most`, or half of what is
    /// left until the deadline. The other half is for the next send, or for the caller.
    pub(crate) fn time_for_body(&self, most: Duration, now: Instant) -> Duration {
        let left = self.lock().budget.until_deadline(now);
        left.map_or(most, |left| most.min(left / 2))
    }

    /// Adds a wait that has ended.
    pub(crate) fn add_wait(&self, waited: Duration) {
        let mut shared = self.lock();
        shared.waited = shared.waited.saturating_add(waited);
    }

    /// How long the sends were held back, all waits together.
    pub(crate) fn waited(&self) -> Duration {
        self.lock().waited
    }

    /// Remembers a key that was put on a request.
    pub(crate) fn add_placed(&self, credential: &Arc<Credential>) {
        let mut shared = self.lock();
        if !shared.placed.iter().any(|placed| placed.is_of(credential)) {
            shared.placed.push(Placed::new(credential));
        }
    }

    /// Returns where keys were put, because they must not be sent to another origin.
    pub(crate) fn placed(&self) -> Vec<CredentialLocation> {
        let shared = self.lock();
        shared
            .placed
            .iter()
            .map(|it| it.location().clone())
            .collect()
    }

    /// Returns the keys that were put on requests, because no text of an error may contain them.
    pub(crate) fn keys(&self) -> Vec<Arc<Credential>> {
        let shared = self.lock();
        shared
            .placed
            .iter()
            .filter_map(Placed::credential)
            .collect()
    }
}

// The cost.
impl CallState {
    /// Adds the closure of a layer. Outer layers add theirs first.
    pub(crate) fn add_counter(&self, counter: &TokenCounter) {
        self.lock().cost.add_counter(counter);
    }

    /// Returns what the request costs; `None` if that is not known.
    ///
    /// With `body` the tokens are counted, once per call. Without it, what is known already is returned, or
    /// else an estimate by `length`.
    pub(crate) fn cost(
        &self,
        head: &Head,
        length: Option<u64>,
        body: Option<&Bytes>,
    ) -> Option<Cost> {
        if let Some(body) = body {
            let uncounted = self.lock().cost.uncounted();
            if let Some(uncounted) = uncounted {
                // The lock is not held, because a closure may read the trail of the call.
                let found = uncounted.count(head, body);
                self.lock().cost.record(found);
            }
        }
        self.lock().cost.known(&head.headers, length)
    }

    /// Whether the cost is more than an estimate by the length of the body.
    pub(crate) fn has_precise_cost(&self) -> bool {
        self.lock().cost.precise().is_some()
    }
}

// The log.
impl CallState {
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        let shared = self.lock();
        let entries = shared.log.entries().map(|send| send.attempt.clone());
        let numbered = (1..).zip(entries);
        numbered
            .map(|(number, attempt)| Attempt { number, ..attempt })
            .collect()
    }

    /// Adds a request that is about to go out by this route, under the outer layer's send `parent`.
    pub(crate) fn open(&self, parent: Option<SendId>, route: Route) -> SendId {
        self.lock().log.open(parent, route)
    }

    /// Records that the inner service has the request. The send is in the trail from now on. Returns the
    /// largest replay limit of all layers that have seen the request.
    pub(crate) fn mark_sent(&self, send: SendId) -> u64 {
        let mut shared = self.lock();
        shared.log.mark_sent(send);
        shared.replay_limit
    }

    /// Records the outcome of a send. `brought` is the entry that the response names, if it names one.
    pub(crate) fn record(
        &self,
        send: SendId,
        brought: Option<SendId>,
        status: Option<StatusCode>,
        rejection: Option<&Rejection>,
        limits: impl FnOnce() -> (Vec<Bucket>, Option<NamedAccount>),
        now: impl FnOnce() -> Instant,
    ) -> Recorded {
        let mut shared = self.lock();
        let replay_limit = shared.replay_limit;
        if let Some(entry) = shared.log.entry_of(send, brought).filter(|it| *it != send) {
            return Recorded {
                entry,
                is_new: false,
                replay_limit,
            };
        }
        // The outcome is that of this layer's own send, or the inner layers have sent nothing.
        shared.log.complete(send, |attempt| {
            attempt.status = status;
            attempt.rejection = rejection.cloned();
            (attempt.buckets, attempt.account) = limits();
            attempt.rejected_at = rejection.map(|_| now());
        });
        Recorded {
            entry: send,
            is_new: shared.log.get(send).is_some_and(|it| it.attempt.sent),
            replay_limit,
        }
    }

    /// Records the error in which a send ended. The first description with a text is kept.
    pub(crate) fn record_error(&self, entry: SendId, error: AttemptError) {
        let mut shared = self.lock();
        if let Some(attempt) = shared.log.attempt_mut(entry) {
            let known = attempt.error.as_ref();
            if known.is_none_or(|known| known.text.is_none()) {
                attempt.error = Some(error);
            }
        }
    }

    /// Records that a send was dropped in flight. Returns the entry that says so, or the last entry of
    /// that send.
    pub(crate) fn record_abandoned(&self, send: SendId) -> Option<SendId> {
        let mut shared = self.lock();
        shared.log.abandon(send);
        let in_flight = shared.log.in_flight(send);
        in_flight.or_else(|| shared.log.entry_of(send, None))
    }

    /// Adds a response that a layer made itself, without a send.
    pub(crate) fn record_unsent(
        &self,
        parent: Option<SendId>,
        route: Route,
        status: StatusCode,
        rejection: Option<&Rejection>,
    ) -> SendId {
        let mut shared = self.lock();
        let entry = shared.log.open(parent, route);
        shared.log.complete(entry, |attempt| {
            attempt.status = Some(status);
            attempt.rejection = rejection.cloned();
        });
        entry
    }

    /// Adds what a layer does about an outcome.
    pub(crate) fn record_step(&self, entry: SendId, step: Step) {
        if let Some(attempt) = self.lock().log.attempt_mut(entry) {
            attempt.steps.push(step);
        }
    }

    /// Whether Backoff has waited before a send of this call.
    pub(crate) fn has_backed_off(&self) -> bool {
        let shared = self.lock();
        let mut steps = shared.log.entries().flat_map(|it| &it.attempt.steps);
        steps.any(|step| step.layer == LayerKind::Backoff && matches!(step.action, Action::Wait(_)))
    }

    /// Reads an entry. `read` must not use the call, because the lock is held.
    pub(crate) fn of_entry<T>(&self, entry: SendId, read: impl FnOnce(&Attempt) -> T) -> Option<T> {
        self.lock().log.numbered(entry).map(read)
    }

    /// Reads all entries of a send. `read` must not use the call, because the lock is held.
    pub(crate) fn of_sends<T>(&self, send: SendId, read: impl FnOnce(Sends<'_>) -> T) -> T {
        read(self.lock().log.under(send))
    }

    /// How many requests went out.
    #[cfg(feature = "tracing")]
    pub(crate) fn sent(&self) -> usize {
        self.lock().log.sent()
    }
}

impl fmt::Debug for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().log.fmt(f)
    }
}
