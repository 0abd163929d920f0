//! What the outcome of an attempt says about its target.

use tokio::time::Instant;

use super::state::{FallbackStrategy, Next};
use crate::{
    call::Sent,
    fallback::targets::Targets,
    quota::Permit,
    rejection::{Bucket, Reason, Rejection},
    request::Cost,
    retry::Outcome,
    trail::{Action, Attempt, LayerKind},
};

/// What is recorded of an attempt, and when its response came.
enum Record {
    Nothing,
    Success(Instant),
    Rejection(Rejection, Instant),
    /// An inner layer had no key.
    WithoutKey(Rejection, Instant),
}

impl<P> FallbackStrategy<P> {
    /// Records the outcome of an attempt that the layer does not act on.
    pub(super) fn record<E>(&self, permit: Permit<Targets>, outcome: &Outcome<'_, E>) {
        let record = match outcome.rejection {
            Some(_) => Record::Nothing,
            None => self.record_of(outcome),
        };
        let reports = self.reports(outcome);
        outcome.complete(permit, |inner, it| {
            self.apply(
                &record,
                &reports,
                &mut inner.candidates,
                (it.scope, it.cost(), it.sent),
            );
        });
    }

    /// Records the outcome of an attempt; returns whether its target was limited, and what is next if the
    /// request may be sent again.
    pub(super) fn record_and_choose<E>(
        &mut self,
        permit: Option<Permit<Targets>>,
        may_retry: bool,
        outcome: &Outcome<'_, E>,
    ) -> (bool, Next) {
        let now = outcome.now();
        // The model may have become known only now.
        let permit = permit.or_else(|| self.permit_of_chosen(now));
        let record = permit.as_ref().map(|_| self.record_of(outcome));
        let is_limited = matches!(record, Some(Record::Rejection(..) | Record::WithoutKey(..)));
        let reports = self.reports(outcome);
        let mut end = None;
        if may_retry {
            self.tried.push(self.chosen);
            self.verify_model();
            end = self.max_wait(outcome.call, now);
        }
        let next = |targets: &mut Targets| match may_retry {
            true => self.next_target(targets, end, now),
            false => Next::Target,
        };
        let next = match (permit, record) {
            (Some(permit), Some(record)) => outcome.complete(permit, |inner, it| {
                let targets = &mut inner.candidates;
                self.apply(&record, &reports, targets, (it.scope, it.cost(), it.sent));
                next(targets)
            }),
            _ => self
                .policy
                .scheduler
                .with(|inner| next(&mut inner.candidates)),
        };
        (is_limited, next)
    }

    fn permit_of_chosen(&self, now: Instant) -> Option<Permit<Targets>> {
        let original = self.original.as_ref()?;
        original.model.as_ref()?;
        let id = self.target_id(original, self.chosen);
        let scheduler = &self.policy.scheduler;
        let permit = scheduler.acquire(now, |inner| {
            Ok::<_, ()>(inner.candidates.reserve_anyway(&id, self.demand(), now))
        });
        permit.ok()
    }

    fn apply(
        &self,
        record: &Record,
        reports: &[Bucket],
        targets: &mut Targets,
        (slot, cost, sent): (usize, Cost, Instant),
    ) {
        let longest_guess = self.policy.longest_guess;
        match record {
            Record::Nothing => {}
            Record::Success(at) => targets.succeeded(slot, (cost, reports), (sent, *at)),
            Record::Rejection(rejection, at) => {
                let reports = (cost, reports);
                targets.rejected(slot, rejection, reports, (sent, *at), longest_guess);
            }
            Record::WithoutKey(rejection, at) => {
                targets.was_without_key(slot, rejection, (sent, *at), longest_guess);
            }
        }
    }

    /// Returns what the response reports. The counts of a key that an inner layer has added are not those of
    /// the target.
    fn reports<E>(&self, outcome: &Outcome<'_, E>) -> Vec<Bucket> {
        let key = self.original.as_ref().and_then(|it| it.key.as_ref());
        let of_attempt = outcome.of_attempt(|attempt| match attempt.key.as_ref() == key {
            true => attempt.buckets.clone(),
            false => Vec::new(),
        });
        of_attempt.unwrap_or_default()
    }

    fn record_of<E>(&self, outcome: &Outcome<'_, E>) -> Record {
        match outcome.rejection {
            // A request that was too large says nothing about the next one. The key of one caller says
            // nothing about another's.
            Some(rejection) if rejection.reason != Reason::TooLarge && !rejection.is_denial() => {
                match self.was_without_key(outcome) && rejection.retry_after.is_none() {
                    true => Record::WithoutKey(rejection.clone(), outcome.now()),
                    false => Record::Rejection(rejection.clone(), outcome.now()),
                }
            }
            None if outcome.is_success() => Record::Success(outcome.now()),
            _ => match self.waited_out(outcome) {
                Some((rejection, at)) => Record::Rejection(rejection, at),
                None => Record::Nothing,
            },
        }
    }

    /// Returns whether an inner layer had no key for the attempt, so that the request may not have been sent.
    fn was_without_key<E>(&self, outcome: &Outcome<'_, E>) -> bool {
        let by_keys = |attempt: &Attempt| {
            let last = attempt.steps.last();
            last.is_some_and(|step| step.layer == LayerKind::KeyRotation)
        };
        outcome.of_attempt(by_keys).unwrap_or_default()
    }

    /// Returns the rejection that an inner layer was waiting out when a timeout between the layers cut it
    /// off. Also returns when that rejection came.
    fn waited_out<E>(&self, outcome: &Outcome<'_, E>) -> Option<(Rejection, Instant)> {
        outcome.result.err()?;
        outcome.of_sends(|sends| {
            let is_last = |send: &Sent| !sends.iter().any(|it| it.went_out_after(send));
            let last = sends.iter().filter(|send| is_last(send));
            last.filter_map(|send| self.wait_after(&send.attempt))
                .last()
        })
    }

    /// Returns the rejection that an inner layer waits out, and when it came.
    fn wait_after(&self, attempt: &Attempt) -> Option<(Rejection, Instant)> {
        let step = attempt.steps.last()?;
        let Action::Wait(_) = step.action else {
            return None;
        };
        // A pool waits for the key that frees first, which need not be the one that was rejected.
        let rejection = step.awaited.as_ref().or(attempt.rejection.as_ref())?;
        if !self.policy.retry_on.reasons.contains(&rejection.reason) {
            return None;
        }
        Some((rejection.clone(), attempt.rejected_at?))
    }
}
