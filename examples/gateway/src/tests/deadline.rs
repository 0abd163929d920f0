//! Deadlines that the caller or the configuration sets.

use serde_json::Value;
use tokio::time::{pause, resume};

use super::{
    harness::{chat, in_front_of, response},
    wire::Upstream,
};

#[tokio::test]
async fn a_rejection_is_returned_at_once_if_it_outlasts_the_deadline() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "max_wait_ms = 3_600_000").await;
    let mut caller = gateway.connect().await;
    caller
        .send(chat("large", "x-tower-429-deadline-ms: 600000\r\n"))
        .await;
    // Without the deadline, the call would wait for half an hour.
    let limited = response(
        "429 Too Many Requests",
        "retry-after: 1800\r\n",
        "own words",
    );
    upstream.respond(&limited).await;
    let head = caller.head().await;
    assert_eq!(head.status(), 429);
    assert_eq!(head.get("retry-after"), Some("1800"));
    assert_eq!(caller.read_body(&head).await, b"own words");
}

#[tokio::test]
async fn gateway_retries_a_429_without_a_hint_with_default_settings() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let limited = response("429 Too Many Requests", "connection: close\r\n", "{}");
    let mut provider = upstream.accept().await;
    for answer in [&limited, &limited, &response("200 OK", "", "{}")] {
        let head = provider.head().await;
        provider.read_body(&head).await;
        provider.send(answer).await;
        if *answer == limited {
            // The paused clock skips the wait for the next send.
            pause();
            provider = upstream.accept().await;
            resume();
        }
    }
    let head = caller.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("x-tower-429-attempts"), Some("3"));
}

#[tokio::test]
async fn gateway_returns_504_if_the_upstream_exceeds_the_deadline() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller
        .send(chat("large", "x-tower-429-deadline-ms: 50\r\n"))
        .await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    // The provider never responds.
    let head = caller.head().await;
    assert_eq!(head.status(), 504);
    assert_eq!(head.get("x-tower-429-attempts"), Some("1"));
    let body: Value = serde_json::from_slice(&caller.read_body(&head).await).unwrap();
    assert_eq!(body["error"]["code"], "deadline_passed");
    provider.closed().await;
    assert_eq!(gateway.in_flight(), 0);
    let counted = "tower_429_calls_total{host=\"127.0.0.1\",outcome=\"timed_out\"} 1\n";
    let metrics = gateway.get("/metrics").await;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn configured_deadline_applies_to_callers_that_set_none() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "deadline_ms = 50").await;
    let (head, _) = gateway.send(&chat("large", "")).await;
    assert_eq!(head.status(), 504);
}

#[tokio::test]
async fn gateway_rejects_an_invalid_deadline() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for value in ["soon", "-1", "0", "1.5", ""] {
        let header = format!("x-tower-429-deadline-ms: {value}\r\n");
        let (head, body) = gateway.send(&chat("large", &header)).await;
        assert_eq!(head.status(), 400, "{value}");
        assert!(body.contains("x-tower-429-deadline-ms"), "{body}");
    }
}
