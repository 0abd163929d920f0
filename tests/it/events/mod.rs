//! Errors inside a 200, over loopback: the first event of a stream, and error JSON.

mod forms;
use std::{convert::Infallible, future::poll_fn, sync::Mutex, time::Duration};

use crate::loopback::{Answer, Client, Held, Inspected, Loopback, Met, aws, chat, meet};
use bytes::Bytes;
use forms::{EXCEPTIONS, FORMS, Remedy, SSE};
use http::Response;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::{sync::mpsc, time::timeout};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    rejection::{Reason, Rejection},
    trail::{Action, Trail},
};

/// Longer than any test needs, so that a test that hangs fails.
const FOREVER: Duration = Duration::from_secs(60);

fn stream(kind: &str, body: impl Into<Bytes>) -> Answer {
    let response = Response::builder().header("content-type", kind);
    response.body(Full::from(body.into()).boxed()).unwrap()
}

fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap())
}

async fn call<L>(kind: &'static str, body: &Bytes, layer: L, not_before: Duration) -> Met
where
    L: Layer<Client>,
    L::Service: Inspected,
{
    let rejection = body.clone();
    let reject = move || stream(kind, rejection.clone());
    meet(chat("gateway.example"), reject, layer, not_before).await
}

/// Asserts that the caller got the response of the retry if the layer should act, and else the complete error.
#[track_caller]
fn assert_met(met: &Met, again: bool, body: &Bytes, name: &str) {
    assert_eq!(met.status, 200, "{name}");
    assert_eq!(met.again.is_some(), again, "{name}: {met:?}");
    assert_eq!(met.seen.len(), if again { 2 } else { 1 }, "{name}: {met:?}");
    let expected = if again { "answered".as_bytes() } else { body };
    assert_eq!(met.body, expected, "{name}");
}

async fn each_layer_acts_as_the_reason_says(
    name: &str,
    kind: &'static str,
    body: Bytes,
    remedy: Remedy,
) {
    let hint = remedy
        .waits()
        .flatten()
        .map_or(Duration::ZERO, Duration::from_millis);
    let met = call(kind, &body, BackoffLayer::new(), hint).await;
    assert_met(
        &met,
        remedy.waits().is_some(),
        &body,
        &format!("{name}, Backoff"),
    );
    if let Some(Action::Wait(wait)) = met.again {
        assert!(wait >= hint.max(Duration::from_secs(1)), "{name}: {wait:?}");
    }

    let met = call(kind, &body, keys(), Duration::ZERO).await;
    assert_met(
        &met,
        remedy.rotates(),
        &body,
        &format!("{name}, KeyRotation"),
    );
    let keys: Vec<_> = met.seen.iter().map(|seen| &*seen.key).collect();
    assert_eq!(keys, ["Bearer one", "Bearer two"][..keys.len()]);

    let met = call(kind, &body, FallbackLayer::new(["backup"]), Duration::ZERO).await;
    assert_met(
        &met,
        remedy.falls_back(),
        &body,
        &format!("{name}, Fallback"),
    );
    let models: Vec<_> = met.seen.iter().map(|seen| &*seen.model).collect();
    assert_eq!(models, ["first", "backup"][..models.len()]);
}

#[tokio::test(start_paused = true)]
async fn layer_retries_a_stream_that_begins_with_an_error_by_its_reason() {
    let _held = Held::new();
    for (name, kind, body, remedy) in FORMS {
        each_layer_acts_as_the_reason_says(name, kind, Bytes::from(*body), *remedy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn layer_retries_an_amazon_stream_that_begins_with_an_exception() {
    let _held = Held::new();
    for (exception, remedy) in EXCEPTIONS {
        let headers = [
            (":exception-type", *exception),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        let body = aws::message(headers.into_iter(), br#"{"message":"Try again."}"#);
        let kind = "application/vnd.amazon.eventstream";
        each_layer_acts_as_the_reason_says(exception, kind, body, *remedy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn success_is_not_read_without_first_event() {
    for (name, kind, body, _) in FORMS {
        let provider = Loopback::serve(|_| stream(kind, *body)).await;
        let client = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(InspectLayer::new())
            .service(provider.client());
        let response = client.oneshot(chat("gateway.example")).await.unwrap();
        assert_eq!(response.extensions().get::<Rejection>(), None, "{name}");
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(whole, *body, "{name}");
        assert_eq!(provider.seen().len(), 1);
    }
}

/// Streams that begin with a success. A later error in them cannot cause a retry.
const GOOD: &[&[&str]] = &[
    &[
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
    ],
    &[
        ": OPENROUTER PROCESSING\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"429 \"}}]}\n\n",
        "data: {\"error\":{\"code\":429,\"message\":\"Rate limit exceeded\"},\"choices\":[{\"finish_reason\":\"error\"}]}\n\n",
        "data: [DONE]\n\n",
    ],
    &[
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
        "event: response.in_progress\ndata: {\"type\":\"response.in_progress\"}\n\n",
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\"}}}\n\n",
    ],
    &[
        "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"error\"}]}}]}\r\n\r\n",
        "data: {\"error\": {\"code\": 503, \"status\": \"UNAVAILABLE\"}}\r\n\r\n",
    ],
];

/// Starts a provider whose stream continues when the test sends an event.
async fn paused_provider() -> (Loopback, mpsc::UnboundedSender<&'static str>) {
    let (go_on, events) = mpsc::unbounded_channel();
    let events = Mutex::new(Some(events));
    let provider = Loopback::serve(move |_| {
        let mut events = events.lock().unwrap().take().expect("one request");
        let frames = futures::stream::poll_fn(move |cx| {
            let next = events.poll_recv(cx);
            next.map(|event| {
                event.map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))))
            })
        });
        let response = Response::builder().header("content-type", SSE);
        response.body(StreamBody::new(frames).boxed()).unwrap()
    });
    (provider.await, go_on)
}

/// Reads until `bytes` bytes have arrived.
async fn read<B>(body: &mut B, bytes: usize) -> String
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    let mut read = Vec::new();
    while read.len() < bytes {
        let frame = timeout(FOREVER, body.frame()).await.expect("delayed");
        read.extend_from_slice(&frame.expect("cut off").unwrap().into_data().unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// The provider sends an event only after the caller has received the previous one. So the test would hang if the layer
/// delayed an event until the next one.
#[tokio::test]
async fn good_stream_is_passed_through_and_no_event_waits_for_the_next() {
    for events in GOOD {
        let (provider, go_on) = paused_provider().await;
        let client = ServiceBuilder::new()
            .layer(FallbackLayer::new(["backup"]))
            .layer(BackoffLayer::new())
            .layer(keys())
            .layer(InspectLayer::new().first_event(10 * FOREVER))
            .service(provider.client());
        go_on.send(events[0]).unwrap();
        let call = timeout(FOREVER, client.oneshot(chat("gateway.example")));
        let response = call.await.expect("the first event is delayed").unwrap();
        assert_eq!(response.extensions().get::<Rejection>(), None);
        let trail = response.extensions().get::<Trail>().unwrap().attempts();
        assert!(trail.len() == 1 && trail[0].steps.is_empty(), "{trail:?}");

        let mut body = response.into_body();
        assert_eq!(read(&mut body, events[0].len()).await, events[0]);
        for event in &events[1..] {
            go_on.send(event).unwrap();
            assert_eq!(read(&mut body, event.len()).await, *event);
        }
        drop(go_on);
        assert!(body.frame().await.is_none());
        assert_eq!(provider.seen().len(), 1, "nothing is retried");
    }
}

#[tokio::test]
async fn head_does_not_wait_for_the_first_event_without_the_option() {
    let (provider, go_on) = paused_provider().await;
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(InspectLayer::new())
        .service(provider.client());
    let call = timeout(FOREVER, client.oneshot(chat("gateway.example")));
    let mut body = call.await.expect("delayed").unwrap().into_body();
    go_on.send("data: 1\n\n").unwrap();
    assert_eq!(read(&mut body, 9).await, "data: 1\n\n");
}

/// The second chunk is sent after the provider has received the request.
#[tokio::test]
async fn error_in_chunks_is_retried_and_returned_completely_at_the_end() {
    let [start, end] = [
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overl",
        "oaded_error\",\"message\":\"Overloaded\"}}\n\nevent: more\ndata: {}\n\n",
    ];
    let (provider, go_on) = paused_provider().await;
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new().attempts(1))
        .layer(InspectLayer::new().first_event(10 * FOREVER))
        .service(provider.client());
    let mut call = std::pin::pin!(client.oneshot(chat("gateway.example")));
    go_on.send(start).unwrap();
    let mut rest = Some(end);
    let answer = poll_fn(|cx| {
        let answer = call.as_mut().poll(cx);
        if answer.is_pending() && !provider.seen().is_empty() {
            rest.take()
                .into_iter()
                .for_each(|end| go_on.send(end).unwrap());
        }
        answer
    });
    let response = timeout(FOREVER, answer).await.expect("delayed").unwrap();
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.reason, Reason::Overloaded);
    let mut body = response.into_body();
    assert_eq!(
        read(&mut body, start.len() + end.len()).await,
        format!("{start}{end}")
    );
}
