//! Every known error response, from a server on loopback through InspectLayer to each of the layers.
//!
//! What a layer should do is taken from the row's own fields, not from what the crate reads.

#![allow(clippy::disallowed_methods)] // a test under a paused clock may look at it

mod loopback;
mod rows;

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use loopback::{Answer, Loopback, Seen, chat};
use serde_json::Value;
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_429::{
    BackoffLayer, Call, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    inspect::InspectedBody, trail::Action,
};

const MILLISECOND: Duration = Duration::from_millis(1);

const CONFIDENCES: &[&str] = &[
    "observed",
    "observed_partial",
    "docs",
    "docs_partial",
    "third_party_test",
];

/// Rows that the crate reads otherwise: provider, case, layer, and why.
const DISPUTED: &[(&str, &str, &str, &str)] = &[
    (
        "cerebras",
        "queue_exceeded",
        "backoff",
        "the response says x-should-retry: false, which is obeyed; the row's own note allows it",
    ),
    (
        "azure_openai",
        "ptu_utilization",
        "key_rotation",
        "nothing on the wire tells a provisioned deployment, which all keys share, from others",
    ),
];

type Client = BoxCloneService<
    Request<Full<Bytes>>,
    Response<InspectedBody<hyper::body::Incoming>>,
    legacy::Error,
>;

/// Holds the paused clock while it lives: as tokio documents, time does not run ahead while a blocking
/// task does. So sockets have all the time they need, and it is the test that lets time pass.
struct Held(#[allow(dead_code)] mpsc::Sender<()>);

impl Held {
    fn new() -> Self {
        let (held, release) = mpsc::channel();
        tokio::task::spawn_blocking(move || release.recv());
        Self(held)
    }
}

/// What became of a call.
#[derive(Debug)]
struct Met {
    /// What the layer did about the first answer, if it sent again.
    again: Option<Action>,
    status: u16,
    body: Bytes,
    seen: Vec<Seen>,
}

/// Sends a request to a provider that answers as the row says, and to the second request with 200.
///
/// Time passes only when a layer has decided to send again, first up to a millisecond before
/// `not_before`, which must not be enough.
async fn meet<L>(row: &Value, host: &str, layer: L, not_before: Duration) -> Met
where
    L: Layer<Client>,
    L::Service: Service<
            Request<Full<Bytes>>,
            Response = Response<InspectedBody<hyper::body::Incoming>>,
            Error = legacy::Error,
        >,
{
    let replayed = row.clone();
    let provider = Loopback::serve(move |number| match number {
        0 => replay(&replayed),
        _ => Response::new(Full::from("answered").boxed()),
    })
    .await;
    let sends = Arc::new(AtomicUsize::new(0));
    let counter = sends.clone();
    let client = ServiceBuilder::new()
        .map_request(move |request| {
            counter.fetch_add(1, Ordering::SeqCst);
            request
        })
        .layer(InspectLayer::new().first_event(Duration::from_secs(1)))
        .service(provider.client());
    let call = Call::new();
    let mut request = chat(host);
    request.extensions_mut().insert(call.clone());
    let mut answer = pin!(layer.layer(BoxCloneService::new(client)).oneshot(request));

    let again = || {
        let first = call.trail().attempts().into_iter().next()?;
        let mut actions = first.steps.into_iter().map(|step| step.action);
        actions.find(|action| !matches!(action, Action::Return(_)))
    };
    let done = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending if again().is_some() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    let response = match done {
        Some(response) => response,
        None => {
            if not_before > MILLISECOND {
                advance(not_before - MILLISECOND).await;
                let early = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_ready())).await;
                let sends = sends.load(Ordering::SeqCst);
                assert!(!early && sends == 1, "sent early: {row}");
            }
            let wait = match again() {
                Some(Action::Wait(wait)) => wait,
                _ => Duration::ZERO,
            };
            advance(wait.saturating_sub(not_before) + 3 * MILLISECOND).await;
            answer.await
        }
    };
    let (head, body) = response.unwrap().into_parts();
    Met {
        again: again(),
        status: head.status.as_u16(),
        body: body.collect().await.unwrap().to_bytes(),
        seen: provider.seen(),
    }
}

/// The response of a row, with the clock of its time.
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
            aws_message(headers, object["payload"].to_string().as_bytes())
        }
        body => Bytes::from(body.to_string()),
    }
}

