//! What the pool learns from the attempts that were made with a key, those of layers further in too.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    attempt::Outcome,
    key_rotation::pool::{Lease, Want, denied_model, is_of_every_model},
    refusal::Refusal,
    trail::{Attempt, Layer},
};

/// An attempt, and what came of it.
struct Answer<'a> {
    attempt: &'a Attempt,
    refusal: Option<&'a Refusal>,
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

/// Tells the pool what became of a key; says what the last attempt was to it.
///
/// A layer further in may have made several attempts with it, may have asked another model, or have
/// taken it off. What a later attempt has shown to be over is not told.
pub(super) fn report<E>(lease: &Lease, want: &Want, outcome: &Outcome<'_, E>) -> Last {
    let carries = |attempt: &Attempt| {
        let key = attempt.key.as_ref();
        attempt.sent && key.is_some_and(|key| Arc::ptr_eq(key, lease.label()))
    };
    outcome.call.of_attempts(outcome.before, |attempts| {
        let mut answers = answers(attempts, outcome);
        let mut sent = lease.sent();
        let mut last = Last::Without;
        while let Some(answer) = answers.next() {
            let attempt = answer.attempt;
            last = match carries(attempt) {
                true => Last::Told,
                false => Last::Without,
            };
            match answer.refusal {
                Some(refusal) if carries(attempt) && refusal.another_key_helps() => {
                    let of_all = is_of_every_model(refusal);
                    let concerned = |attempt| carries(attempt) && (of_all || asks(attempt, want));
                    let mut later = answers.clone();
                    let is_over = later.any(|later| later.has_passed && concerned(later.attempt));
                    if concerned(attempt) && !is_over {
                        // What another model's answer tells is left is left of that.
                        let told = asks(attempt, want).then_some(&*attempt.told);
                        lease.refused(refusal, told.unwrap_or_default(), (sent, answer.at));
                        let model = want.model.as_ref();
                        if refusal.is_denial() && denied_model(refusal, model).is_none() {
                            last = Last::OfAnother;
                        }
                    } else {
                        last = Last::OfAnother;
                    }
                }
                None if answer.has_passed && carries(attempt) && asks(attempt, want) => {
                    lease.succeeded(&attempt.told, (sent, answer.at));
                }
                _ => {}
            }
            // What comes next went out after this was refused.
            sent = attempt.refused_at.map_or(sent, |at| at.max(sent));
        }
        last
    })
}

fn answers<'a, E>(
    attempts: &'a [Attempt],
    outcome: &'a Outcome<'_, E>,
) -> impl Iterator<Item = Answer<'a>> + Clone {
    let now = outcome.now();
    let last = attempts.len().saturating_sub(1);
    attempts.iter().enumerate().map(move |(index, attempt)| {
        // What the last answer means may have been read better by a layer between. It may also have been
        // cut off by one, or stand for all targets of a fallback.
        let by_fallback = |attempt: &Attempt| {
            let mut steps = attempt.steps.iter();
            steps.any(|step| step.layer == Layer::Fallback)
        };
        match index == last && outcome.result.is_ok() && !by_fallback(attempt) {
            true => Answer {
                attempt,
                refusal: outcome.refusal,
                has_passed: outcome.is_success(),
                at: now,
            },
            false => Answer {
                attempt,
                refusal: attempt.refusal.as_ref(),
                has_passed: attempt.refusal.is_none()
                    && attempt.status.is_some_and(|status| status.is_success()),
                at: attempt.refused_at.unwrap_or(now),
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
