//! Callers that are silent or slow. The tests advance the clock instead of waiting.

use std::time::Duration;

use tokio::time::{advance, pause, resume};

use super::{
    harness::{Running, chat, in_front_of, own_rejection, response},
    serve::Config,
    wire::{Upstream, Wire, in_time},
};

/// Sends the head of a request whose body the gateway begins to read. Returns the caller, and the body to send.
async fn begun(gateway: &Running, headers: &str) -> (Wire, String) {
    let request = chat("large", &format!("expect: 100-continue\r\n{headers}"));
    let (head, body) = request.split_at(request.find("\r\n\r\n").unwrap() + 4);
    let mut caller = gateway.connect().await;
    caller.send(head).await;
    assert_eq!(caller.head().await.status(), 100);
    (caller, body.into())
}

/// Returns a caller that got a response, and has sent the start of another request.
async fn half_a_head(gateway: &Running) -> Wire {
    let mut caller = gateway.connect().await;
    caller
        .send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nPOST /v1/chat/completions HTTP/1.1\r\nho")
        .await;
    let head = caller.head().await;
    assert_eq!(caller.read_body(&head).await, b"ok\n");
    caller
}

/// Sends the start of an upload. Returns the caller, and the upstream that has read the start.
async fn half_an_upload(gateway: &Running, upstream: &Upstream) -> (Wire, Wire) {
    let mut caller = gateway.connect().await;
    caller
        .send("POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nbegun")
        .await;
    let mut provider = upstream.accept().await;
    provider.head().await;
    assert_eq!(provider.exactly(5).await, b"begun");
    (caller, provider)
}

#[tokio::test]
async fn gateway_times_out_a_caller_that_is_silent_during_a_request() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let caller = half_a_head(&gateway).await;
    pause();
    assert_eq!(caller.rest().await, "");
    resume();

    let too_slow = (408, String::from("request_too_slow"));
    let (mut caller, body) = begun(&gateway, "").await;
    caller.send(&body[..5]).await;
    pause();
    assert_eq!(own_rejection(&mut caller).await, too_slow);
    resume();

    let (mut caller, provider) = half_an_upload(&gateway, &upstream).await;
    pause();
    assert_eq!(own_rejection(&mut caller).await, too_slow);
    provider.closed().await;
}

#[tokio::test]
async fn gateway_times_out_json_that_arrives_byte_by_byte() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, body) = begun(&gateway, "").await;
    pause();
    for byte in body.as_bytes().chunks(1).take(4) {
        caller.send(byte).await;
        advance(Duration::from_secs(20)).await;
    }
    assert_eq!(
        own_rejection(&mut caller).await,
        (408, String::from("request_too_slow"))
    );
}

#[tokio::test]
async fn slow_upload_does_not_time_out_while_bytes_arrive() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, mut provider) = half_an_upload(&gateway, &upstream).await;
    for part in [100, 200, 300, 395] {
        pause();
        advance(Duration::from_secs(40)).await;
        resume();
        caller.send(vec![b'u'; part]).await;
        assert_eq!(provider.exactly(part).await.len(), part);
    }
    provider.send(response("200 OK", "", "{}")).await;
    assert_eq!(caller.head().await.status(), 200);
}

/// Stops a gateway, and checks that it ends within `grace_ms`.
async fn stops(gateway: Running) {
    let file = "[[upstream]]\nname = \"u\"\nat = \"mock\"\nroutes = [\"/v1\"]\n";
    let grace = Duration::from_millis(Config::parse(file).unwrap().grace_ms);
    pause();
    gateway.stop.send(()).unwrap();
    let ended = tokio::time::timeout(grace, gateway.server).await;
    ended.expect("the gateway did not stop").unwrap();
    resume();
}

#[tokio::test]
async fn silent_callers_do_not_delay_a_stop() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let caller = gateway.connect().await;
    // After this request the earlier connection is accepted, too.
    gateway.get("/healthz").await;
    stops(gateway).await;
    caller.closed().await;

    let gateway = in_front_of(&upstream, "").await;
    let caller = half_a_head(&gateway).await;
    stops(gateway).await;
    assert_eq!(caller.rest().await, "");

    let stopping = (503, String::from("stopping"));
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, body) = begun(&gateway, "").await;
    caller.send(&body[..5]).await;
    stops(gateway).await;
    assert_eq!(own_rejection(&mut caller).await, stopping);

    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, provider) = half_an_upload(&gateway, &upstream).await;
    stops(gateway).await;
    assert_eq!(own_rejection(&mut caller).await, stopping);
    provider.closed().await;
}

#[tokio::test]
async fn request_that_completes_after_a_stop_gets_its_response() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, body) = begun(&gateway, "").await;
    gateway.stop.send(()).unwrap();
    caller.send(&body).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.read_body(&head).await;
    // The upstream may take any time.
    for _ in 0..20 {
        pause();
        advance(Duration::from_secs(5)).await;
        resume();
    }
    assert!(!gateway.server.is_finished());
    provider.send(response("200 OK", "", "{}")).await;
    assert_eq!(caller.head().await.status(), 200);
    in_time("the end of the server", gateway.server)
        .await
        .unwrap();
}

#[tokio::test]
async fn reported_wait_does_not_include_a_slow_upload() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, body) = begun(&gateway, "").await;
    let upload = Duration::from_secs(50);
    pause();
    advance(upload).await;
    resume();
    caller.send(&body).await;
    upstream.respond(&response("200 OK", "", "{}")).await;
    let head = caller.head().await;
    assert_eq!(head.get("x-tower-429-attempts"), Some("1"));
    let waited = head.get("x-tower-429-waited-ms").unwrap();
    assert!(
        waited.parse::<u128>().unwrap() < upload.as_millis(),
        "{waited}"
    );
}

#[tokio::test]
async fn deadline_includes_a_slow_upload() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "max_wait_ms = 3_600_000").await;
    let (mut caller, body) = begun(&gateway, "x-tower-429-deadline-ms: 60000\r\n").await;
    pause();
    advance(Duration::from_secs(50)).await;
    resume();
    caller.send(&body).await;
    // The hint would fit into the minute, but not into the rest of it.
    let limited = response("429 Too Many Requests", "retry-after: 20\r\n", "own words");
    upstream.respond(&limited).await;
    assert_eq!(caller.head().await.status(), 429);
}
