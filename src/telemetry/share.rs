//! The log events and metrics of what processes share. The name of the share is the only label.

#[cfg(feature = "metrics")]
use super::names;
use crate::share::SharingEvent;

/// Logs and counts what has happened: a line at each change, and nothing for each exchange.
#[cfg_attr(
    not(any(feature = "tracing", feature = "metrics")),
    allow(unused_variables)
)]
pub(crate) fn share(name: &str, event: SharingEvent<'_>) {
    #[cfg(feature = "tracing")]
    match event {
        SharingEvent::Connected => {
            tracing::info!(target: "tower_429", share = name, "engine is there, limits are shared");
        }
        SharingEvent::Away(why) => tracing::warn!(
            target: "tower_429",
            share = name,
            error = why,
            "engine is away, each process takes its part of the limits"
        ),
        SharingEvent::Exchanged(_) | SharingEvent::Granted(..) | SharingEvent::Expired => {}
    }
    #[cfg(feature = "metrics")]
    count(name, event);
}

#[cfg(feature = "metrics")]
fn count(name: &str, event: SharingEvent<'_>) {
    let name = name.to_owned();
    match event {
        SharingEvent::Connected | SharingEvent::Away(_) => {
            let is_connected = event == SharingEvent::Connected;
            metrics::gauge!(target: "tower_429", names::SHARE_CONNECTED, "share" => name)
                .set(f64::from(u8::from(is_connected)));
        }
        SharingEvent::Exchanged(has_succeeded) => {
            let outcome = if has_succeeded { "succeeded" } else { "failed" };
            metrics::counter!(target: "tower_429", names::SHARE_EXCHANGES, "share" => name, "outcome" => outcome)
                .increment(1);
        }
        SharingEvent::Granted(unit, amount) => {
            metrics::counter!(target: "tower_429", names::SHARE_GRANTED, "share" => name, "unit" => unit.as_str())
                .increment(amount);
        }
        SharingEvent::Expired => {
            metrics::counter!(target: "tower_429", names::SHARE_EXPIRIES, "share" => name)
                .increment(1);
        }
    }
}
