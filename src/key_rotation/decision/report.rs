//! What the pool learns from the attempts that were made with a key, also by inner layers.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    call::{Sends, Sent},
    key_rotation::pool::{KeyRequest, KeyReservation, Keys, closes_nothing, is_of_every_model},
    quota::Inner,
    rejection::Rejection,
    retry::Outcome,
    trail::{Attempt, LayerKind},
};

/// An attempt that has ended.
struct Ended<'a> {
    send: &'a Sent,
    rejection: Option<&'a Rejection>,
    has_passed: bool,
    at: Instant,
}

/// What the last attempt was to the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It was sent without the key.
    Without,
    /// Its outcome was reported.
    Reported,
    /// It concerns another model, or this request alone, and holds the key back for no other call.
    OfAnother,
}

/// Reports what became of a key, and returns what the attempt was to it whose outcome the layer has.
///
/// An inner layer may have made several attempts with the key, have sent to another model, or have removed
/// the key. A rejection that a later success has shown to be over is not reported.
pub(super) fn report<E>(
    inner: &mut Inner<Keys>,
    reservation: &KeyReservation,
    request: &KeyRequest,
    outcome: &Outcome<'_, E>,
) -> Last {
    outcome.of_sends(|sends| report_all(inner, reservation, request, sends, outcome))
}

fn report_all<E>(
    inner: &mut Inner<Keys>,
    reservation: &KeyReservation,
    request: &KeyRequest,
    sends: Sends<'_>,
    outcome: &Outcome<'_, E>,
) -> Last {
    let label = reservation.candidate.label();
    let carries = |attempt: &Attempt| {
        let key = attempt.key.as_ref();
        attempt.sent && key.is_some_and(|key| Arc::ptr_eq(key, label))
    };
    let all = || ended(sends, outcome);
    let mut last = Last::Without;
    for this in all() {
        let attempt = &this.send.attempt;
        if let (Some(account), true) = (&attempt.account, carries(attempt)) {
            inner.candidates.named(reservation, account, this.at);
        }
        let mut role = match carries(attempt) {
            true => Last::Reported,
            false => Last::Without,
        };
        let is_for_model = is_for_requested_model(attempt, request);
        let when = || (sent(&this, all(), reservation.sent), this.at);
        match this.rejection {
            Some(rejection) if carries(attempt) && rejection.another_key_helps() => {
                let of_all = is_of_every_model(rejection);
                let concerned = |attempt| {
                    carries(attempt) && (of_all || is_for_requested_model(attempt, request))
                };
                let mut later = all().filter(|it| it.send.went_out_after(this.send));
                let is_over = later.any(|it| it.has_passed && concerned(&it.send.attempt));
                if concerned(attempt) && !is_over {
                    // What the response of another model reports is left of that model.
                    let reports = if is_for_model { &*attempt.buckets } else { &[] };
                    let keys = &mut inner.candidates;
                    keys.rejected(reservation, rejection, reports, when());
                    if closes_nothing(rejection, request.model.is_some()) {
                        role = Last::OfAnother;
                    }
                } else {
                    role = Last::OfAnother;
                }
            }
            None if this.has_passed && carries(attempt) && is_for_model => {
                let keys = &mut inner.candidates;
                keys.succeeded(reservation, &attempt.buckets, when());
            }
            _ => {}
        }
        if this.send.id == outcome.entry {
            last = role;
        }
    }
    last
}

/// Returns the latest moment before which an attempt was not sent: that of the key, or of the last rejection
/// that was known by then.
fn sent<'a>(this: &Ended<'a>, all: impl Iterator<Item = Ended<'a>>, with_key: Instant) -> Instant {
    let known = all.filter(|it| this.send.went_out_after(it.send));
    let rejected_at = known.filter_map(|it| it.send.attempt.rejected_at).max();
    rejected_at.map_or(with_key, |at| at.max(with_key))
}

fn ended<'a, E>(sends: Sends<'a>, outcome: &'a Outcome<'_, E>) -> impl Iterator<Item = Ended<'a>> {
    let now = outcome.now();
    let ended = sends.iter().filter(|send| !send.is_in_flight());
    ended.map(move |send| {
        let attempt = &send.attempt;
        // A layer between may have read this response better, have cut it off, or have answered for all
        // targets of a fallback.
        let mut steps = attempt.steps.iter();
        let by_fallback = steps.any(|step| step.layer == LayerKind::Fallback);
        match send.id == outcome.entry && outcome.result.is_ok() && !by_fallback {
            true => Ended {
                send,
                rejection: outcome.rejection,
                has_passed: outcome.is_success(),
                at: now,
            },
            false => Ended {
                send,
                rejection: attempt.rejection.as_ref(),
                has_passed: attempt.rejection.is_none()
                    && attempt.status.is_some_and(|status| status.is_success()),
                at: attempt.rejected_at.unwrap_or(now),
            },
        }
    })
}

/// Returns whether an attempt was for the model that the key was reserved for. An inner fallback may have
/// sent to another one.
fn is_for_requested_model(attempt: &Attempt, request: &KeyRequest) -> bool {
    match (&attempt.model, &request.model) {
        (Some(sent), Some(requested)) => sent == requested,
        // Its model has become known on the way.
        (Some(_), None) => attempt.target.is_none(),
        // Nothing says that it is another one.
        (None, _) => true,
    }
}
