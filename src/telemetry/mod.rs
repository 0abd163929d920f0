//! Log events, spans and metrics.
//!
//! The layers log through `tracing` (feature `tracing`, on by default) and count through `metrics` (feature
//! `metrics`). Both cost next to nothing without a subscriber or a recorder. There are:
//!
//! 1. A **span** for each call, made by the outermost layer. It is open from the request to the head of the
//!    response, or until the call is dropped. If several requests carry clones of one [`Call`](crate::Call),
//!    as with a hedge around the layers, each request has a span and counts as a call.
//! 2. An **event** for each attempt, inside the span, from the layer that acts on it. The level is `INFO` if
//!    a layer retries, and `DEBUG` if no layer acts. It is `WARN` if the caller gets a rejection, or if a
//!    person must act (rejected key, spent credits).
//! 3. **Metrics** for each call, attempt, retry and wait.
//!
//! Events and spans name keys by their labels. Metrics do not name keys. Bodies, paths, queries and headers
//! are never logged. The output below is that of one call over two keys and two models, with the stack of the
//! README. The first key is rate limited for two seconds, the second for an hour, then the first for an hour.
//!
//! # Log lines
//!
//! `tracing_subscriber::fmt` writes, without the time:
//!
//! ```text
//!  INFO POST{otel.kind="client" server.address="api.example"}: rate limited, next key attempt=1 status=429 retry_after_ms=2000 key="alpha" model="large"
//!  INFO POST{otel.kind="client" server.address="api.example"}: rate limited, waiting attempt=2 status=429 wait_ms=1999 key="beta" model="large"
//!  INFO POST{otel.kind="client" server.address="api.example"}: rate limited, next target attempt=3 status=429 retry_after_ms=3600000 key="alpha" model="large"
//! DEBUG POST{otel.kind="client" server.address="api.example"}: answered attempt=4 status=200 key="alpha" model="small" target_name="small"
//! ```
//!
//! If a limit on tokens has rejected the request, the delay is followed by the tokens that the request was taken
//! to [cost](crate::trail::Attempt::cost), for example `retry_after_ms=2000 cost=1600`.
//!
//! An event begins with what happened: `rate limited`, `overloaded`, `key rejected`, `credits spent`,
//! `request too large`, `failed` or `answered`. Without a subscriber, tracing's feature `log` writes the events
//! to the crate `log`.
//!
//! The event of an attempt that ends in an error has the kind of the error. If a layer of the stack has
//! `on_error`, the event also has the messages of the error and its sources. URLs in them are cut down to their
//! origin, and [credentials](crate::trail::AttemptError) are removed:
//!
//! ```text
//!  INFO POST{otel.kind="client" server.address="api.example"}: failed, waiting attempt=1 wait_ms=1200 key="alpha" model="large" error_kind="ConnectionReset" error="client error (SendRequest): connection error: connection reset by peer (os error 104)"
//! ```
//!
//! The event `discarded response failed while it was drained` (`DEBUG`) explains a lost connection.
//!
//! Three warnings are logged once, and say what to do:
//!
//! ```text
//! WARN 429 says nothing in its head, and its body was not read: put `InspectLayer` next to the client provider=Gemini
//! WARN provider rejects a key, the other keys serve on: replace the key, or remove it from the pool key="alpha"
//! WARN key shares its limits with another, so it adds no quota: declare such keys with `Key::group`, or use keys of separate accounts key="beta" with="alpha" source="inferred"
//! ```
//!
//! - The first is logged once for a layer. Some providers explain a 429 only in its body. Without the body, the
//!   layers take spent credits for a limit per minute.
//! - The second is logged once for a key, and again only if the key has worked in between. If the credits of a
//!   key are spent, the warning begins with `credits of a key are spent`.
//! - The third is logged once for a pool. Each further key that shares limits is an `INFO`. The field `source`
//!   is `named` if responses name their account, and `inferred` if their counts show it.
//!
//! A call that is dropped has an event of its own. After its [deadline](crate::Call::deadline) the event is a
//! `WARN`, because a timeout around the layers has cut the call off. Before it the event is a `DEBUG`,
//! because the caller has dropped the call:
//!
//! ```text
//!  WARN POST{otel.kind="client" server.address="api.example"}: timed out during a send attempts=2 elapsed_ms=30000 waited_ms=1999 key="beta" model="large"
//! DEBUG POST{otel.kind="client" server.address="api.example"}: dropped by the caller before a send attempts=1 elapsed_ms=1200 key="alpha" model="large"
//! ```
//!
//! # The span
//!
//! The span follows OpenTelemetry's conventions for HTTP clients, so `tracing-opentelemetry` makes a client
//! span of it, with the events as span events. It is the parent of the spans that an inner client makes for
//! each request. The fields that no log line needs are recorded when the span closes:
//!
//! ```text
//!  INFO POST{otel.kind="client" server.address="api.example" http.request.method="POST" server.port=443 tower_429.outcome="answered" tower_429.waited_seconds=1.999 http.request.resend_count=3 tower_429.key="alpha" tower_429.model="small" tower_429.target="small" http.response.status_code=200}: close
//! ```
//!
//! | field | value |
//! |---|---|
//! | name, `http.request.method` | the method; `HTTP` and `_OTHER` for a method that HTTP does not define |
//! | `server.address`, `server.port` | the host and port of the caller's request; fallback may send elsewhere |
//! | `http.request.resend_count` | the number of sends after the first, if any |
//! | `http.response.status_code` | the status of the response that the caller gets |
//! | `error.type`, `otel.status_code` | the status from 400 on, the type of the error, or `timeout` |
//! | `tower_429.outcome` | `answered`, `rejected`, `failed`, `timed_out` if the call was dropped after its [deadline](crate::Call::deadline), or else `dropped` |
//! | `tower_429.waited_seconds` | the sum of all waits |
//! | `tower_429.key`, `.model`, `.target` | those of the attempt whose outcome the caller gets |
//!
//! The target of spans and events is `tower_429`.
//!
//! # To OpenTelemetry
//!
//! This needs the crates `opentelemetry`, `opentelemetry_sdk`, `tracing-opentelemetry` and an exporter such as
//! `opentelemetry-otlp`. This crate depends on none of them:
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
//! A service can put the span of each call into the trace of its own caller. For this it takes over the
//! caller's `traceparent` around its calls:
//!
//! ```ignore
//! let parent = opentelemetry_http::HeaderExtractor(request.headers());
//! let span = tracing::info_span!("chat");
//! span.set_parent(TraceContextPropagator::new().extract(&parent))?;
//! let response = client.oneshot(to_provider).instrument(span).await?;
//! ```
//!
//! # Metrics
//!
//! `metrics-exporter-prometheus`, with buckets for the waits, writes:
//!
//! ```text
//! # HELP tower_429_calls_total Calls, by outcome.
//! # TYPE tower_429_calls_total counter
//! tower_429_calls_total{host="api.example",outcome="answered"} 1
//!
//! # HELP tower_429_attempts_total Requests that were sent, by outcome.
//! # TYPE tower_429_attempts_total counter
//! tower_429_attempts_total{host="api.example",target="own",outcome="rejected"} 3
//! tower_429_attempts_total{host="api.example",target="fallback",outcome="answered"} 1
//!
//! # HELP tower_429_rejections_total Rejected responses, by reason.
//! # TYPE tower_429_rejections_total counter
//! tower_429_rejections_total{host="api.example",reason="rate_limited"} 3
//!
//! # HELP tower_429_rotations_total Retries with another key.
//! # TYPE tower_429_rotations_total counter
//! tower_429_rotations_total{host="api.example"} 1
//!
//! # HELP tower_429_fallbacks_total Retries with another target.
//! # TYPE tower_429_fallbacks_total counter
//! tower_429_fallbacks_total{host="api.example"} 1
//!
//! # HELP tower_429_wait_seconds Finished waits before a send.
//! # TYPE tower_429_wait_seconds histogram
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="1"} 0
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="10"} 1
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="60"} 1
//! tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="+Inf"} 1
//! tower_429_wait_seconds_sum{host="api.example",layer="backoff"} 1.999
//! tower_429_wait_seconds_count{host="api.example",layer="backoff"} 1
//!
//! # HELP tower_429_keys Keys of a pool, by their last recorded state.
//! # TYPE tower_429_keys gauge
//! tower_429_keys{pool="openai",state="free"} 0
//! tower_429_keys{pool="openai",state="limited"} 2
//! tower_429_keys{pool="openai",state="on_cooldown"} 0
//! ```
//!
//! With the feature `share` there are four more, with the name of the share as the label `share`:
//!
//! | metric | what it counts |
//! |---|---|
//! | `tower_429_share_connected` | 1 while the engine is there, else 0 |
//! | `tower_429_share_exchanges_total` | exchanges, by `outcome` (`succeeded`, `failed`) |
//! | `tower_429_share_granted_total` | what the engine has leased to this process, by `unit` |
//! | `tower_429_share_expiries_total` | how often the leases have ended because the engine went away |
//!
//! An `INFO` says that the engine is there, and a `WARN` that it is away, and why: one line for each change.
//!
//! | label | values |
//! |---|---|
//! | `host` | the first 64 hosts; then `other`, and `none` for a request without a host |
//! | `outcome` | of a call as in the span; of an attempt `answered`, `rejected` or `failed` |
//! | `reason` | `rate_limited`, `quota_exhausted`, `overloaded`, `key_rejected`, `too_large` |
//! | `target` | `own`, or `fallback` if the request was sent with another model or to another place |
//! | `layer` | the layer that waited: `backoff`, `key_rotation`, `fallback` |
//! | `pool`, `state` | the name given to [`KeyPool::record_metrics`](crate::KeyPool::record_metrics); a key is `free`, `limited` for some models, or `on_cooldown` for all |
//!
//! `tower_429_tokens_total` (host, target, outcome) counts the tokens that the sends of
//! `tower_429_attempts_total` were taken to [cost](crate::trail::Attempt::cost), if that was counted. The sum of
//! all outcomes is what sends have reserved, and `rejected` is the part of rejected sends.
//!
//! Hosts and models come from requests, and through a gateway from strangers. So the number of hosts is
//! bounded, and models are not labels. `tower_429_replay_overflows_total` (host) counts the rejections that
//! were returned because the request body is too large to be sent again. A wait is counted when it ends. It
//! is not counted if the call is dropped during the wait.
//!
//! ```
//! use tower_429::{KeyPool, telemetry};
//!
//! // Once, after the recorder is installed:
//! telemetry::describe();
//! // Before each scrape, for the gauge of the keys:
//! # let pool = KeyPool::new(["sk-one"])?;
//! pool.record_metrics("openai");
//! # Ok::<(), tower_429::key_rotation::PoolError>(())
//! ```

