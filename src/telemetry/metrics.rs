//! The metrics of calls, attempts, waits and keys.

use std::time::Duration;

#[cfg(feature = "metrics")]
use super::{ANSWERED, hosts, names};
use crate::{rejection::Reason, request::Cost, trail::LayerKind};

#[cfg(feature = "metrics")]
macro_rules! count {
    ($name:expr, $($key:literal => $value:expr),*) => {
        count!(1; $name, $($key => $value),*)
    };
    ($more:expr; $name:expr, $($key:literal => $value:expr),*) => {
        metrics::counter!(target: "tower_429", $name, $($key => $value),*).increment($more)
    };
}

pub(crate) fn describe() {
    #[cfg(feature = "metrics")]
    {
        use super::names::*;
        use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

        let counters = [
            (CALLS, "Calls, by outcome."),
            (ATTEMPTS, "Requests that were sent, by outcome."),
            (
                TOKENS,
                "Tokens that sent requests were taken to cost, by outcome.",
            ),
            (REJECTIONS, "Rejected responses, by reason."),
            (ROTATIONS, "Retries with another key."),
            (FALLBACKS, "Retries with another target."),
            (
                OVERFLOWS,
                "Rejections that were returned because the request body is too large to be sent again.",
            ),
        ];
        for (name, text) in counters {
            describe_counter!(name, Unit::Count, text);
        }
        describe_histogram!(WAIT, Unit::Seconds, "Finished waits before a send.");
        describe_gauge!(
            KEYS,
            Unit::Count,
            "Keys of a pool, by their last recorded state."
        );
    }
}

/// Sets the gauge of a pool's keys, given as counts by state.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn keys(pool: &str, counts: [(&'static str, u32); 3]) {
    #[cfg(feature = "metrics")]
    for (state, count) in counts {
        metrics::gauge!(target: "tower_429", names::KEYS, "pool" => pool.to_owned(), "state" => state)
            .set(count);
    }
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn call(host: Option<&str>, outcome: &'static str) {
    #[cfg(feature = "metrics")]
    match host.and_then(hosts::known) {
        Some(host) if outcome == ANSWERED => count_one(&host.answered_calls),
        _ => count!(names::CALLS, "host" => label(host), "outcome" => outcome),
    }
}

/// Counts a send, and what it was taken to cost if its tokens were counted.
#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn attempt(
    host: Option<&str>,
    outcome: &'static str,
    fell_back: bool,
    (reason, cost): (Option<Reason>, Option<Cost>),
) {
    #[cfg(feature = "metrics")]
    {
        let target = if fell_back { "fallback" } else { "own" };
        let known = host.and_then(hosts::known);
        match known {
            Some(host) if outcome == ANSWERED && !fell_back => count_one(&host.answered_attempts),
            _ => {
                count!(names::ATTEMPTS, "host" => label(host), "target" => target, "outcome" => outcome)
            }
        }
        if let Some(cost) = cost.filter(|cost| cost.total() > 0) {
            count!(
                cost.total(); names::TOKENS,
                "host" => label(host), "target" => target, "outcome" => outcome
            );
        }
        if let Some(reason) = reason {
            count!(names::REJECTIONS, "host" => label(host), "reason" => reason_name(reason));
        }
    }
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn rotation(host: Option<&str>) {
    #[cfg(feature = "metrics")]
    count!(names::ROTATIONS, "host" => label(host));
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn fallback(host: Option<&str>) {
    #[cfg(feature = "metrics")]
    count!(names::FALLBACKS, "host" => label(host));
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn overflow(host: Option<&str>) {
    #[cfg(feature = "metrics")]
    count!(names::OVERFLOWS, "host" => label(host));
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn wait(layer: LayerKind, host: Option<&str>, waited: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!(
        target: "tower_429", names::WAIT, "host" => label(host), "layer" => layer.as_str()
    )
    .record(waited);
}

/// Counts one in a series of a counter that is already made.
#[cfg(feature = "metrics")]
fn count_one(series: &metrics::Key) {
    use metrics::{Level, Metadata};

    static METADATA: Metadata<'_> = Metadata::new("tower_429", Level::INFO, Some(module_path!()));
    metrics::with_recorder(|recorder| recorder.register_counter(series, &METADATA).increment(1));
}

#[cfg(feature = "metrics")]
fn label(host: Option<&str>) -> &'static str {
    match host {
        None => "none",
        Some(host) => hosts::known(host).map_or("other", |host| host.label),
    }
}

#[cfg(feature = "metrics")]
fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::RateLimited => "rate_limited",
        Reason::QuotaExhausted => "quota_exhausted",
        Reason::Overloaded => "overloaded",
        Reason::KeyRejected => "key_rejected",
        Reason::TooLarge => "too_large",
        Reason::Custom => "custom",
    }
}
