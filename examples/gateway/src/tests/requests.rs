//! Requests that are not valid HTTP/1.1, break off or cannot be forwarded as they are.

use super::{
    harness::{Running, chat, in_front_of, own_rejection, response, run},
    serve::Config,
    wire::{Head, Upstream},
};

fn chunked(headers: &str, body: &str) -> String {
    format!(
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n{headers}\r\n{body}"
    )
}

#[tokio::test]
async fn gateway_blames_the_caller_for_a_body_that_it_cannot_read() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for broken in [
        "5\r\nbegun\r\nnothing\r\n",
        "5\r\nbegunandmore\r\n",
        "5\r\nbegun\r\n-1\r\n",
        "5\r\nbegun\r\nfffffffffffffffff\r\n",
        "5\r\nbegun\r\n0\r\nno trailer\r\n\r\n",
    ] {
        for headers in ["", "content-type: application/json\r\n"] {
            let mut caller = gateway.connect().await;
            caller.send(chunked(headers, broken)).await;
            let rejection = own_rejection(&mut caller).await;
            assert_eq!(rejection, (400, "request_not_read".into()), "{broken:?}");
        }
    }
    // The caller stops sending, and still reads.
    for request in [
        chunked("", "5\r\nbegun\r\n"),
        chunked("", "5\r\nbeg"),
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nbegun".into(),
        chat("large", "").replace("]}", ""),
    ] {
        let mut caller = gateway.connect().await;
        caller.send(&request).await;
        caller.finish().await;
        let rejection = own_rejection(&mut caller).await;
        assert_eq!(rejection, (400, "request_not_read".into()), "{request:?}");
    }
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test]
async fn gateway_blames_the_caller_for_a_body_that_breaks_after_a_retry() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "keys = [\"KEY_1\", \"KEY_2\"]").await;
    let mut caller = gateway.connect().await;
    caller.send(chunked("", "5\r\nbegun\r\n")).await;
    let mut first = upstream.accept().await;
    first.head().await;
    assert_eq!(first.text(5).await, "begun");
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    first.send(limited).await;
    let mut second = upstream.accept().await;
    second.head().await;
    assert_eq!(second.text(5).await, "begun");
    caller.send("nothing\r\n").await;
    assert_eq!(
        own_rejection(&mut caller).await,
        (400, "request_not_read".into())
    );
    second.closed().await;
}

#[tokio::test]
async fn gateway_rejects_a_request_that_does_not_name_one_host() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for path in ["/healthz", "/v1/models"] {
        for (target, hosts) in [
            ("", ""),
            ("", "host: localhost\r\nhost: localhost\r\n"),
            ("", "host: localhost\r\nx: 1\r\nHost: 127.0.0.1\r\n"),
            ("", "host:\r\n"),
            ("", "host: user@localhost\r\n"),
            ("", "host: user:secret@localhost:80\r\n"),
            ("", "host: @localhost\r\n"),
            ("", "host: localhost:http\r\n"),
            ("", "host: localhost:80:80\r\n"),
            ("", "host: localhost/v1\r\n"),
            ("", "host: http://localhost\r\n"),
            ("", "host: local host\r\n"),
            ("", "host: [::1\r\n"),
            ("", "host: [localhost]\r\n"),
            ("http://localhost", ""),
            ("http://user@localhost", "host: localhost\r\n"),
            ("http://user:secret@localhost", "host: localhost\r\n"),
            ("http://@localhost", "host: localhost\r\n"),
        ] {
            let request = format!("GET {target}{path} HTTP/1.1\r\n{hosts}\r\n");
            let mut caller = gateway.connect().await;
            caller.send(&request).await;
            let rejection = own_rejection(&mut caller).await;
            assert_eq!(rejection, (400, "request_malformed".into()), "{request:?}");
        }
        // HTTP/1.0 needs no Host, but allows at most one.
        let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\nhost: localhost\r\n\r\n");
        let (head, _) = gateway.send(&request).await;
        assert_eq!(head.status(), 400);
    }
    for (target, host) in [
        ("", "localhost:"),
        ("", "[::1]:4290"),
        ("http://localhost:4290", "127.0.0.1"),
    ] {
        let request = format!("GET {target}/healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let (head, _) = gateway.send(&request).await;
        assert_eq!(head.status(), 200, "{request:?}");
    }
}