//! # As JSON
//!
//! With the feature `serde`, [`KeyPool::snapshot`](crate::KeyPool::snapshot) and a
//! [`Trail`](crate::trail::Trail) implement `Serialize`, for a debug endpoint or a log of your own. So do their
//! parts, and [`Rejection`](crate::rejection::Rejection). They have the names of the fields, and secrets are in
//! none of them. Names of variants are in `snake_case`.
//!
//! | in Rust | in JSON |
//! |---|---|
//! | `cooldown_until`, `until`, `resets` | `cooldown_left_ms`, `left_ms`, `resets_in_ms`: the milliseconds that are left when it is written; 0 if it is over |
//! | `retry_after`, `Trail::waited` | `retry_after_ms`, `waited_ms` |
//! | `available_at` | `available_at_unix_s`: the seconds since 1970 |
//! | `Action::Wait(_)`, `Action::Return(_)` | `{"wait_ms": 1999}`, `{"return": "no_free_key"}` |
//!
//! Milliseconds are rounded up. An `Option` that is `None` is `null`.
//!
//! ```
//! use tower_429::KeyPool;
//!
//! let pool = KeyPool::new(["sk-one"])?;
//! # #[cfg(feature = "serde")]
//! let json = serde_json::to_value(pool.snapshot())?;
//! # #[cfg(feature = "serde")]
//! assert_eq!(json[0]["label"], "key-1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod events;
#[cfg(feature = "metrics")]
mod hosts;
mod metrics;
#[cfg(feature = "metrics")]
mod names;
mod notices;
#[cfg(feature = "share")]
mod share;
mod span;

