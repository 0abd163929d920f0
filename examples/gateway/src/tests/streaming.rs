//! Bodies are streamed, and a side that disconnects ends the other side.

use super::{
    harness::{Running, STREAM, chat, in_front_of, response},
    wire::{Upstream, in_time},
};

#[tokio::test]
async fn streamed_response_arrives_as_the_upstream_sends_it() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;

    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    provider.send(STREAM).await;
    let mut head = None;
    for number in 0..5 {
        let event = format!("data: {{\"number\": {number}}}\n\n");
        provider.send_chunk(&event).await;
        if number == 0 {
            head = Some(caller.head().await);
        }
        // The provider sends the next event only after the caller has this one.
        assert_eq!(caller.text(event.len()).await, event);
    }
    provider.send_chunk("").await;
    assert_eq!(
        caller.read_body(&head.unwrap()).await,
        b"",
        "the stream ends"
    );
}

#[tokio::test]
async fn caller_that_disconnects_in_a_stream_closes_the_upstream_connection() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;

    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    provider.send(STREAM).await;
    provider.send_chunk("data: 1\n\n").await;
    caller.head().await;
    caller.text(9).await;

    drop(caller);
    provider.closed().await;
}

#[tokio::test]
async fn caller_that_disconnects_early_closes_the_upstream_connection() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    assert_eq!(gateway.in_flight(), 1);

    drop(caller);
    provider.closed().await;
    abandoned(&gateway, 1).await;
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test]
async fn caller_that_disconnects_while_it_waits_leaves_the_queue() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "max_wait_ms = 3_600_000").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    upstream.respond(&limited).await;
    // The gateway shows the rejection while the call still waits.
    in_time("the rejection", async {
        while gateway
            .json("/rejections")
            .await
            .as_array()
            .unwrap()
            .is_empty()
        {}
    })
    .await;
    drop(caller);
    abandoned(&gateway, 1).await;
    assert_eq!(gateway.in_flight(), 0);
}

/// Polls until the gateway has counted this many callers that disconnected.
async fn abandoned(gateway: &Running, count: u32) {
    let line = format!("tower_429_calls_total{{host=\"127.0.0.1\",outcome=\"dropped\"}} {count}\n");
    in_time("the count of dropped calls", async {
        while !gateway.get("/metrics").await.contains(&line) {}
    })
    .await;
}

#[tokio::test]
async fn upload_is_forwarded_before_it_is_complete() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    let part = vec![b'u'; 1024 * 1024];
    caller
        .send(format!(
            "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\n\
             content-length: {}\r\n\r\n",
            part.len() * 5
        ))
        .await;

    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    assert_eq!(head.get("content-length"), Some("5242880"));
    for _ in 0..5 {
        // The caller sends the next part only after the provider has this one.
        let (_, arrived) = tokio::join!(caller.send(&part), provider.exactly(part.len()));
        assert!(arrived == part);
    }
    provider.send(response("200 OK", "", "{}")).await;
    assert_eq!(caller.head().await.status(), 200);
}

#[tokio::test]
async fn upload_whose_caller_disconnects_closes_the_upstream_connection() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller
        .send("POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nbegun")
        .await;
    let mut provider = upstream.accept().await;
    provider.head().await;
    assert_eq!(provider.exactly(5).await, b"begun");
    drop(caller);
    provider.closed().await;
}

#[tokio::test]
async fn stream_that_breaks_upstream_does_not_look_complete() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    provider.send(STREAM).await;
    provider.send_chunk("data: 1\n\n").await;
    caller.head().await;
    caller.text(9).await;
    drop(provider);
    assert_eq!(
        caller.rest().await,
        "",
        "there is no last chunk, so the caller notices the break"
    );
}

#[tokio::test]
async fn open_responses_complete_after_a_stop_and_the_port_is_closed() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    provider.send(STREAM).await;
    provider.send_chunk("data: 1\n\n").await;
    let head = caller.head().await;
    caller.text(9).await;

    gateway.stop.send(()).unwrap();
    in_time("the closed port", async {
        while tokio::net::TcpStream::connect(gateway.address)
            .await
            .is_ok()
        {}
    })
    .await;
    provider.send_chunk("data: 2\n\n").await;
    assert_eq!(caller.text(9).await, "data: 2\n\n");
    assert!(!gateway.server.is_finished());
    provider.send_chunk("").await;
    assert_eq!(caller.read_body(&head).await, b"");
    in_time("the end of the server", gateway.server)
        .await
        .unwrap();
}