/// Sends a request for a path with a query of this length in total. The upstream returns 200.
async fn send_path(gateway: &Running, upstream: &Upstream, length: usize) -> (u16, Option<Head>) {
    let path = format!("/v1/{}?page=2", "p".repeat(length - "/v1/?page=2".len()));
    let mut caller = gateway.connect().await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    caller.send(request).await;
    let answer = response("200 OK", "connection: close\r\n", "{}");
    tokio::select! {
        (_, seen, _) = upstream.respond(&answer) => (caller.head().await.status(), Some(seen)),
        head = caller.head() => (head.status(), None),
    }
}

#[tokio::test]
async fn gateway_rejects_a_path_that_its_upstreams_address_makes_too_long() {
    let upstream = Upstream::start().await;
    let base = "/base".repeat(20);
    let text = format!(
        "[[upstream]]\nname = \"provider\"\nat = \"http://{}{base}\"\nroutes = [\"/v1\"]\nkeys = [\"KEY_1\"]\n\
         key_in = {{ query = \"key\" }}\n",
        upstream.address
    );
    let gateway = run(&Config::parse(&text).unwrap(), "").await;
    for length in [65_534, 65_500, 65_534 - base.len()] {
        let (status, seen) = send_path(&gateway, &upstream, length).await;
        assert_eq!(status, 414, "{length}");
        assert!(seen.is_none(), "{length}");
    }
    for length in [60_000, 65_300] {
        let (status, seen) = send_path(&gateway, &upstream, length).await;
        assert_eq!(status, 200, "{length}");
        let start = seen.unwrap().start;
        assert!(start.starts_with(&format!("GET {base}/v1/ppp")));
        let (_, query) = start.split_once('?').unwrap();
        assert_eq!(query, "page=2&key=sk%2Dsecret%2Done HTTP/1.1");
    }
}

#[tokio::test]
async fn gateway_rejects_a_path_that_a_targets_address_makes_too_long() {
    let upstream = Upstream::start().await;
    let at = format!("http://{}{}", upstream.address, "/elsewhere".repeat(100));
    let fallback = format!("fallback = [{{ model = \"small\", at = \"{at}\" }}]");
    let gateway = in_front_of(&upstream, &fallback).await;
    assert_eq!(send_path(&gateway, &upstream, 65_000).await.0, 414);
    assert_eq!(send_path(&gateway, &upstream, 64_000).await.0, 200);
}

#[tokio::test]
async fn gateway_rejects_a_transfer_coding_other_than_chunked() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for (codings, status) in [
        ("gzip, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("identity, chunked", 501),
        ("x-own;q=\"1\", Chunked", 501),
        ("chunked, chunked", 400),
        ("chunked\r\ntransfer-encoding: chunked", 400),
        // The end of such a body is unknown.
        ("chunked, gzip", 400),
    ] {
        for path in ["/v1/files", "/healthz"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: {codings}\r\n\r\n\
                 5\r\nbegun\r\n0\r\n\r\n"
            );
            let mut caller = gateway.connect().await;
            caller.send(request).await;
            assert_eq!(caller.head().await.status(), status, "{codings:?}");
        }
    }
}

#[tokio::test]
async fn gateway_does_not_forward_which_transfer_codings_its_caller_reads() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    let te = "te: gzip, deflate;q=0.5\r\nconnection: te\r\n";
    caller.send(chat("large", te)).await;
    let (_, seen, _) = upstream.respond(&response("200 OK", "", "{}")).await;
    assert_eq!(seen.get("te"), None);
    assert_eq!(caller.head().await.status(), 200);
}
