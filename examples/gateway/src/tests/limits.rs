//! Limits of all callers together: connections, and memory for request bodies.

use super::{
    harness::{Running, chat, in_front_of_with, own_rejection, response},
    wire::{Upstream, Wire, in_time},
};

const MIB: usize = 1024 * 1024;

/// The least `max_buffered_bytes`.
const TWO_MIB: &str = "max_buffered_bytes = 2_097_152";

fn full() -> (u16, String) {
    (503, "buffers_full".into())
}

/// Returns the head of a request whose body follows a `100 Continue`.
fn head(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n{headers}\r\n")
}

/// Returns the head of a request with JSON of this length.
fn json(length: usize) -> String {
    let headers = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    head("/v1/chat/completions", &headers)
}

/// Sends the head of a request with JSON. Returns the caller, and the status that it got.
async fn offered(gateway: &Running, length: usize) -> (Wire, u16) {
    let mut caller = gateway.connect().await;
    caller.send(json(length)).await;
    let status = caller.head().await.status();
    (caller, status)
}

/// Offers JSON of this length until the gateway has memory for it.
async fn until_it_fits(gateway: &Running, length: usize) -> Wire {
    in_time("memory for a body", async {
        loop {
            let (caller, status) = offered(gateway, length).await;
            if status == 100 {
                return caller;
            }
        }
    })
    .await
}

async fn is_healthy(caller: &mut Wire) {
    caller
        .send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    let head = caller.head().await;
    assert_eq!(caller.read_body(&head).await, b"ok\n");
}

#[tokio::test]
async fn connection_waits_while_max_connections_are_open() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of_with("max_connections = 2", &upstream, "").await;
    let (mut first, mut second) = (gateway.connect().await, gateway.connect().await);
    is_healthy(&mut first).await;
    is_healthy(&mut second).await;

    let mut third = gateway.connect().await;
    let others = async {
        for _ in 0..20 {
            is_healthy(&mut first).await;
            is_healthy(&mut second).await;
        }
    };
    tokio::select! {
        () = is_healthy(&mut third) => panic!("a third connection was served"),
        () = others => {}
    }
    drop(second);
    let head = third.head().await;
    assert_eq!(third.read_body(&head).await, b"ok\n");

    // A waiting connection does not delay a stop.
    let _fourth = gateway.connect().await;
    drop((first, third));
    gateway.stop.send(()).unwrap();
    in_time("the end of the server", gateway.server)
        .await
        .unwrap();
}

#[tokio::test]
async fn gateway_rejects_a_large_body_while_memory_is_in_use() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of_with(TWO_MIB, &upstream, "").await;
    let (first, status) = offered(&gateway, MIB + MIB / 2).await;
    assert_eq!(status, 100);

    for request in [
        json(MIB),
        head("/v1/files", "content-length: 1048576\r\n"),
        // A body of unknown length reserves the replay limit.
        head("/v1/files", "transfer-encoding: chunked\r\n"),
    ] {
        let mut second = gateway.connect().await;
        second.send(&request).await;
        let head = second.head().await;
        assert_eq!(head.status(), 503, "{request}");
        assert_eq!(head.get("retry-after"), Some("1"));
        let body = second.read_body(&head).await;
        assert!(String::from_utf8(body).unwrap().contains("buffers_full"));
    }

    let small = chat(&"m".repeat(10_000), "");
    for request in [
        small.as_str(),
        "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        let mut caller = gateway.connect().await;
        caller.send(request).await;
        let answer = response("200 OK", "connection: close\r\n", "{}");
        upstream.respond(&answer).await;
        assert_eq!(caller.head().await.status(), 200);
    }
    // The remaining memory is enough for a smaller body. A body over the replay limit is not kept.
    assert_eq!(offered(&gateway, MIB / 4).await.1, 100);
    let mut large = gateway.connect().await;
    large
        .send(head("/v1/files", "content-length: 9000000\r\n"))
        .await;
    assert_eq!(large.head().await.status(), 100);

    drop(first);
    until_it_fits(&gateway, MIB).await;
}

#[tokio::test]
async fn gateway_counts_a_body_until_its_call_has_a_response() {
    let upstream = Upstream::start().await;
    let settings = "keys = [\"KEY_1\", \"KEY_2\"]\nmax_wait_ms = 3_600_000";
    let gateway = in_front_of_with(TWO_MIB, &upstream, settings).await;
    let (mut first, status) = offered(&gateway, 2 * MIB).await;
    assert_eq!(status, 100);
    let model = "{\"model\": \"large\"}";
    first.send(" ".repeat(2 * MIB - model.len()) + model).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (mut provider, ..) = upstream.respond(&limited).await;

    // The body is sent again with the second key, so it is still in memory.
    let head = provider.head().await;
    assert_eq!(provider.read_body(&head).await.len(), 2 * MIB);
    let mut second = gateway.connect().await;
    second.send(json(MIB)).await;
    assert_eq!(own_rejection(&mut second).await, full());

    provider.send(response("200 OK", "", "{}")).await;
    assert_eq!(first.head().await.status(), 200);
    until_it_fits(&gateway, 2 * MIB).await;
}

#[tokio::test]
async fn gateway_frees_the_memory_of_a_caller_that_disconnects() {
    let upstream = Upstream::start().await;
    let settings = "max_wait_ms = 3_600_000";
    let gateway = in_front_of_with(TWO_MIB, &upstream, settings).await;
    let (mut first, _) = offered(&gateway, 2 * MIB).await;
    first.send(" ".repeat(2 * MIB)).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    upstream.respond(&limited).await;
    let mut second = gateway.connect().await;
    second.send(json(MIB)).await;
    assert_eq!(own_rejection(&mut second).await, full());
    drop(first);
    until_it_fits(&gateway, 2 * MIB).await;
}
