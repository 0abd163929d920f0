//! What the layers did, for whoever runs them: log lines, spans and metrics.
//!
//! Each call is told by `tracing` (feature `tracing`, on by default) and counted by `metrics` (feature
//! `metrics`), and costs next to nothing where nobody listens. What is told:
//!
//! 1. A **span** for each call, made by the outermost layer: open from the request to the head of the
//!    answer, or until the call is dropped. Requests that carry clones of one [`Call`](crate::Call), as in
//!    a hedge around the layers, have a span each, and are counted as a call each.
//! 2. An **event** for each attempt, inside the span, from the layer that acts on it: `INFO` while the
//!    layers are at work, `WARN` for what reaches the caller or needs a person, `DEBUG` for the last
//!    attempt if there was nothing to act on.
//! 3. **Metrics**, once for each call, attempt, action and wait.
//!
//! Keys are named by their labels, and in metrics not at all. Bodies, paths, queries and headers are
//! never told. What follows is the output of one call over two keys and two models, of which the
//! first key was limited for two seconds, the second for an hour, and then both; it is the same stack
//! as in the README.
//!
//! # Log lines
//!
//! By `tracing_subscriber::fmt`, without the time; where there is no subscriber, tracing's feature `log`
//! writes the events to the crate `log`:
//!
//! ```text
//!  INFO POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443}: limited; asking with the next key layer="key_rotation" attempt=1 status=429 reason=RateLimited hint=2s key="alpha" model="large"
//!  INFO POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443}: limited; waiting layer="backoff" attempt=2 status=429 reason=RateLimited hint=3600s wait=1.999s key="beta" model="large"
//!  INFO POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443}: limited; asking the next target layer="fallback" attempt=3 status=429 reason=RateLimited hint=3600s key="alpha" model="large"
//! DEBUG POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443}: answered attempt=4 status=200 key="alpha" model="small" target_name="small"
//! ```
//!
//! The event of an attempt that ended in an error has the kind of the error. If a layer of the stack has
//! `on_error`, it has the message too, with those of all sources; URLs in it are cut down to their origin,
//! and [credentials](crate::trail::AttemptError) are removed:
//!
//! ```text
//!  INFO POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443}: failed; waiting layer="backoff" attempt=1 error_kind="ConnectionReset" error="client error (SendRequest): connection error: connection reset by peer (os error 104)" wait=1.2s key="alpha" model="large"
//! ```
//!
//! The event `discarded response failed while it was drained` (`DEBUG`) explains a lost connection.
//!
//! A call that is dropped has an event of its own. If its [deadline](crate::Call::deadline) was over, a timeout
//! around the layers has cut it, which is a `WARN`; else the caller has left, which is a `DEBUG`:
//!
//! ```text
//!  WARN POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443}: timed out during a send attempts=2 elapsed=30s waited=1.999s key="beta" model="large"
//! DEBUG POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443}: dropped by the caller before a send attempts=1 elapsed=1.2s key="alpha" model="large"
//! ```
//!
//! # The span
//!
//! It has the names of OpenTelemetry's conventions for HTTP clients, so that `tracing-opentelemetry`
//! makes a span of a client of it, with the events as its own. Where the client further in makes a span
//! for each request that it sends, as the convention has it, this one is their parent.
//!
//! ```text
//!  INFO POST{otel.kind="client" http.request.method="POST" server.address="api.example" server.port=443 tower_429.outcome="answered" tower_429.waited_seconds=1.999 http.request.resend_count=3 tower_429.key="alpha" tower_429.model="small" tower_429.target="small" http.response.status_code=200}: close
//! ```
//!
//! | field | what |
//! |---|---|
//! | name, `http.request.method` | the method; one that is not of HTTP is `HTTP`, `_OTHER` |
//! | `server.address`, `server.port` | where the caller sent it; fallback may have asked elsewhere |
//! | `http.request.resend_count` | how many sends followed the first, if any |
//! | `http.response.status_code` | of the answer that the caller gets |
//! | `error.type`, `otel.status_code` | the status from 400 on, the type of the error, or `timeout` |
//! | `tower_429.outcome` | `answered`, `rejected`, `failed`, `timed_out` if the call was dropped once its [deadline](crate::Call::deadline) was over, else `dropped` |
//! | `tower_429.waited_seconds` | all waits together |
//! | `tower_429.key`, `.model`, `.target` | of the attempt whose outcome the caller gets |
//!
//! The target of spans and events is `tower_429`, their levels are `INFO` and as above.
//!
//! # To OpenTelemetry
//!
//! With the crates `opentelemetry`, `opentelemetry_sdk`, an exporter such as `opentelemetry-otlp`, and
//! `tracing-opentelemetry`, none of which this crate needs:
//!
//! ```ignore
//! use opentelemetry::trace::TracerProvider as _;
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder()
//!     .with_batch_exporter(exporter)
//!     .build();
//! let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("chat"));
//! tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans))?;
//! ```
//!
//! A call like the one above, as `opentelemetry-stdout` prints it; times, threads, places in the source and
//! the attributes of three events are left out:
//!
//! ```text
//!   Name         : POST
//!   TraceId      : 0af7651916cd43dd8448eb211c80319c
//!   SpanId       : 7e0a436d4884b0cb
//!   ParentSpanId : 1ff6c6d02954e180
//!   Kind         : Client
//!   Attributes:
//!      ->  http.request.method: String(Owned("POST"))
//!      ->  server.address: String(Owned("api.example"))
//!      ->  server.port: I64(443)
//!      ->  tower_429.outcome: String(Owned("answered"))
//!      ->  tower_429.waited_seconds: F64(1.11313881)
//!      ->  http.request.resend_count: I64(3)
//!      ->  tower_429.key: String(Owned("alpha"))
//!      ->  tower_429.model: String(Owned("small"))
//!      ->  tower_429.target: String(Owned("small"))
//!      ->  http.response.status_code: I64(200)
//!   Events:
//!   Event #0
//!   Name      : limited; asking with the next key
//!      ->  layer: String(Owned("key_rotation"))
//!      ->  attempt: I64(1)
//!      ->  status: I64(429)
//!      ->  reason: String(Owned("RateLimited"))
//!      ->  hint: String(Owned("1s"))
//!      ->  key: String(Owned("alpha"))
//!      ->  model: String(Owned("large"))
//!   Event #1
//!   Name      : limited; waiting
//!   Event #2
//!   Name      : limited; asking the next target
//!   Event #3
//!   Name      : answered
//! ```
//!
//! A service that was asked by somebody with a `traceparent` takes it over around its calls, so that the
//! span of each call is in the trace of the one who asked:
//!
//! ```ignore
//! let asked_by = opentelemetry_http::HeaderExtractor(request.headers());
//! let span = tracing::info_span!("chat");
//! span.set_parent(TraceContextPropagator::new().extract(&asked_by))?;
//! let response = client.oneshot(to_provider).instrument(span).await?;
//! ```
//!
//! # Metrics
//!
//! By `metrics-exporter-prometheus`, with buckets for the waits:
//!
//! ```text
//! # HELP tower_429_calls_total Calls by the program, by how they ended for it.
//! # TYPE tower_429_calls_total counter
//! tower_429_calls_total{host="api.example",outcome="answered"} 1
//!
//! # HELP tower_429_attempts_total Requests that were sent, by what came of them.
//! # TYPE tower_429_attempts_total counter
//! tower_429_attempts_total{host="api.example",target="own",outcome="rejected"} 3
//! tower_429_attempts_total{host="api.example",target="fallback",outcome="answered"} 1
//!
//! # HELP tower_429_rejections_total Answers that said "not now", by reason.
//! # TYPE tower_429_rejections_total counter
//! tower_429_rejections_total{host="api.example",reason="rate_limited"} 3
//!
//! # HELP tower_429_rotations_total Sends again with another key.
//! # TYPE tower_429_rotations_total counter
//! tower_429_rotations_total{host="api.example"} 1
//!
//! # HELP tower_429_fallbacks_total Sends again to another target.
//! # TYPE tower_429_fallbacks_total counter
//! tower_429_fallbacks_total{host="api.example"} 1
//!
//! # HELP tower_429_wait_seconds Waits before a send, once they are over.
//! # TYPE tower_429_wait_seconds histogram
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="1"} 0
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="10"} 1
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="60"} 1
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="+Inf"} 1
//! tower_429_wait_seconds_sum{host="api.example",layer="backoff"} 1.999
//! tower_429_wait_seconds_count{host="api.example",layer="backoff"} 1
//!
//! # HELP tower_429_keys Keys of a pool, by state when they were last looked at.
//! # TYPE tower_429_keys gauge
//! tower_429_keys{pool="openai",state="free"} 0
//! tower_429_keys{pool="openai",state="limited"} 2
//! tower_429_keys{pool="openai",state="on_cooldown"} 0
//! ```
//!
//! | label | values |
//! |---|---|
//! | `host` | of 64 hosts, the first that come; then `other`, and `none` for a request that names none |
//! | `outcome` | as in the span; of an attempt `answered`, `rejected` or `failed` |
//! | `reason` | `rate_limited`, `quota_exhausted`, `overloaded`, `key_rejected`, `too_large` |
//! | `target` | `own`, or `fallback` if another model or place than the request's own was asked |
//! | `layer` | who waited: `backoff`, `key_rotation`, `fallback` |
//! | `pool`, `state` | the name given to [`observe`]; a key is `free`, `limited` for some models, or `on_cooldown` for all |
//!
//! Hosts and models come from requests, and through a gateway from strangers, so the number of hosts is
//! bounded and no model is a label. `tower_429_replay_overflows_total` (host) counts the answers that were
//! handed on because the body was too large to be sent again. A wait is counted when it is over; one
//! that the caller cuts short by dropping the call is not.
//!
//! ```
//! use tower_429::{KeyPool, telemetry};
//!
//! // Once, after the recorder was installed:
//! telemetry::describe();
//! // Before each scrape, for the gauge of the keys:
//! # let pool = KeyPool::new(["sk-one"])?;
//! telemetry::observe("openai", &pool);
//! # Ok::<(), tower_429::key_rotation::PoolError>(())
//! ```

