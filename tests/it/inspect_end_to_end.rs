//! Every known error response, from a server on loopback through `InspectLayer` to each of the layers.
//!
//! The expected behaviour comes from the fields of the row, and not from the crate's own classification.

use crate::rows;
use std::time::Duration;

use crate::loopback::{Answer, Client, Held, Inspected, Met, aws, chat, meet};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::Layer;
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer, trail::Action};

const CONFIDENCES: &[&str] = &[
    "observed",
    "observed_partial",
    "docs",
    "docs_partial",
    "third_party_test",
];

/// Returns the response of a row, with its date.
fn replay(row: &Value) -> Answer {
    let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
    let mut response = Response::builder()
        .status(status)
        .header("date", httpdate::fmt_http_date(rows::arrival(row)));
    for (name, value) in row["headers"].as_object().unwrap() {
        response = response.header(name, value.as_str().unwrap());
    }
    response.body(Full::from(wire_body(row)).boxed()).unwrap()
}

fn wire_body(row: &Value) -> Bytes {
    match &row["body"] {
        Value::String(text) => Bytes::from(text.clone()),
        Value::Object(object) if object.contains_key("_eventstream_frame") => {
            let headers = object["_eventstream_frame"].as_object().unwrap();
            let headers = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
            aws::message(headers, object["payload"].to_string().as_bytes())
        }
        body => Bytes::from(body.to_string()),
    }
}

// What the fields of a row say.

fn flag(row: &Value, name: &str) -> bool {
    row["expected"][name].as_bool().unwrap()
}

fn hint(row: &Value) -> Option<Duration> {
    row["expected"]["retry_after_ms"]
        .as_u64()
        .map(Duration::from_millis)
}

fn kind(row: &Value) -> &str {
    rows::text(&row["expected"], "kind")
}

/// Returns whether the row is no rejection: nothing is limited, or only another provider helps.
fn is_none(row: &Value) -> bool {
    let named = kind(row) != "unknown";
    let limited = row["status"] == 429 || flag(row, "same_key_retry_helps");
    rows::text(row, "scope") == "none" || !(named || limited || is_too_large(row))
}

fn is_too_large(row: &Value) -> bool {
    rows::text(row, "scope") == "request"
}

/// Returns whether Fallback should act, by the table in the README. What the provider says about its other models does
/// not matter, because a target may have another address.
fn falls_back(row: &Value) -> bool {
    !is_none(row) && !is_too_large(row) && kind(row) != "auth"
}

/// Returns whether a layer deliberately differs from the fields of the row. The row says why.
fn is_disputed(row: &Value, layer: &str) -> bool {
    row["disputed_layers"][layer].is_string()
}

/// Returns the rows of known confidence, each from its own host and through a gateway.
fn cases() -> impl Iterator<Item = (Value, &'static str)> {
    let known = rows::fixtures()
        .into_iter()
        .filter(|row| CONFIDENCES.contains(&rows::text(row, "confidence")));
    known.flat_map(|row| {
        let gateway = "gateway.example";
        let host = rows::host(rows::text(&row, "provider")).unwrap_or(gateway);
        let mut hosts = vec![host, gateway];
        hosts.dedup();
        hosts
            .into_iter()
            .map(move |host| (row.clone(), host))
            .collect::<Vec<_>>()
    })
}

/// Sends a call through a layer to a provider that responds with the row.
async fn replayed<L>(row: &Value, host: &str, layer: L, not_before: Duration) -> Met
where
    L: Layer<Client>,
    L::Service: Inspected,
{
    let rejection = row.clone();
    meet(chat(host), move || replay(&rejection), layer, not_before).await
}

/// Collects all failures, so that one run shows every row.
#[derive(Default)]
struct Report {
    wrong: Vec<String>,
    rows: usize,
}

