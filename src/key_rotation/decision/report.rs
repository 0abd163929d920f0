//! What the pool learns from the attempts that were made with a key, those of layers further in too.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    call::{Sends, Sent},
    key_rotation::pool::{Lease, Want, denied_model, is_of_every_model},
    rejection::Rejection,
    retry::Outcome,
    trail::{Attempt, LayerKind},
};

/// An attempt, and what came of it.
struct Answer<'a> {
    send: &'a Sent,
    rejection: Option<&'a Rejection>,
    has_passed: bool,
    at: Instant,
}

/// What the last attempt was to a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It went out without it.
    Without,
    /// The pool knows what came of it.
    Told,
    /// It concerns another model, or this request alone, and holds the key back for none of its calls.
    OfAnother,
}

/// Tells the pool what became of a key; says what the attempt was to it whose outcome the layer has got.
///
/// A layer further in may have made several attempts with it, may have asked another model, or have
/// taken it off. What an attempt that went out later has shown to be over is not told.
pub(super) fn report<E>(lease: &Lease, want: &Want, outcome: &Outcome<'_, E>) -> Last {
    let carries = |attempt: &Attempt| {
        let key = attempt.key.as_ref();
        attempt.sent && key.is_some_and(|key| Arc::ptr_eq(key, lease.label()))
    };
    outcome.of_sends(|sends| {
        let answers = || answers(sends, outcome);
        let mut last = Last::Without;
        for answer in answers() {
            let attempt = &answer.send.attempt;
            let mut this = match carries(attempt) {
                true => Last::Told,
                false => Last::Without,
            };
            match answer.rejection {
                Some(rejection) if carries(attempt) && rejection.another_key_helps() => {
                    let of_all = is_of_every_model(rejection);
                    let concerned = |attempt| carries(attempt) && (of_all || asks(attempt, want));
                    let mut later = answers().filter(|it| it.send.went_out_after(answer.send));
                    let is_over = later.any(|it| it.has_passed && concerned(&it.send.attempt));
                    if concerned(attempt) && !is_over {
                        // What another model's answer tells is left is left of that.
                        let told = asks(attempt, want).then_some(&*attempt.buckets);
                        let when = (sent(&answer, answers(), lease), answer.at);
                        lease.refused(rejection, told.unwrap_or_default(), when);
                        let model = want.model.as_ref();
                        if rejection.is_denial() && denied_model(rejection, model).is_none() {
                            this = Last::OfAnother;
                        }
                    } else {
                        this = Last::OfAnother;
                    }
                }
                None if answer.has_passed && carries(attempt) && asks(attempt, want) => {
                    let when = (sent(&answer, answers(), lease), answer.at);
                    lease.succeeded(&attempt.buckets, when);
                }
                _ => {}
            }
            if answer.send.id == outcome.entry {
                last = this;
            }
        }
        last
    })
}

/// The latest moment before which an attempt did not go out: when the key did, or when the last rejection
/// came that was known by then.
fn sent<'a>(
    answer: &Answer<'a>,
    answers: impl Iterator<Item = Answer<'a>>,
    lease: &Lease,
) -> Instant {
    let known = answers.filter(|it| answer.send.went_out_after(it.send));
    let rejected_at = known.filter_map(|it| it.send.attempt.rejected_at).max();
    rejected_at.map_or(lease.sent(), |at| at.max(lease.sent()))
}

fn answers<'a, E>(
    sends: Sends<'a>,
    outcome: &'a Outcome<'_, E>,
) -> impl Iterator<Item = Answer<'a>> {
    let now = outcome.now();
    let ended = sends.iter().filter(|send| !send.is_in_flight());
    ended.map(move |send| {
        let attempt = &send.attempt;
        // What this answer means may have been read better by a layer between. It may also have been cut
        // off by one, or stand for all targets of a fallback.
        let mut steps = attempt.steps.iter();
        let by_fallback = steps.any(|step| step.layer == LayerKind::Fallback);
        match send.id == outcome.entry && outcome.result.is_ok() && !by_fallback {
            true => Answer {
                send,
                rejection: outcome.rejection,
                has_passed: outcome.is_success(),
                at: now,
            },
            false => Answer {
                send,
                rejection: attempt.rejection.as_ref(),
                has_passed: attempt.rejection.is_none()
                    && attempt.status.is_some_and(|status| status.is_success()),
                at: attempt.rejected_at.unwrap_or(now),
            },
        }
    })
}

/// Whether an attempt asked for what the key was taken for; a fallback further in may have asked another
/// model.
fn asks(attempt: &Attempt, want: &Want) -> bool {
    match (&attempt.model, &want.model) {
        (Some(asked), Some(wanted)) => asked == wanted,
        // Its model has become known on the way.
        (Some(_), None) => attempt.target.is_none(),
        // Nobody has said that it is another.
        (None, _) => true,
    }
}