/// A message of Amazon's event stream: lengths, checksum, headers, payload, checksum.
fn aws_message<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, payload: &[u8]) -> Bytes {
    const STRING: u8 = 7;
    let mut headers = Vec::new();
    for (name, value) in pairs {
        headers.push(u8::try_from(name.len()).unwrap());
        headers.extend_from_slice(name.as_bytes());
        headers.push(STRING);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let word = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    let mut message = Vec::new();
    message.extend_from_slice(&word(16 + headers.len() + payload.len()));
    message.extend_from_slice(&word(headers.len()));
    message.extend_from_slice(&crc32(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32(&message).to_be_bytes());
    Bytes::from(message)
}

/// The checksum of zlib, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, add)
}

// What a row's own fields say.

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

/// The row is no refusal: nothing is limited, or nothing but another provider helps.
fn is_none(row: &Value) -> bool {
    let named = kind(row) != "unknown";
    let limited = row["status"] == 429 || flag(row, "same_key_retry_helps");
    rows::text(row, "scope") == "none" || !(named || limited || is_too_large(row))
}

fn is_too_large(row: &Value) -> bool {
    rows::text(row, "scope") == "request"
}

/// By the table: whatever the provider says of its other models, a target may be elsewhere.
fn falls_back(row: &Value) -> bool {
    !is_none(row) && !is_too_large(row) && kind(row) != "auth"
}

fn is_disputed(row: &Value, layer: &str) -> bool {
    DISPUTED.iter().any(|(provider, case, who, _)| {
        rows::text(row, "provider") == *provider
            && rows::text(row, "case") == *case
            && layer == *who
    })
}

/// The rows of known confidence, each as from its own host and as through a gateway.
fn cases() -> impl Iterator<Item = (Value, &'static str)> {
    let rows = rows::rows(include_str!("data/fixtures.jsonl")).into_iter();
    let known = rows.filter(|row| CONFIDENCES.contains(&rows::text(row, "confidence")));
    known.flat_map(|row| {
        let gateway = "gateway.example";
        let host = rows::host(rows::text(&row, "provider")).unwrap_or(gateway);
        let hosts = if host == gateway {
            vec![gateway]
        } else {
            vec![host, gateway]
        };
        hosts
            .into_iter()
            .map(move |host| (row.clone(), host))
            .collect::<Vec<_>>()
    })
}

/// Collects what is wrong, so that all rows are seen at once.
#[derive(Default)]
struct Report {
    wrong: Vec<String>,
    rows: usize,
}

impl Report {
    /// Holds what a layer did against what it should have done: send again, or hand the answer on whole.
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
        let met = meet(&row, host, layer, not_before).await;
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
async fn backoff_waits_for_every_hint_of_a_minute_and_returns_the_rest_at_once() {
    backoff_waits(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn backoff_waits_for_hints_of_hours_and_days_if_it_may_but_never_for_what_time_does_not_cure()
{
    backoff_waits(Duration::from_secs(366 * 86_400)).await;
}

#[tokio::test(start_paused = true)]
async fn key_rotation_asks_with_the_next_key_where_another_key_may_help() {
    let _held = Held::new();
    let mut report = Report::default();
    for (row, host) in cases() {
        let pool = KeyPool::new(["one", "two"]).unwrap();
        let met = meet(&row, host, KeyRotationLayer::new(pool), Duration::ZERO).await;
        let rotates = !is_none(&row) && flag(&row, "other_key_may_help");
        report.check(&row, host, "key_rotation", &met, rotates);
        let keys: Vec<_> = met.seen.iter().map(|seen| &*seen.key).collect();
        assert_eq!(keys, ["Bearer one", "Bearer two"][..keys.len()]);
        assert!(matches!(met.again, None | Some(Action::NextKey)), "{met:?}");
    }
    report.finish();
}

#[tokio::test(start_paused = true)]
async fn fallback_asks_the_next_target_whatever_the_limit_but_not_for_a_bad_key_or_a_large_request()
{
    let _held = Held::new();
    let mut report = Report::default();
    for (row, host) in cases() {
        let met = meet(&row, host, FallbackLayer::new(["lesser"]), Duration::ZERO).await;
        report.check(&row, host, "fallback", &met, falls_back(&row));
        let models: Vec<_> = met.seen.iter().map(|seen| &*seen.model).collect();
        assert_eq!(models, ["first", "lesser"][..models.len()]);
        assert!(
            matches!(met.again, None | Some(Action::NextTarget)),
            "{met:?}"
        );
    }
    report.finish();
}

/// The headers of Groq's limit on requests, which is one by the day there and nowhere else.
#[tokio::test(start_paused = true)]
async fn the_host_of_the_request_decides_where_the_response_does_not_say() {
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
        let met = meet(&row, host, BackoffLayer::new(), hint).await;
        assert_eq!(met.again.is_some(), waits, "{host}: {met:?}");
        assert_eq!(met.status, if waits { 200 } else { 429 });
    }
}