use std::time::Duration;

use http::StatusCode;

use crate::{
    call::{CallState, Head, SendId},
    clock,
    key_rotation::KeyPool,
    meter,
    trace::{self, CallSpan, Entered},
    trail::{Action, Attempt, AttemptError, LayerKind, StopReason},
};

/// Gives the recorder of the feature `metrics` the descriptions and units of all metrics; call it
/// once, after the recorder was installed.
///
/// It does nothing without the feature.
pub fn describe() {
    meter::describe();
}

/// Sets `tower_429_keys` to the state of a pool's keys at this moment; `name` is the label `pool`.
///
/// A cooldown ends by itself, when nobody calls, so a gauge that is set by calls alone would go on to
/// tell of it. Call this before each scrape, or as often as the exporter pushes. It does nothing
/// without the feature `metrics`.
pub fn observe(name: &str, pool: &KeyPool) {
    meter::observe(name, pool);
}

/// The telling of one call, by its outermost layer.
pub(crate) struct Telling(CallSpan);

/// How a call ended: a status, the name of the type of an error, or `None` if it was dropped.
type End = Option<Result<StatusCode, &'static str>>;

const ANSWERED: &str = "answered";
const REJECTED: &str = "rejected";
const FAILED: &str = "failed";
const TIMED_OUT: &str = "timed_out";
const DROPPED: &str = "dropped";

