//! Errors inside a 200, over loopback: the first event of a stream, and JSON that is an error.

#![allow(clippy::disallowed_methods)] // a test under a paused clock may look at it

mod loopback;

use std::{convert::Infallible, future::poll_fn, sync::Mutex, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use loopback::{Answer, Client, Held, Inspected, Loopback, Met, aws, chat, meet};
use tokio::{sync::mpsc, time::timeout};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    refusal::{Reason, Refusal},
    trail::{Action, Trail},
};

/// No test needs as long; what hangs fails.
const FOREVER: Duration = Duration::from_secs(60);

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

/// What is expected of the layers, as the reason of the error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cure {
    /// Rate limited: time, another key, another target.
    Limited(Option<u64>),
    /// Rate limited where another key does not help.
    LimitedForAllKeys(Option<u64>),
    /// Overloaded: time or another target.
    Busy,
    /// Out of money: another key or another target.
    Billing,
    /// The key is bad: another key.
    Key,
    /// No refusal: the caller gets it.
    Nothing,
}

/// Streams and bodies that begin with an error: a name, the media type, the body, what cures it.
const FORMS: &[(&str, &str, &str, Cure)] = &[
    (
        "Anthropic, overloaded",
        "text/event-stream; charset=utf-8",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"overloaded_error\",\"message\":\"Overloaded\"},\"request_id\":\"req_1\"}\n\n",
        Cure::Busy,
    ),
    (
        "Anthropic, limited, after a ping",
        SSE,
        "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"This request would exceed your organization's rate limit of 30,000 input tokens per minute.\"}}\n\n",
        Cure::Limited(None),
    ),
    (
        "Anthropic, an error of its own",
        SSE,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal server error\"}}\n\n",
        Cure::Nothing,
    ),
    (
        "OpenAI Responses, response.failed",
        SSE,
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Rate limit reached for gpt-5.1 in organization org-AAA on tokens per min (TPM): Limit 30000, Used 22999, Requested 12528. Please try again in 11.054s. Visit https://platform.openai.com/account/rate-limits to learn more.\"},\"output\":[]}}\n\n",
        Cure::Limited(Some(11_054)),
    ),
    (
        "OpenAI Responses, response.failed without its name",
        SSE,
        "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_is_overloaded\",\"message\":\"Our servers are currently overloaded. Please try again later.\"}}}\n\n",
        Cure::Busy,
    ),
    (
        "OpenAI Responses, error",
        SSE,
        "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"error\":{\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\",\"message\":\"You exceeded your current quota, please check your plan and billing details.\",\"param\":null}}\n\n",
        Cure::Billing,
    ),
    (
        "OpenAI Responses, flat error",
        SSE,
        "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"Rate limit reached on requests per min (RPM). Please try again in 20s.\",\"param\":null,\"sequence_number\":1}\n\n",
        Cure::Limited(Some(20_000)),
    ),
    (
        "OpenAI Responses, an error of the model",
        SSE,
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"An error occurred.\"}}}\n\n",
        Cure::Nothing,
    ),
    (
        "OpenAI Chat",
        SSE,
        "data: {\"error\":{\"message\":\"Rate limit reached for o4-mini in organization org-AAA on tokens per min (TPM): Limit 200000, Used 198000, Requested 7247. Please try again in 1.574s.\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\n",
        Cure::Limited(Some(1_574)),
    ),
    (
        "Azure, no capacity",
        SSE,
        "data: {\"error\":{\"type\":\"too_many_requests\",\"code\":\"no_capacity\",\"message\":\"The service is temporarily unable to process your request.\"}}\n\n",
        Cure::Busy,
    ),
    (
        "Azure, its status as a code",
        SSE,
        "event: error\r\ndata: {\"error\":{\"code\":\"429\",\"message\":\"Requests have exceeded the token rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds.\"}}\r\n\r\n",
        Cure::Limited(Some(7_000)),
    ),
    (
        "OpenRouter, limited, after comments",
        SSE,
        ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: {\"id\":\"gen-abc123\",\"object\":\"chat.completion.chunk\",\"created\":1234567890,\"model\":\"openai/gpt-4o\",\"provider\":\"openai\",\"error\":{\"code\":429,\"message\":\"Rate limit exceeded\",\"metadata\":{\"error_type\":\"rate_limit_exceeded\"}},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
        Cure::LimitedForAllKeys(None),
    ),
    (
        "OpenRouter, unavailable",
        SSE,
        ": OPENROUTER PROCESSING\n\ndata: {\"id\":\"gen-1\",\"error\":{\"code\":502,\"message\":\"Provider disconnected\",\"metadata\":{\"error_type\":\"provider_unavailable\"}},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
        Cure::Busy,
    ),
    (
        "OpenRouter, JSON",
        JSON,
        "{\"error\":{\"code\":502,\"message\":\"Provider returned error\",\"metadata\":{\"error_type\":\"provider_unavailable\"}}}",
        Cure::Busy,
    ),
    (
        "OpenRouter, JSON, out of credits",
        "application/json; charset=utf-8",
        "\n         \n         {\"error\":{\"message\":\"Insufficient credits\",\"code\":402},\"user_id\":\"user_AAA\"}",
        Cure::Billing,
    ),
    (
        "OpenRouter, JSON, a bad key",
        JSON,
        "{\"error\":{\"message\":\"User not found.\",\"code\":401}}",
        Cure::Key,
    ),
    (
        "DeepSeek, after keep-alives",
        SSE,
        ": keep-alive\n\n: keep-alive\n\n\n\n: keep-alive\n\ndata: {\"error\":{\"message\":\"Your current concurrency is 26, which exceeds your concurrency limit of 25 based on your remaining balance.\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"invalid_request_error\"}}\n\n",
        Cure::Limited(None),
    ),
    (
        "DeepSeek, JSON after empty lines",
        JSON,
        "\n\n\n\n{\"error\":{\"message\":\"Insufficient Balance\",\"type\":\"unknown_error\",\"param\":null,\"code\":\"invalid_request_error\"}}",
        Cure::Billing,
    ),
    (
        "Gemini, SSE",
        SSE,
        "data: {\"error\": {\"code\": 503,\"message\": \"The model is overloaded. Please try again later.\",\"status\": \"UNAVAILABLE\"}}\r\n\r\n",
        Cure::Busy,
    ),
    (
        "Gemini, an array",
        "application/json; charset=UTF-8",
        "[{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"Please retry in 44.09s.\",\n    \"status\": \"RESOURCE_EXHAUSTED\",\n    \"details\": [{\"@type\": \"type.googleapis.com/google.rpc.RetryInfo\", \"retryDelay\": \"44s\"}]\n  }\n}\n]",
        Cure::Limited(Some(44_000)),
    ),
    (
        "an error that the end of the stream cuts off",
        SSE,
        "data: {\"error\":{\"code\":429,\"type\":\"rate_limit_error\",\"message\":\"Slow.\"}}",
        Cure::Limited(None),
    ),
];

/// What Bedrock's stream begins with.
const EXCEPTIONS: &[(&str, Cure)] = &[
    ("throttlingException", Cure::Limited(None)),
    ("serviceUnavailableException", Cure::Busy),
    ("modelStreamErrorException", Cure::Nothing),
];

// === impl Cure ===

impl Cure {
    /// The hint if Backoff is to wait.
    fn waits(self) -> Option<Option<u64>> {
        match self {
            Self::Limited(hint) | Self::LimitedForAllKeys(hint) => Some(hint),
            Self::Busy => Some(None),
            Self::Billing | Self::Key | Self::Nothing => None,
        }
    }

    fn rotates(self) -> bool {
        matches!(self, Self::Limited(_) | Self::Billing | Self::Key)
    }

    fn falls_back(self) -> bool {
        !matches!(self, Self::Key | Self::Nothing)
    }
}

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
    let refused = body.clone();
    let refuse = move || stream(kind, refused.clone());
    meet(chat("gateway.example"), refuse, layer, not_before).await
}

