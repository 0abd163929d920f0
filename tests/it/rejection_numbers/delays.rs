//! Delays in fields, dates and sentences.

use tower_429::rejection::Reason;

use super::{hint, read};

fn body(body: &str) -> Option<u128> {
    hint(read(429, "", body.as_bytes()))
}

#[test]
fn delay_is_parsed_from_every_field_that_providers_use() {
    for (field, expected) in [
        (r#""resets_in_seconds":602705"#, 602_705_000),
        (r#""resets_at":1770682800"#, 1_200_000),
        (r#""resets_at":1770682800000"#, 1_200_000),
        (r#""resets_at":"2026-02-10T00:20:00Z""#, 1_200_000),
        (r#""reset_at":"2026-02-10 08:20:00 +0800 CST""#, 1_200_000),
        (r#""reset_at":"1770682800""#, 1_200_000),
        (r#""reset_after_seconds":1200"#, 1_200_000),
        (r#""resetAfterSeconds":"1200""#, 1_200_000),
        (r#""reset_after":"20m0s""#, 1_200_000),
        (r#""retry_delay":"1200s""#, 1_200_000),
        (r#""retry_delay":1200"#, 1_200_000),
        (r#""retry_delay":{"seconds":1200}"#, 1_200_000),
        (r#""retry_after":1200"#, 1_200_000),
        (r#""retry_after":"20 minutes""#, 1_200_000),
        (r#""retry_after_ms":1200"#, 1_200),
        (r#""retry-after":"1200""#, 1_200_000),
    ] {
        for shape in [
            format!("{{{field}}}"),
            format!(r#"{{"error":{{"message":"no",{field}}}}}"#),
            format!(r#"{{"error":{{"message":"no"}},{field}}}"#),
            format!(r#"[{{"error":{{"details":[{{{field}}}]}}}}]"#),
            format!(r#"{{"error":{{"upstreamResponse":{{"error":{{{field}}}}}}}}}"#),
            serde_json::json!({ "error": { "message": format!("wrapped: {{{field}}}") } })
                .to_string(),
        ] {
            assert_eq!(body(&shape), Some(expected), "{shape}");
        }
    }
}

#[test]
fn absurd_or_unreadable_field_is_no_hint() {
    for field in [
        r#""resets_in_seconds":-5"#,
        r#""resets_in_seconds":99999999999"#,
        r#""resets_in_seconds":null"#,
        r#""resets_at":0"#,
        r#""resets_at":12"#,
        r#""resets_at":"soon""#,
        r#""resets_at":"2026-02-10 08:20:00""#,
        r#""resets_at":"9999-12-31T23:59:59Z""#,
        r#""retry_delay":{"seconds":-1}"#,
        r#""retry_delay":true"#,
        r#""retry_after":1e300"#,
        r#""usage":{"retry_after":5}"#,
    ] {
        let shape = format!(r#"{{"error":{{"message":"no",{field}}}}}"#);
        assert_eq!(body(&shape), None, "{shape}");
    }
}

#[test]
fn longest_delay_of_several_fields_wins() {
    let both = r#"{"error":{"resets_in_seconds":60,"resets_at":1770682800}}"#;
    assert_eq!(body(both), Some(1_200_000));
}

#[test]
fn date_is_parsed_with_every_form_of_its_offset() {
    for date in [
        "2026-02-10 08:20:00 +0800 CST",
        "2026-02-10 08:20:00 +0800 +08",
        "2026-02-09 19:20:00 -0500 EST",
        "2026-02-10 00:20:00 -0000",
        "2026-02-10T00:20:00-00:00",
        "2026-02-10 08:20:00+08",
        "2026-02-10 08:20:00 UTC+8",
        "2026-02-10 00:20:00 UTC",
        "2026-02-10 00:20:00.000 GMT",
    ] {
        let message =
            format!(r#"{{"error":{{"message":"It will reset at {date}. Request id: A"}}}}"#);
        assert_eq!(body(&message), Some(1_200_000), "{message}");
        let field = format!(r#"{{"error":{{"resets_at":"{date}"}}}}"#);
        assert_eq!(body(&field), Some(1_200_000), "{field}");
    }
    for date in [
        "2026-02-10 08:20:00",
        "2026-02-10 08:20:00 CST",
        "10:00 UTC",
    ] {
        let message = format!(r#"{{"error":{{"message":"It will reset at {date}."}}}}"#);
        assert_eq!(body(&message), None, "{message}");
    }
}

#[test]
fn http_date_is_parsed_with_an_offset_in_digits() {
    for date in [
        "Tue, 10 Feb 2026 00:20:00 GMT",
        "Tue, 10 Feb 2026 00:20:00 -0000",
        "Tue, 10 Feb 2026 00:20:00 +0000",
        "Tue, 10 Feb 2026 08:20:00 +0800",
    ] {
        let headers = format!("retry-after: {date}");
        assert_eq!(hint(read(429, &headers, b"")), Some(1_200_000), "{date}");
        let headers = format!("date: {date}\nretry-after: Tue, 10 Feb 2026 00:21:00 GMT");
        assert_eq!(hint(read(429, &headers, b"")), Some(60_000), "{date}");
    }
}

#[test]
fn duration_may_omit_a_leading_zero() {
    assert_eq!(
        body(r#"{"error":{"message":"Please try again in .5s."}}"#),
        Some(500)
    );
    assert_eq!(
        body(r#"{"error":{"details":[{"retryDelay":".5s"}]}}"#),
        Some(500)
    );
    let header = "x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: .5s";
    assert_eq!(hint(read(429, header, b"")), Some(500));
}

#[test]
fn nested_upstream_error_gives_its_hint_and_no_shorter_one() {
    let upstream = r#"{"error":{"code":429,"message":"Your quota will reset after 5h59m59s.","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"21599.960323804s"}]}}"#;
    let python = upstream.replace('{', "{\\n  ").replace(',', ",\\n");
    let shapes = [
        format!(r#"{{"error":{{"message":"Your quota will reset after 5h59m59s.","upstreamResponse":{upstream}}}}}"#),
        format!(r#"{{"error":{{"message":"quota will reset after 5h59m59s","metadata":{{"raw":{upstream}}}}}}}"#),
        serde_json::json!({ "error": { "message": "no", "upstream_response": upstream } }).to_string(),
        serde_json::json!({ "error": { "message": format!("litellm.RateLimitError: VertexAIException - {upstream}") } }).to_string(),
        serde_json::json!({ "error": { "message": format!("litellm.RateLimitError: VertexAIException - b'{python}'") } }).to_string(),
    ];
    for shape in &shapes {
        assert_eq!(body(shape), Some(21_599_961), "{shape}");
        let rounded = hint(read(429, "retry-after: 21599", shape.as_bytes()));
        assert_eq!(rounded, Some(21_599_961), "{shape}");
        let own = hint(read(429, "retry-after: 7", shape.as_bytes()));
        assert_eq!(own, Some(7_000), "{shape}");
    }
}

#[test]
fn delay_field_of_a_rejection_without_429_is_parsed() {
    let rejection = read(402, "", br#"{"error":{"resets_in_seconds":600}}"#).unwrap();
    assert_eq!(rejection.reason, Reason::QuotaExhausted);
    assert_eq!(rejection.retry_after.unwrap().as_secs(), 600);
}
