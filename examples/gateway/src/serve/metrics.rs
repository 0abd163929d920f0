//! What Prometheus gets: what the layers count, and what only the gateway knows.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter};
use axum::http::StatusCode;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tower_429::telemetry;

use super::upstream::Upstream;

/// The layers know what upstreams answered. An answer of the gateway's own, such as that for a deadline that
/// has passed, nobody else counts.
const ANSWERS: &str = "tower_429_gateway_answers_total";

/// Up to so many seconds each.
const WAITS: [f64; 7] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// For the whole process; whoever makes it installs it.
pub(crate) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let waits = Matcher::Full("tower_429_wait_seconds".into());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(waits, &WAITS)?;
    Ok(builder.build_recorder())
}

/// To be called once the recorder is installed.
pub(crate) fn describe() {
    telemetry::describe();
    describe_counter!(
        ANSWERS,
        Unit::Count,
        "Answers to callers, by their status; the upstream is empty where no route fits."
    );
}

pub(super) fn answered(upstream: Option<&Upstream>, status: StatusCode) {
    let upstream = upstream.map_or_else(String::new, |upstream| upstream.name.to_string());
    let status = status.as_str().to_owned();
    counter!(ANSWERS, "upstream" => upstream, "status" => status).increment(1);
}

/// The state of the keys as it is now, and everything that was counted.
pub(super) fn render(upstreams: &[Upstream], handle: &PrometheusHandle) -> String {
    for upstream in upstreams {
        upstream.pool.record_metrics(&upstream.name);
    }
    handle.render()
}

/// The recorder keeps each wait as it was until somebody looks; nobody may.
pub(crate) async fn tidy(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.run_upkeep();
    }
}
