//! What the stacked layers share about one request.
//!
//! [`record`] is what they record of its sends.

mod record;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use tokio::time::Instant;

use super::{
    attempt::StopReason,
    budget::{Budget, Limits},
    cost::{CallCost, TokenCounter},
    head::Head,
    log::{Log, SendId},
    route::Route,
};
use crate::request::{
    Cost,
    credentials::{Credential, CredentialLocation, Placed},
};
pub(crate) use record::Recorded;

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

impl fmt::Debug for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().log.fmt(f)
    }
}
