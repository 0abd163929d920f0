//! The metrics for Prometheus: those of the layers, and one that only the gateway can count.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter};
use axum::http::StatusCode;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tower_429::telemetry;

use super::upstream::Upstream;

/// Counts the responses that callers get. The layers count only those of upstreams, not those of the gateway itself,
/// such as the 504 after a deadline.
const RESPONSES: &str = "tower_429_gateway_answers_total";

/// The upper bounds of the buckets, in seconds.
const WAITS: [f64; 7] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// Builds the recorder of the process. The caller installs it.
pub(crate) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let waits = Matcher::Full("tower_429_wait_seconds".into());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(waits, &WAITS)?;
    Ok(builder.build_recorder())
}

/// Describes the metrics to the installed recorder.
pub(crate) fn describe() {
    telemetry::describe();
    describe_counter!(
        RESPONSES,
        Unit::Count,
        "Responses to callers, by status. The upstream is empty if no route covers the path."
    );
}

pub(super) fn count_response(upstream: Option<&Upstream>, status: StatusCode) {
    let upstream = upstream.map_or_else(String::new, |upstream| upstream.name.to_string());
    let status = status.as_str().to_owned();
    counter!(RESPONSES, "upstream" => upstream, "status" => status).increment(1);
}

/// Returns the current state of the keys, and all counts.
pub(super) fn render(upstreams: &[Upstream], handle: &PrometheusHandle) -> String {
    for upstream in upstreams {
        upstream.pool.record_metrics(&upstream.name);
    }
    handle.render()
}

/// Compacts the recorder every five seconds. Otherwise it would keep every wait until the next scrape.
pub(crate) async fn tidy(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.run_upkeep();
    }
}
