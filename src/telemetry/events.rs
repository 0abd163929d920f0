//! The log events, one for each attempt. They never contain a key's secret, a body or an address.

use std::time::Duration;

#[cfg(feature = "tracing")]
use super::span::whole;
use crate::{
    call::{CallState, SendId},
    trail::{Action, AttemptError, LayerKind},
};
#[cfg(feature = "tracing")]
use crate::{
    rejection::Reason,
    trail::{Attempt, Progress},
};

/// Logs an attempt, and what a layer does about its outcome.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn attempt(call: &CallState, entry: SendId, layer: LayerKind, action: Option<Action>) {
    #[cfg(feature = "tracing")]
    {
        use std::cell::OnceCell;

        let reason = call.of_entry(entry, |it| Some(it.rejection.as_ref()?.reason));
        let reason = reason.flatten();
        // Only the macros check whether a subscriber wants the event. The copy is made only if one does.
        let copy = OnceCell::new();
        let copied = || call.of_entry(entry, Attempt::clone);
        let attempt = || copy.get_or_init(copied).as_ref();
        let wait = match action {
            Some(Action::Wait(wait)) => Some(wait),
            _ => None,
        };
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "tower_429",
                    attempt = attempt().map(|it| i64::from(it.number)),
                    status = attempt().and_then(|it| Some(i64::from(it.status?.as_u16()))),
                    retry_after_ms = attempt().and_then(|it| retry_after(it).filter(|_| wait.is_none())).map(millis),
                    wait_ms = wait.map(millis),
                    cost = attempt().and_then(rejected_cost),
                    key = attempt().and_then(|it| it.key.as_deref()),
                    model = attempt().and_then(|it| it.model.as_deref()),
                    target_name = attempt().and_then(|it| it.target.as_deref()),
                    error_kind = attempt().and_then(|it| Some(&*it.error.as_ref()?.kind)),
                    error = attempt().and_then(|it| it.error.as_ref()?.text.as_deref()),
                    "{}",
                    attempt().map_or_else(String::new, |it| message(it, layer, action))
                )
            };
        }
        // A person must see what the caller gets, and what only a person can fix; the rest is routine.
        let is_for_person = matches!(reason, Some(Reason::KeyRejected | Reason::QuotaExhausted));
        match action {
            None => event!(debug),
            Some(Action::Return(_)) => event!(warn),
            Some(_) if is_for_person => event!(warn),
            Some(_) => event!(info),
        }
    }
}

/// Logs that the call was dropped: by a timeout once its deadline was over, or by the caller.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn dropped(
    call: &CallState,
    entry: Option<SendId>,
    elapsed: Duration,
    is_timed_out: bool,
) {
    #[cfg(feature = "tracing")]
    {
        let last = entry.and_then(|entry| call.of_entry(entry, Attempt::clone));
        let last = || last.as_ref();
        // The send of an inner layer is abandoned right after this.
        let is_in_flight = |last: &Attempt| last.progress != Progress::Completed;
        let during = || match last().is_some_and(is_in_flight) {
            true => "during a send",
            false => "before a send",
        };
        let waited = || Some(call.waited()).filter(|waited| !waited.is_zero());
        macro_rules! event {
            ($level:ident, $what:literal) => {
                tracing::$level!(
                    target: "tower_429",
                    attempts = whole(call.sent()),
                    elapsed_ms = millis(elapsed),
                    waited_ms = waited().map(millis),
                    key = last().and_then(|it| it.key.as_deref()),
                    model = last().and_then(|it| it.model.as_deref()),
                    target_name = last().and_then(|it| it.target.as_deref()),
                    "{} {}",
                    $what,
                    during(),
                )
            };
        }
        match is_timed_out {
            true => event!(warn, "timed out"),
            false => event!(debug, "dropped by the caller"),
        }
    }
}

/// Logs that the body of a discarded response ended in an error, so its connection is not reused.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn drain_failed(call: &CallState, entry: Option<SendId>, error: &AttemptError) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "tower_429",
        attempt = entry.and_then(|entry| call.of_entry(entry, |it| i64::from(it.number))),
        error_kind = &*error.kind,
        "discarded response failed while it was drained"
    );
}

#[cfg(feature = "tracing")]
fn millis(time: Duration) -> i64 {
    whole(time.as_millis())
}

#[cfg(feature = "tracing")]
fn retry_after(attempt: &Attempt) -> Option<Duration> {
    attempt.rejection.as_ref()?.retry_after
}

/// Returns what a send was taken to cost that a limit on tokens has rejected.
#[cfg(feature = "tracing")]
fn rejected_cost(attempt: &Attempt) -> Option<i64> {
    let dimension = attempt.rejection.as_ref()?.dimension?;
    let cost = attempt.cost.filter(|_| dimension.is_of_tokens())?;
    Some(whole(cost.total()))
}

#[cfg(feature = "tracing")]
fn message(attempt: &Attempt, layer: LayerKind, action: Option<Action>) -> String {
    let reason = attempt.rejection.as_ref().map(|rejection| rejection.reason);
    let what = match (reason, attempt.status) {
        (Some(Reason::RateLimited), _) => "rate limited",
        (Some(Reason::Overloaded), _) => "overloaded",
        (Some(Reason::KeyRejected), _) => "key rejected",
        (Some(Reason::QuotaExhausted), _) => "credits spent",
        (Some(Reason::TooLarge), _) => "request too large",
        (Some(Reason::Custom), _) => "rejected by a custom condition",
        // A layer may be set to act on other statuses and errors.
        (None, Some(status)) if status.is_success() => "answered",
        (None, _) => "failed",
    };
    match action {
        None => what.into(),
        Some(Action::Wait(_)) => format!("{what}, waiting"),
        Some(Action::NextKey) => format!("{what}, next key"),
        Some(Action::NextTarget) => format!("{what}, next target"),
        Some(Action::Return(why)) => format!("{what}, returned by {}: {why}", layer.as_str()),
    }
}
