//! What flows, flows; and what is given up on one side ends on the other.

use super::{
    harness::{Running, STREAM, chat, in_front_of, response},
    wire::{Upstream, in_time},
};

#[tokio::test]
async fn a_streamed_answer_arrives_as_the_upstream_sends_it() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;

    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    provider.send(STREAM).await;
    let mut head = None;
    for number in 0..5 {
        let event = format!("data: {{\"number\": {number}}}\n\n");
        provider.send_chunk(&event).await;
        if number == 0 {
            head = Some(caller.head().await);
        }
        // The provider sends the next only after this one was seen.
        assert_eq!(caller.text(event.len()).await, event);
    }
    provider.send_chunk("").await;
    assert_eq!(caller.whole(&head.unwrap()).await, b"", "and then it ends");
}

#[tokio::test]
async fn a_caller_that_is_gone_in_mid_stream_closes_the_upstream_connection() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;

    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    provider.send(STREAM).await;
    provider.send_chunk("data: 1\n\n").await;
    caller.head().await;
    caller.text(9).await;

    drop(caller);
    provider.closed().await;
}

#[tokio::test]
async fn a_caller_that_is_gone_before_the_answer_closes_the_upstream_connection() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    assert_eq!(gateway.in_flight(), 1);

    drop(caller);
    provider.closed().await;
    abandoned(&gateway, 1).await;
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test]
async fn a_caller_that_is_gone_while_it_waits_for_a_key_frees_its_place() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "max_wait_ms = 3_600_000").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    upstream.answer(&limited).await;
    // The rejection is reported while the call still waits.
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

/// Asks until the gateway has noticed that so many callers are gone.
async fn abandoned(gateway: &Running, count: u32) {
    let line = format!("tower_429_calls_total{{host=\"127.0.0.1\",outcome=\"dropped\"}} {count}\n");
    in_time("word of the caller's end", async {
        while !gateway.get("/metrics").await.contains(&line) {}
    })
    .await;
}

#[tokio::test]
async fn an_upload_leaves_before_it_has_come_in_whole() {
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
async fn an_upload_whose_caller_is_gone_closes_the_upstream_connection() {
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
async fn a_stream_that_breaks_upstream_does_not_end_as_if_it_were_whole() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    provider.send(STREAM).await;
    provider.send_chunk("data: 1\n\n").await;
    caller.head().await;
    caller.text(9).await;
    drop(provider);
    assert_eq!(
        caller.rest().await,
        "",
        "no last chunk, so the caller sees the break"
    );
}

#[tokio::test]
async fn open_answers_come_to_their_end_after_a_stop_and_new_ones_do_not_begin() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    provider.send(STREAM).await;
    provider.send_chunk("data: 1\n\n").await;
    let head = caller.head().await;
    caller.text(9).await;

    gateway.stop.send(()).unwrap();
    in_time("the closed door", async {
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
    assert_eq!(caller.whole(&head).await, b"");
    in_time("the end of the server", gateway.server)
        .await
        .unwrap();
}