impl Report {
    /// Compares what a layer did with what it should do: send again, or pass the response through completely.
    fn check(&mut self, row: &Value, host: &str, layer: &str, met: &Met, again: bool) {
        self.rows += 1;
        let again = again != is_disputed(row, layer);
        let hosts_are_right = met.seen.iter().all(|seen| seen.host == host);
        let is_right = match again {
            true => {
                met.again.is_some()
                    && met.seen.len() == 2
                    && met.status == 200
                    && met.body == "answered"
            }
            false => {
                let status = row["status"].as_u64() == Some(met.status.into());
                met.again.is_none() && met.seen.len() == 1 && status && met.body == wire_body(row)
            }
        };
        if !is_right || !hosts_are_right {
            let (provider, case) = (rows::text(row, "provider"), rows::text(row, "case"));
            self.wrong.push(format!(
                "{provider}/{case} at {host}, again should be {again}: {met:?}"
            ));
        }
    }

    fn finish(self) {
        assert!(
            self.wrong.is_empty(),
            "{} of {}:\n{}",
            self.wrong.len(),
            self.rows,
            self.wrong.join("\n")
        );
        assert!(self.rows > 200, "{} rows", self.rows);
    }
}

async fn backoff_waits(longest: Duration) {
    let _held = Held::new();
    let mut report = Report::default();
    for (row, host) in cases() {
        let layer = BackoffLayer::new()
            .max_wait(longest)
            .jitter(0, Duration::ZERO);
        let waits =
            !is_none(&row) && flag(&row, "same_key_retry_helps") && hint(&row) <= Some(longest);
        let not_before = hint(&row).filter(|_| waits).unwrap_or_default();
        let met = replayed(&row, host, layer, not_before).await;
        report.check(&row, host, "backoff", &met, waits);
        if let Some(action) = met.again {
            let at_least = |wait| wait >= hint(&row).unwrap_or(Duration::from_secs(1));
            assert!(
                matches!(action, Action::Wait(wait) if at_least(wait)),
                "{action:?}: {row}"
            );
        }
    }
    report.finish();
}

#[tokio::test(start_paused = true)]
async fn backoff_waits_for_hints_of_a_minute_and_returns_longer_ones_at_once() {
    backoff_waits(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn backoff_waits_for_days_if_allowed_but_not_if_time_does_not_help() {
    backoff_waits(Duration::from_secs(366 * 86_400)).await;
}

#[tokio::test(start_paused = true)]
async fn key_rotation_uses_the_next_key_if_another_key_may_help() {
    let _held = Held::new();
    let mut report = Report::default();
    for (row, host) in cases() {
        let pool = KeyPool::new(["one", "two"]).unwrap();
        let met = replayed(&row, host, KeyRotationLayer::new(pool), Duration::ZERO).await;
        let rotates = !is_none(&row) && flag(&row, "other_key_may_help");
        report.check(&row, host, "key_rotation", &met, rotates);
        let keys: Vec<_> = met.seen.iter().map(|seen| &*seen.key).collect();
        assert_eq!(keys, ["Bearer one", "Bearer two"][..keys.len()]);
        assert!(matches!(met.again, None | Some(Action::NextKey)), "{met:?}");
    }
    report.finish();
}

#[tokio::test(start_paused = true)]
async fn fallback_uses_the_next_target_except_for_bad_keys_and_large_requests() {
    let _held = Held::new();
    let mut report = Report::default();
    for (row, host) in cases() {
        let met = replayed(&row, host, FallbackLayer::new(["backup"]), Duration::ZERO).await;
        report.check(&row, host, "fallback", &met, falls_back(&row));
        let models: Vec<_> = met.seen.iter().map(|seen| &*seen.model).collect();
        assert_eq!(models, ["first", "backup"][..models.len()]);
        assert!(
            matches!(met.again, None | Some(Action::NextTarget)),
            "{met:?}"
        );
    }
    report.finish();
}

/// The headers are those of Groq's limit on requests. Only Groq counts these per day.
#[tokio::test(start_paused = true)]
async fn host_of_the_request_decides_if_the_response_is_ambiguous() {
    let _held = Held::new();
    let row = serde_json::json!({
        "status": 429,
        "headers": {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30s"},
        "body": {"error": {"message": "Slower, please."}},
    });
    let hint = Duration::from_secs(30);
    for (host, waits) in [
        ("api.openai.com", true),
        ("gateway.example", true),
        ("api.groq.com", false),
    ] {
        let met = replayed(&row, host, BackoffLayer::new(), hint).await;
        assert_eq!(met.again.is_some(), waits, "{host}: {met:?}");
        assert_eq!(met.status, if waits { 200 } else { 429 });
    }
}