use std::time::Duration;

use http::StatusCode;

#[cfg(feature = "share")]
pub(crate) use self::share::share;
use self::span::{CallSpan, EnteredSpan};
pub(crate) use self::{
    metrics::keys,
    notices::{KeyNotice, unread_body},
};
use crate::{
    call::{CallState, Head, SendId},
    clock,
    trail::{Action, Attempt, AttemptError, LayerKind, StopReason},
};

/// Gives the recorder of the feature `metrics` the descriptions and units of all metrics.
///
/// Call this once, after the recorder is installed. It does nothing without the feature.
pub fn describe() {
    metrics::describe();
}

/// The span and the outcome of one call, kept by its outermost layer.
pub(crate) struct CallRecorder(CallSpan);

/// How a call ended: a status, the name of the type of an error, or `None` if it was dropped.
type End = Option<Result<StatusCode, &'static str>>;

const ANSWERED: &str = "answered";
const REJECTED: &str = "rejected";
const FAILED: &str = "failed";
const TIMED_OUT: &str = "timed_out";
const DROPPED: &str = "dropped";

// === impl CallRecorder ===

impl CallRecorder {
    pub(crate) fn open(head: &Head) -> Self {
        Self(CallSpan::open(head))
    }

    /// Enters the span. The caller exits it before the poll ends.
    pub(crate) fn enter(&mut self) -> EnteredSpan {
        self.0.enter()
    }

