//! Answers of upstreams that are framed badly, break off or say more than an answer.

use super::{
    harness::{Running, chat, in_front_of, own_rejection, response},
    wire::{Upstream, Wire},
};

/// Sends a request on, up to its upstream, which is about to answer.
async fn forwarded(gateway: &Running, upstream: &Upstream, headers: &str) -> (Wire, Wire) {
    let mut caller = gateway.connect().await;
    caller.send(chat("large", headers)).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    (caller, provider)
}

#[tokio::test]
async fn gateway_forwards_all_chunks_of_an_answer_that_has_a_length_too() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for status in ["200 OK", "400 Bad Request", "500 Internal Server Error"] {
        for framing in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "Transfer-Encoding: Chunked\r\ncontent-length: 99\r\n",
        ] {
            for kind in ["application/json", "application/octet-stream"] {
                let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
                let head = format!("HTTP/1.1 {status}\r\n{framing}content-type: {kind}\r\n\r\n");
                provider.send(head).await;
                provider.send_chunk("{\"said\": ").await;
                provider.send_chunk("\"all of it\"}").await;
                provider.send_chunk("").await;
                let head = caller.head().await;
                let body = caller.whole(&head).await;
                let body = String::from_utf8(body).unwrap();
                assert_eq!(body, r#"{"said": "all of it"}"#, "{status} {head:?}");
            }
        }
    }
}

#[tokio::test]
async fn gateway_forwards_one_length_of_an_answer_that_repeats_it() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for lengths in ["2, 2", "2\r\ncontent-length: 2"] {
        let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {lengths}\r\n\r\n{{}}");
        provider.send(answer).await;
        let head = caller.head().await;
        let is_length = |(name, _): &&(String, String)| name == "content-length";
        let lengths: Vec<_> = head.headers.iter().filter(is_length).collect();
        assert_eq!(lengths.len(), 1, "{head:?}");
        assert_eq!(caller.whole(&head).await, b"{}");
    }
}

#[tokio::test]
async fn gateway_forwards_status_and_start_of_an_answer_that_breaks_off() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let start = r#"{"error": {"message": "it was"#;
    let by_length = format!("content-length: 1000\r\n\r\n{start}");
    let by_chunks = format!("transfer-encoding: chunked\r\n\r\n1d\r\n{start}\r\n");
    assert_eq!(start.len(), 0x1d);
    for status in ["200 OK", "400 Bad Request", "500 Internal Server Error"] {
        for body in [&by_length, &by_chunks] {
            for kind in ["application/json", "application/octet-stream"] {
                let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
                let answer = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{body}");
                provider.send(answer).await;
                drop(provider);
                let head = caller.head().await;
                assert_eq!(head.start, format!("HTTP/1.1 {status}"));
                let rest = caller.rest().await;
                assert!(rest.contains(start), "{status}: {rest}");
                assert!(!rest.ends_with("0\r\n\r\n"), "it looks complete: {rest}");
            }
        }
    }
}

#[tokio::test]
async fn gateway_forwards_an_error_that_breaks_off_after_a_retry() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "keys = [\"KEY_1\", \"KEY_2\"]").await;
    let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    provider.send(limited).await;
    let second = provider.head().await;
    provider.whole(&second).await;
    let broken = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 9\r\n\r\nhalf";
    provider.send(broken).await;
    drop(provider);
    let head = caller.head().await;
    assert_eq!(head.status(), 500);
    assert_eq!(head.get("x-tower-429-attempts"), Some("2"));
    assert_eq!(caller.rest().await, "half");
}

#[tokio::test]
async fn gateway_answers_502_for_an_answer_with_a_transfer_coding_but_chunked() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for status in ["200 OK", "400 Bad Request"] {
        for codings in ["gzip, chunked", "chunked, chunked", "gzip"] {
            let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
            let head = format!("HTTP/1.1 {status}\r\ntransfer-encoding: {codings}\r\n\r\n");
            provider.send(head).await;
            provider.send_chunk("not plain").await;
            provider.send_chunk("").await;
            drop(provider);
            let rejection = own_rejection(&mut caller).await;
            assert_eq!(rejection, (502, "upstream_failed".into()), "{codings}");
        }
    }
}

#[tokio::test]
async fn gateway_answers_502_for_a_switch_of_protocols_without_an_offer() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let websocket = "connection: upgrade\r\nupgrade: websocket\r\n";
    for upgrade in ["", websocket, "content-length: 2\r\n"] {
        // An offer of the caller's ends at the gateway.
        for offer in ["", websocket] {
            let (mut caller, mut provider) = forwarded(&gateway, &upstream, offer).await;
            let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n");
            provider.send(answer).await;
            let rejection = own_rejection(&mut caller).await;
            assert_eq!(rejection, (502, "upstream_failed".into()));
            provider.closed().await;
        }
    }
}

#[tokio::test]
async fn gateway_forwards_the_answer_after_some_interim_answers() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
    for _ in 0..20 {
        for interim in ["100 Continue", "102 Processing", "103 Early Hints"] {
            let interim = format!("HTTP/1.1 {interim}\r\nlink: </a>\r\n\r\n");
            provider.send(interim).await;
        }
    }
    provider.send(response("200 OK", "", "{}")).await;
    let head = caller.head().await;
    assert_eq!((head.status(), head.get("link")), (200, None));
}

#[tokio::test]
async fn gateway_ends_a_call_whose_interim_answers_do_not_end() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
    let flood = async { while provider.try_send(interim).await {} };
    let ((status, code), ()) = tokio::join!(own_rejection(&mut caller), flood);
    assert_eq!((status, code.as_str()), (502, "upstream_failed"));
    assert_eq!(gateway.in_flight(), 0);

    // The final answer behind them comes too late.
    let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
    let flood = interim.repeat(65) + &response("200 OK", "", "{}");
    provider.send(flood).await;
    assert_eq!(own_rejection(&mut caller).await.0, 502);
}

#[tokio::test]
async fn gateway_drops_what_an_answer_says_of_the_whole_origin() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for status in ["200 OK", "400 Bad Request"] {
        let (mut caller, mut provider) = forwarded(&gateway, &upstream, "").await;
        let dropped = [
            ("clear-site-data", "\"*\""),
            ("strict-transport-security", "max-age=31536000"),
            ("set-cookie", "__cf_bm=1; path=/"),
            ("refresh", "0; url=/keys"),
            ("service-worker-allowed", "/"),
            ("alt-svc", "h3=\":443\""),
            ("public-key-pins", "max-age=1"),
            ("nel", "{}"),
            ("report-to", "{}"),
            ("accept-ch", "width"),
        ];
        let headers = dropped.map(|(name, value)| format!("{name}: {value}\r\n"));
        let kept = "content-type: text/html\r\nx-content-type-options: none\r\n\
                    content-security-policy: default-src *\r\nx-kept: 1\r\n";
        let page = "<script>fetch('/keys')</script>";
        let answer = response(status, &(headers.concat() + kept), page);
        provider.send(answer).await;
        let head = caller.head().await;
        for (name, _) in dropped {
            assert_eq!(head.get(name), None, "{head:?}");
        }
        for (name, value) in [
            ("content-type", "text/html"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox"),
            ("x-kept", "1"),
        ] {
            let values = head.headers.iter().filter(|(known, _)| known == name);
            let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
            assert_eq!(values, [value], "{name}");
        }
    }
}
