//! The encodings and formats of rejections.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, ServiceExt, service_fn};
use tower_429::{
    InspectLayer,
    rejection::{Reason, Rejection},
};

use super::{hint, read};

const JSON: &str =
    r#"{"error":{"code":"insufficient_quota","message":"Please try again in 20s."}}"#;

fn facts(rejection: Option<Rejection>) -> Option<(Reason, Option<Duration>)> {
    rejection.map(|it| (it.reason, it.retry_after))
}

#[test]
fn json_is_parsed_after_a_byte_order_mark_and_before_nuls() {
    let plain = facts(read(429, "", JSON.as_bytes()));
    assert_eq!(plain.unwrap().0, Reason::QuotaExhausted);
    for framed in [
        format!("\u{feff}{JSON}"),
        format!("{JSON}\0\0\0"),
        format!("\u{feff}\r\n{JSON}\r\n\0\0"),
    ] {
        assert_eq!(facts(read(429, "", framed.as_bytes())), plain);
    }
}

#[test]
fn ascii_of_a_body_in_another_encoding_is_parsed() {
    let bodies: [&[u8]; 4] = [
        // GBK, whose second bytes can equal a backslash or a brace.
        b"{\"error\":{\"message\":\"\xd3\xe0\xb6\xee\xb2\xbb\xd7\xe3 try again in 20s\",\"code\":\"insufficient_quota\"}}",
        b"{\"error\":{\"message\":\"try again in 20s \x81\x5c\",\"code\":\"insufficient_quota\"}}",
        b"{\"error\":{\"message\":\"try again in 20s \x81\x7d\x81\x7b\",\"code\":\"insufficient_quota\"}}",
        // Latin-1, with an escape after a letter outside ASCII.
        b"{\"error\":{\"message\":\"\xe9\\\"puis\xe9: try again in 20s\",\"code\":\"insufficient_quota\"}}",
    ];
    for body in bodies {
        let expected = (Reason::QuotaExhausted, Some(Duration::from_secs(20)));
        let text = String::from_utf8_lossy(body);
        assert_eq!(facts(read(429, "", body)), Some(expected), "{text}");
    }
}

#[test]
fn utf_16_leaves_the_rejection_of_the_head() {
    let utf_16: Vec<u8> = format!("\u{feff}{JSON}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(
        facts(read(429, "", &utf_16)),
        Some((Reason::RateLimited, None))
    );
}

#[test]
fn event_that_is_the_body_of_an_error_is_parsed() {
    for body in [
        format!("event: error\ndata: {JSON}\n\n"),
        format!("id:1\nevent:error\n:HTTP_STATUS/429\ndata:{JSON}\n\n"),
        format!(": keep-alive\n\ndata: {JSON}\r\n\r\n"),
        format!("data: {JSON}"),
    ] {
        for headers in ["", "content-type: text/event-stream"] {
            let rejection = read(429, headers, body.as_bytes());
            let expected = (Reason::QuotaExhausted, Some(Duration::from_secs(20)));
            assert_eq!(facts(rejection), Some(expected), "{body}");
        }
    }
    for stray in [
        "event: error\n\n",
        "data: [DONE]\n\n",
        "data: overloaded\n\n",
        "data",
        ":",
    ] {
        let rejection = read(429, "", stray.as_bytes());
        assert_eq!(
            facts(rejection),
            Some((Reason::RateLimited, None)),
            "{stray}"
        );
    }
}

#[test]
fn xml_error_of_aws_is_parsed() {
    for code in [
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "TooManyRequestsException",
    ] {
        for (start, end) in [
            (
                "<ErrorResponse xmlns=\"https://x.amazonaws.com/doc/\"><Error><Type>Sender</Type>",
                "</Error><RequestId>A</RequestId></ErrorResponse>",
            ),
            (
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>",
                "</Error>",
            ),
            ("<Response><Errors><Error>", "</Error></Errors></Response>"),
        ] {
            let body = format!(
                "{start}<Code>{code}</Code><Message>Rate exceeded, retry in 20s</Message>{end}"
            );
            let expected = (Reason::RateLimited, Some(Duration::from_secs(20)));
            for status in [400, 429] {
                let rejection = read(status, "content-type: text/xml", body.as_bytes());
                assert_eq!(facts(rejection), Some(expected), "{status} {body}");
            }
        }
        let json =
            format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"Rate"}}"#);
        let rejection = read(400, "", json.as_bytes());
        assert_eq!(
            facts(rejection),
            Some((Reason::RateLimited, None)),
            "{json}"
        );
    }
}

