//! The only file that names `tracing`; call sites name an event.

use crate::trail::{Action, Attempt, Layer};

/// A refusal, and what was done about it. Never a key, a body or an address.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(crate) fn refusal(layer: Layer, attempt: &Attempt, action: Action) {
    #[cfg(feature = "tracing")]
    {
        use crate::refusal::Reason;

        let reason = attempt.refusal.as_ref().map(|refusal| refusal.reason);
        let wait = match action {
            Action::Wait(wait) => Some(tracing::field::debug(wait)),
            _ => None,
        };
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: "tower_429",
                    layer = layer.as_str(),
                    attempt = attempt.number,
                    status = attempt.status.map(|status| status.as_u16()),
                    reason = reason.map(tracing::field::debug),
                    hint = attempt
                        .refusal
                        .as_ref()
                        .and_then(|refusal| refusal.retry_after)
                        .map(tracing::field::debug),
                    wait,
                    key = attempt.key.as_deref(),
                    model = attempt.model.as_deref(),
                    target_name = attempt.target.as_deref(),
                    "{}",
                    message(action)
                )
            };
        }
        // What the caller gets, and what only a person can mend, is a warning; the rest is the layers at work.
        let for_a_person = matches!(reason, Some(Reason::KeyRejected | Reason::QuotaExhausted));
        match action {
            Action::Return(_) => event!(warn),
            _ if for_a_person => event!(warn),
            _ => event!(info),
        }
    }
}

#[cfg(feature = "tracing")]
fn message(action: Action) -> String {
    match action {
        Action::Wait(_) => "limited; waiting".into(),
        Action::NextKey => "limited; asking with the next key".into(),
        Action::NextTarget => "limited; asking the next target".into(),
        Action::Return(why) => format!("limited; handed to the caller: {why}"),
    }
}