    pub(crate) fn exit(&mut self, entered: EnteredSpan) {
        self.0.exit(entered);
    }

    /// Records the end; `entry` is the attempt whose outcome the caller gets.
    pub(crate) fn end(mut self, call: &CallState, head: &Head, entry: Option<SendId>, end: End) {
        let is_rejected = || {
            let of_entry =
                entry.and_then(|entry| call.of_entry(entry, |it| it.rejection.is_some()));
            of_entry == Some(true)
        };
        let outcome = match end {
            Some(Ok(_)) if is_rejected() => REJECTED,
            Some(Ok(_)) => ANSWERED,
            Some(Err(_)) => FAILED,
            None => {
                let now = clock::now();
                let is_timed_out = call.is_timed_out(now);
                if self.0.is_enabled() {
                    let elapsed = call.elapsed(now);
                    let event = || events::dropped(call, entry, elapsed, is_timed_out);
                    self.0.in_scope(event);
                }
                if is_timed_out { TIMED_OUT } else { DROPPED }
            }
        };
        metrics::call(head.host(), outcome);
        let end = match outcome {
            TIMED_OUT => Some(Err("timeout")),
            _ => end,
        };
        self.0.close(call, head, entry, outcome, end);
    }
}

/// Counts an attempt by its outcome. Only the innermost layer does this.
pub(crate) fn record_outcome(call: &CallState, entry: SendId, host: Option<&str>) {
    let of_entry = call.of_entry(entry, |it| {
        let reason = it.rejection.as_ref().map(|rejection| rejection.reason);
        let outcome = match (it.status, reason) {
            (_, Some(_)) => REJECTED,
            (Some(_), None) => ANSWERED,
            (None, None) => FAILED,
        };
        (outcome, it.target.is_some(), (reason, it.cost))
    });
    if let Some((outcome, fell_back, facts)) = of_entry {
        metrics::attempt(host, outcome, fell_back, facts);
    }
}

/// Counts what a layer does about an attempt, before the step is in the trail.
pub(crate) fn record_action(call: &CallState, entry: SendId, host: Option<&str>, action: Action) {
    let is_overflow = |action| action == Action::Return(StopReason::BodyTooLarge);
    match action {
        Action::NextKey => metrics::rotation(host),
        Action::NextTarget => metrics::fallback(host),
        action if is_overflow(action) => {
            let is_counted = call.of_entry(entry, |it| {
                it.steps.iter().any(|step| is_overflow(step.action))
            });
            // Each layer of a stack returns it for the same body.
            if is_counted == Some(false) {
                metrics::overflow(host);
            }
        }
        Action::Wait(_) | Action::Return(_) => {}
    }
}

/// Logs an attempt once: by the layer that acts on it or, if none does, by the outermost layer.
pub(crate) fn log_attempt(
    call: &CallState,
    entry: SendId,
    layer: LayerKind,
    action: Option<Action>,
    recorder: Option<&CallRecorder>,
) {
    match (action, recorder) {
        (Some(Action::Return(_)) | None, None) => {}
        // Nearly every response needs no action, and most programs do not want its event.
        (None, Some(recorder)) if !recorder.0.is_enabled() => {}
        (Some(_), _) => events::attempt(call, entry, layer, action),
        (None, Some(_)) => {
            let (by, action) = call.of_entry(entry, returned).flatten().unzip();
            events::attempt(call, entry, by.flatten().unwrap_or(layer), action);
        }
    }
}

/// Logs that the body of a discarded response ended in an error.
pub(crate) fn drain_failed(call: &CallState, entry: Option<SendId>, error: &AttemptError) {
    events::drain_failed(call, entry, error);
}

/// Logs what a pool has learned of its keys.
pub(crate) fn log_keys(notices: &[KeyNotice]) {
    notices.iter().for_each(notices::key);
}

/// Returns why the attempt reaches the caller, and the layer that gives the reason; `None` if there was
/// nothing to act on.
fn returned(attempt: &Attempt) -> Option<(Option<LayerKind>, Action)> {
    let steps = attempt.steps.iter().rev();
    let mut returned = steps.filter(|step| matches!(step.action, Action::Return(_)));
    match returned.next() {
        Some(step) => Some((Some(step.layer), step.action)),
        None if attempt.rejection.is_some() => Some((None, Action::Return(StopReason::NotCovered))),
        None => None,
    }
}

/// Counts a wait that has ended.
pub(crate) fn record_wait(layer: LayerKind, head: &Head, waited: Duration) {
    if !waited.is_zero() {
        metrics::wait(layer, head.host(), waited);
    }
}