#[test]
fn xml_of_another_error_and_html_are_no_rejection() {
    for body in [
        "<ErrorResponse><Error><Code>ValidationError</Code><Message>No</Message></Error></ErrorResponse>",
        "<!DOCTYPE html><html><head><title>400</title></head><body><Code>Throttling</Code></body></html>",
        "<ErrorResponse><Error><Code>Throttling",
        "<<<<>>>>",
        "<Error><Error><Error>",
    ] {
        assert_eq!(
            read(400, "content-type: text/xml", body.as_bytes()),
            None,
            "{body}"
        );
    }
}

#[test]
fn longest_of_several_retry_after_values_wins() {
    for (headers, expected) in [
        ("retry-after: 5, 10", Some(10_000)),
        ("retry-after: 10, 5", Some(10_000)),
        ("retry-after: 5\nretry-after: 10", Some(10_000)),
        ("retry-after: 5,10\nretry-after: 7", Some(10_000)),
        (
            "retry-after: Tue, 10 Feb 2026 00:01:00 GMT, 5",
            Some(60_000),
        ),
        (
            "retry-after: 5, Tue, 10 Feb 2026 00:01:00 GMT",
            Some(60_000),
        ),
        ("retry-after-ms: 250, 900", Some(900)),
        ("retry-after: 5, soon", Some(5_000)),
        ("retry-after: 1,000", None),
        ("retry-after: soon, later", None),
        ("retry-after: ,,,", None),
        (
            "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 5s, 10s",
            Some(10_000),
        ),
    ] {
        assert_eq!(hint(read(429, headers, b"")), expected, "{headers}");
    }
}

/// Returns the rejection that `InspectLayer` stores in the response.
async fn inspected(status: u16, kind: &'static str, body: &[u8]) -> Option<Rejection> {
    let body = Bytes::copy_from_slice(body);
    let provider = service_fn(move |_: Request<String>| {
        let response = Response::builder()
            .status(status)
            .header("content-type", kind)
            .body(Full::new(body.clone()));
        async { response }
    });
    let layer = InspectLayer::new().first_event(Duration::from_secs(1));
    let response = layer.layer(provider).oneshot(Request::default()).await;
    response.unwrap().extensions().get::<Rejection>().cloned()
}

#[tokio::test(start_paused = true)]
async fn inspect_layer_parses_every_format_of_an_error() {
    let quota = (Reason::QuotaExhausted, Some(Duration::from_secs(20)));
    let event = format!("id:1\nevent:error\n:HTTP_STATUS/429\ndata:{JSON}\n\n");
    let marked = format!("\u{feff}{JSON}\0");
    for (status, kind, body) in [
        (429, "text/event-stream", &event),
        (200, "text/event-stream", &event),
        (429, "application/json; charset=gbk", &marked),
        (200, "application/json", &marked),
    ] {
        let rejection = inspected(status, kind, body.as_bytes()).await;
        assert_eq!(facts(rejection), Some(quota), "{status} {kind}");
    }
    let xml = "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>";
    for kind in [
        "text/xml",
        "application/xml",
        "application/xml; charset=utf-8",
    ] {
        let rejection = inspected(400, kind, xml.as_bytes()).await;
        assert_eq!(
            facts(rejection),
            Some((Reason::RateLimited, None)),
            "{kind}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn event_of_a_success_is_a_rejection_by_the_status_that_it_states() {
    let event = |status: u16| {
        format!(
            "id:1\nevent:result\n:HTTP_STATUS/{status}\ndata:{{\"code\":\"New\",\"message\":\"x\"}}\n\n"
        )
    };
    let rejection = inspected(200, "text/event-stream", event(429).as_bytes()).await;
    assert_eq!(facts(rejection), Some((Reason::RateLimited, None)));
    let success = inspected(200, "text/event-stream", event(200).as_bytes()).await;
    assert_eq!(success, None);
}