// === impl Telling ===

impl Telling {
    pub(crate) fn open(head: &Head) -> Self {
        Self(CallSpan::open(head))
    }

    /// The span must be left before the poll is over.
    pub(crate) fn enter(&mut self) -> Entered {
        self.0.enter()
    }

    pub(crate) fn exit(&mut self, entered: Entered) {
        self.0.exit(entered);
    }

    /// `entry` is the attempt that the outcome came of.
    pub(crate) fn end(mut self, call: &CallState, head: &Head, entry: Option<SendId>, end: End) {
        let is_refused = || {
            let of_entry =
                entry.and_then(|entry| call.of_entry(entry, |it| it.rejection.is_some()));
            of_entry == Some(true)
        };
        let outcome = match end {
            Some(Ok(_)) if is_refused() => REJECTED,
            Some(Ok(_)) => ANSWERED,
            Some(Err(_)) => FAILED,
            None => {
                let now = clock::now();
                let is_timed_out = call.is_timed_out(now);
                self.0.cut(call, entry, call.elapsed(now), is_timed_out);
                if is_timed_out { TIMED_OUT } else { DROPPED }
            }
        };
        meter::call(head.host(), outcome);
        let end = match outcome {
            TIMED_OUT => Some(Err("timeout")),
            _ => end,
        };
        self.0.close(call, entry, outcome, end);
    }
}

