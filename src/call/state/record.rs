//! What the stacked layers record of the sends of one request.

use http::StatusCode;
use tokio::time::Instant;

use super::CallState;
use crate::{
    call::{
        attempt::{Action, Attempt, LayerKind, Step},
        attempt_error::AttemptError,
        log::{SendId, Sends},
        route::Route,
    },
    rejection::{Bucket, NamedAccount, Rejection},
};

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
    pub(in crate::call) fn attempts(&self) -> Vec<Attempt> {
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
