//! Callers that keep silent, and callers that take their time. The clock is put forward, never waited for.

use std::time::Duration;

use tokio::time::{advance, pause, resume};

use super::{
    harness::{Running, chat, in_front_of, own_rejection, response},
    serve::Config,
    wire::{Upstream, Wire, in_time},
};

/// A request of which the gateway has begun to read the body, and the body that is still to come.
async fn begun(gateway: &Running, headers: &str) -> (Wire, String) {
    let request = chat("large", &format!("expect: 100-continue\r\n{headers}"));
    let (head, body) = request.split_at(request.find("\r\n\r\n").unwrap() + 4);
    let mut caller = gateway.connect().await;
    caller.send(head).await;
    assert_eq!(caller.head().await.status(), 100);
    (caller, body.into())
}

/// A caller that was answered, and has sent the beginning of another request.
async fn half_a_head(gateway: &Running) -> Wire {
    let mut caller = gateway.connect().await;
    caller
        .send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nPOST /v1/chat/completions HTTP/1.1\r\nho")
        .await;
    let head = caller.head().await;
    assert_eq!(caller.whole(&head).await, b"ok\n");
    caller
}

/// A caller that has sent the beginning of an upload, and its upstream, to which that has gone on.
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
async fn a_caller_that_keeps_silent_in_mid_request_is_left() {
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
async fn json_that_comes_byte_by_byte_is_left() {
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
async fn an_upload_may_take_its_time_while_it_comes() {
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

/// A gateway in front of one upstream is stopped, and has stopped before it would have been cut off.
async fn stops(gateway: Running) {
    let file = "[[upstream]]\nname = \"u\"\nat = \"mock\"\nroutes = [\"/v1\"]\n";
    let grace = Duration::from_millis(Config::parse(file).unwrap().grace_ms);
    pause();
    gateway.stop.send(()).unwrap();
    let ended = tokio::time::timeout(grace, gateway.server).await;
    ended.expect("it has not stopped").unwrap();
    resume();
}

#[tokio::test]
async fn a_stop_is_not_held_up_by_callers_that_keep_silent() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let caller = gateway.connect().await;
    // The connection before this one is accepted, too.
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
async fn what_still_comes_after_a_stop_is_answered() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, body) = begun(&gateway, "").await;
    gateway.stop.send(()).unwrap();
    caller.send(&body).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    // The upstream may take as long as it likes.
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
async fn a_slow_upload_is_no_wait_of_the_gateways() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, body) = begun(&gateway, "").await;
    let upload = Duration::from_secs(50);
    pause();
    advance(upload).await;
    resume();
    caller.send(&body).await;
    upstream.answer(&response("200 OK", "", "{}")).await;
    let head = caller.head().await;
    assert_eq!(head.get("x-tower-429-attempts"), Some("1"));
    let waited = head.get("x-tower-429-waited-ms").unwrap();
    assert!(
        waited.parse::<u128>().unwrap() < upload.as_millis(),
        "{waited}"
    );
}

#[tokio::test]
async fn a_slow_upload_takes_its_part_of_the_deadline() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "max_wait_ms = 3_600_000").await;
    let (mut caller, body) = begun(&gateway, "x-tower-429-deadline-ms: 60000\r\n").await;
    pause();
    advance(Duration::from_secs(50)).await;
    resume();
    caller.send(&body).await;
    // That would fit into a minute, and does not fit into what is left of it.
    let limited = response("429 Too Many Requests", "retry-after: 20\r\n", "own words");
    upstream.answer(&limited).await;
    assert_eq!(caller.head().await.status(), 429);
}