/// An attempt has its outcome, told by the innermost layer.
pub(crate) fn answered(call: &CallState, entry: SendId, host: Option<&str>) {
    let of_entry = call.of_entry(entry, |it| {
        let reason = it.rejection.as_ref().map(|rejection| rejection.reason);
        let outcome = match (it.status, reason) {
            (_, Some(_)) => REJECTED,
            (Some(_), None) => ANSWERED,
            (None, None) => FAILED,
        };
        (outcome, it.target.is_some(), reason)
    });
    if let Some((outcome, fell_back, reason)) = of_entry {
        meter::attempt(host, outcome, fell_back, reason);
    }
}

/// A layer acts on an attempt; its step is not in the trail yet.
pub(crate) fn acted(call: &CallState, entry: SendId, host: Option<&str>, action: Action) {
    let is_overflow = |action| action == Action::Return(StopReason::BodyTooLarge);
    match action {
        Action::NextKey => meter::rotation(host),
        Action::NextTarget => meter::fallback(host),
        action if is_overflow(action) => {
            let told = call.of_entry(entry, |it| {
                it.steps.iter().any(|step| is_overflow(step.action))
            });
            // Each layer of a stack says so, of one and the same body.
            if told == Some(false) {
                meter::overflow(host);
            }
        }
        Action::Wait(_) | Action::Return(_) => {}
    }
}

/// A layer has judged an attempt. There is one event for each: from the layer that acts on it, or from the
/// outermost, which has the telling of the call, if none does.
pub(crate) fn judged(
    call: &CallState,
    entry: SendId,
    layer: LayerKind,
    action: Option<Action>,
    outermost: Option<&Telling>,
) {
    match (action, outermost) {
        (Some(Action::Return(_)) | None, None) => {}
        // Nearly every answer is one that nobody acts on, nor listens to.
        (None, Some(telling)) if !telling.0.is_listened_to() => {}
        (Some(_), _) => trace::attempt(call, entry, layer, action),
        (None, Some(_)) => {
            let (by, action) = call.of_entry(entry, returned).flatten().unzip();
            trace::attempt(call, entry, by.flatten().unwrap_or(layer), action);
        }
    }
}

/// The body of a discarded response ended in an error.
pub(crate) fn drain_failed(call: &CallState, entry: Option<SendId>, error: &AttemptError) {
    trace::drain_failed(call, entry, error);
}

/// Why the attempt reaches the caller, and who says so; `None` if there was nothing to act on.
fn returned(attempt: &Attempt) -> Option<(Option<LayerKind>, Action)> {
    let steps = attempt.steps.iter().rev();
    let mut returned = steps.filter(|step| matches!(step.action, Action::Return(_)));
    match returned.next() {
        Some(step) => Some((Some(step.layer), step.action)),
        None if attempt.rejection.is_some() => Some((None, Action::Return(StopReason::NotCovered))),
        None => None,
    }
}

/// A layer has held a send back.
pub(crate) fn waited(layer: LayerKind, head: &Head, waited: Duration) {
    if !waited.is_zero() {
        meter::wait(layer, head.host(), waited);
    }
}