/// The retried answer where the layer is to act, or else all that the provider said.
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
    cure: Cure,
) {
    let hint = cure
        .waits()
        .flatten()
        .map_or(Duration::ZERO, Duration::from_millis);
    let met = call(kind, &body, BackoffLayer::new(), hint).await;
    assert_met(
        &met,
        cure.waits().is_some(),
        &body,
        &format!("{name}, Backoff"),
    );
    if let Some(Action::Wait(wait)) = met.again {
        assert!(wait >= hint.max(Duration::from_secs(1)), "{name}: {wait:?}");
    }

    let met = call(kind, &body, keys(), Duration::ZERO).await;
    assert_met(&met, cure.rotates(), &body, &format!("{name}, KeyRotation"));
    let keys: Vec<_> = met.seen.iter().map(|seen| &*seen.key).collect();
    assert_eq!(keys, ["Bearer one", "Bearer two"][..keys.len()]);

    let met = call(kind, &body, FallbackLayer::new(["lesser"]), Duration::ZERO).await;
    assert_met(&met, cure.falls_back(), &body, &format!("{name}, Fallback"));
    let models: Vec<_> = met.seen.iter().map(|seen| &*seen.model).collect();
    assert_eq!(models, ["first", "lesser"][..models.len()]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_with_an_error_is_asked_for_again_as_the_reason_says() {
    let _held = Held::new();
    for (name, kind, body, cure) in FORMS {
        each_layer_acts_as_the_reason_says(name, kind, Bytes::from(*body), *cure).await;
    }
}

#[tokio::test(start_paused = true)]
async fn so_is_amazon_s_that_begins_with_an_exception() {
    let _held = Held::new();
    for (exception, cure) in EXCEPTIONS {
        let headers = [
            (":exception-type", *exception),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        let body = aws::message(headers.into_iter(), br#"{"message":"Try again."}"#);
        let kind = "application/vnd.amazon.eventstream";
        each_layer_acts_as_the_reason_says(exception, kind, body, *cure).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_first_event_a_success_is_a_success() {
    for (name, kind, body, _) in FORMS {
        let provider = Loopback::serve(|_| stream(kind, *body)).await;
        let client = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(InspectLayer::new())
            .service(provider.client());
        let response = client.oneshot(chat("gateway.example")).await.unwrap();
        assert_eq!(response.extensions().get::<Refusal>(), None, "{name}");
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(whole, *body, "{name}");
        assert_eq!(provider.seen().len(), 1);
    }
}

/// Streams that begin as they should; an error in them comes too late to be taken back.
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

/// A provider whose stream goes on when the test says so.
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

/// What has come when `bytes` have come.
async fn read<B>(body: &mut B, bytes: usize) -> String
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    let mut read = Vec::new();
    while read.len() < bytes {
        let frame = timeout(FOREVER, body.frame()).await.expect("held back");
        read.extend_from_slice(&frame.expect("cut off").unwrap().into_data().unwrap());
    }
    String::from_utf8(read).unwrap()
}

/// The provider says nothing more before the caller has what it has said. So an event that is held
/// back for the next one is held back for ever.
#[tokio::test]
async fn a_good_stream_is_handed_on_byte_for_byte_and_no_event_waits_for_the_next() {
    for events in GOOD {
        let (provider, go_on) = paused_provider().await;
        let client = ServiceBuilder::new()
            .layer(FallbackLayer::new(["lesser"]))
            .layer(BackoffLayer::new())
            .layer(keys())
            .layer(InspectLayer::new().first_event(10 * FOREVER))
            .service(provider.client());
        go_on.send(events[0]).unwrap();
        let call = timeout(FOREVER, client.oneshot(chat("gateway.example")));
        let response = call.await.expect("the first event is held back").unwrap();
        assert_eq!(response.extensions().get::<Refusal>(), None);
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
        assert_eq!(provider.seen().len(), 1, "nothing is taken back");
    }
}

#[tokio::test]
async fn without_first_event_the_head_does_not_wait_even_for_the_first_event() {
    let (provider, go_on) = paused_provider().await;
    let client = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(InspectLayer::new())
        .service(provider.client());
    let call = timeout(FOREVER, client.oneshot(chat("gateway.example")));
    let mut body = call.await.expect("held back").unwrap().into_body();
    go_on.send("data: 1\n\n").unwrap();
    assert_eq!(read(&mut body, 9).await, "data: 1\n\n");
}

/// The second piece is sent when the provider has the request.
#[tokio::test]
async fn an_error_in_pieces_is_an_error_and_the_caller_gets_it_whole_when_nothing_is_left_to_try() {
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
    let response = timeout(FOREVER, answer).await.expect("held back").unwrap();
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.reason, Reason::Overloaded);
    let mut body = response.into_body();
    assert_eq!(
        read(&mut body, start.len() + end.len()).await,
        format!("{start}{end}")
    );
}
