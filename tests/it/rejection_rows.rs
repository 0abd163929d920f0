//! Error responses in the wordings, encodings and formats of many providers. Each row of data is one response.
//!
//! A row of `tests/data/variants.jsonl` or `wordings.jsonl` is a response, or an event if it names one.
//! `hex` is a body that is not UTF-8. `means` is the line that [`summary`] writes.

use http::HeaderMap;
use serde_json::Value;
use tower_429::rejection::{Provider, Reason, Rejection};

use crate::rows::{now, read_at, rows, summary, text};

fn variants() -> impl Iterator<Item = Value> {
    let variants = rows(include_str!("../data/variants.jsonl"));
    variants
        .into_iter()
        .chain(rows(include_str!("../data/wordings.jsonl")))
}

fn body(row: &Value) -> Vec<u8> {
    let Some(hex) = row["hex"].as_str() else {
        return text(row, "body").as_bytes().to_vec();
    };
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn read_row(row: &Value, body: &[u8]) -> Option<Rejection> {
    let host = row["host"].as_str();
    if let Some(event) = row["event"].as_str() {
        let name = Some(event).filter(|name| !name.is_empty());
        return Provider::guess(host, &HeaderMap::new()).event(name, body, now(row));
    }
    let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
    let headers = row["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    read_at(now(row), host, status, headers, body)
}

fn read(
    host: Option<&str>,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Rejection> {
    let now = now(&serde_json::json!({ "now": "2026-05-31T10:04:00Z" }));
    read_at(now, host, status, headers.iter().copied(), body.as_bytes())
}

#[test]
fn every_variant_of_a_response_means_what_its_row_says() {
    let mut wrong = Vec::new();
    for row in variants() {
        let read = summary(read_row(&row, &body(&row)).as_ref());
        if read != text(&row, "means") {
            wrong.push(format!(
                "{}\n  read {read}\n  row  {}",
                text(&row, "name"),
                text(&row, "means")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn body_cut_off_anywhere_is_parsed_without_panic() {
    for row in variants() {
        let body = body(&row);
        for end in (0..body.len()).step_by(7) {
            read_row(&row, &body[..end]);
            read_row(&row, &body[end..]);
        }
    }
}

#[test]
fn unreadable_body_leaves_the_rejection_of_the_head() {
    let plain = "RateLimited 5000ms +time +key +model";
    let billing = r#"{"error":{"type":"insufficient_quota"}}"#;
    let deep = format!("{}{billing}{}", "[".repeat(200), "]".repeat(200));
    let large = format!("{billing}{}", " ".repeat(64 * 1024));
    let five = ("retry-after", "5");
    for (headers, body) in [
        (vec![five, ("content-encoding", "gzip")], billing),
        (vec![five, ("content-encoding", "identity, br")], billing),
        (
            vec![five],
            "<html><body>429 Too Many Requests: insufficient_quota</body></html>",
        ),
        (vec![five], &billing[..20]),
        (vec![five], &deep),
        (vec![five], &large),
        (vec![five], "null"),
        (vec![five], "[]"),
    ] {
        assert_eq!(
            summary(read(None, 429, &headers, body).as_ref()),
            plain,
            "{headers:?}"
        );
    }
    let identity = [five, ("content-encoding", "identity")];
    assert_eq!(
        summary(read(None, 429, &identity, billing).as_ref()),
        "QuotaExhausted @Account 5000ms +key"
    );
}

#[test]
fn distant_date_is_reported_as_a_date() {
    let body = r#"{"error":{"message":"You have reached your specified API usage limits. You will regain access on 2026-06-01 at 00:00 UTC."}}"#;
    let rejection = read(None, 400, &[], body).unwrap();
    assert_eq!(rejection.retry_after, None);
    let june = now(&serde_json::json!({ "now": "2026-06-01T00:00:00Z" }));
    assert_eq!(rejection.available_at, Some(june));
}

#[test]
fn type_header_names_the_dimension_without_a_window() {
    let rejection = read(None, 429, &[("x-ratelimit-type", "Tokens")], "");
    assert_eq!(
        summary(rejection.as_ref()),
        "RateLimited Tokens +time +key +model"
    );
}

#[test]
fn text_of_litellm_around_an_upstream_error_changes_nothing() {
    // LiteLLM's proxy appends this to nearly every error (litellm#29808).
    const BEHIND: &str = ". Received Model Group=a\nAvailable Model Group Fallbacks=None";
    let upstreams = [
        (
            429,
            r#"{"error":{"code":429,"message":"Resource has been exhausted.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","quotaValue":"50"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#,
            "RateLimited Requests Day @ProjectModel 34000ms limit:50 +key +model",
        ),
        (
            500,
            r#"{"error":{"code":429,"message":"Resource has been exhausted.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#,
            "RateLimited @ProjectModel 34000ms +time +key +model",
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
            "QuotaExhausted @Account +key",
        ),
    ];
    for (status, upstream, expected) in upstreams {
        for (open, close) in [("", ""), ("b'", "'"), ("b\"", "\"")] {
            for behind in ["", "\n", BEHIND] {
                let message =
                    format!("litellm.XError: XException - {open}{upstream}{close}{behind}");
                let body = serde_json::json!({ "error": { "message": message, "code": status.to_string() } });
                let read = summary(read(None, status, &[], &body.to_string()).as_ref());
                assert_eq!(read, expected, "{status} {message}");
            }
        }
    }
}

/// Texts that would cause a cooldown if a provider said them about an account.
const SENTENCES: &[&str] = &[
    "5-hour usage limit reached",
    "you've reached your weekly usage limit",
    "weekly/monthly limit exhausted",
    "已达到 5 小时的使用上限",
    "余额不足",
    "your account has an overdue balance",
    "exceeded budget for model=x",
    "extra usage is required for long context requests",
    "prompt tokens limit exceeded: 2 > 1",
    "your account's rate limit",
];

#[test]
fn model_named_like_a_quota_is_not_mistaken_for_one() {
    for (status, sentence) in [
        (
            404,
            "The model `{}` does not exist or you do not have access to it.",
        ),
        (400, "{} is not a valid model ID"),
        (400, "Invalid value: '{}'. Supported values are: 'auto'."),
        (403, "Project `proj_1` does not have access to model `{}`"),
        (422, "Input should be 'a' or 'b', input: \"{}\""),
    ] {
        let read_with = |name: &str| {
            let body = serde_json::json!({ "error": {
                "message": sentence.replace("{}", name),
                "type": "invalid_request_error",
                "code": "model_not_found",
            }});
            read(Some("proxy.example"), status, &[], &body.to_string())
        };
        let plain = read_with("gpt-4o");
        let is_quota = |it: &Rejection| it.reason == Reason::QuotaExhausted;
        assert!(!plain.as_ref().is_some_and(is_quota), "{status} {sentence}");
        for name in SENTENCES {
            assert_eq!(read_with(name), plain, "{status} {sentence} {name}");
        }
    }
}

#[test]
fn rejected_client_under_403_is_no_quota() {
    let body = r#"{"error":{"message":"Kimi For Coding is currently only available for Coding Agents such as Kimi CLI, Claude Code, Roo Code, Kilo Code, etc.","type":"access_terminated_error"}}"#;
    assert_eq!(read(Some("api.kimi.com"), 403, &[], body), None);
}

#[test]
fn number_of_another_provider_means_nothing() {
    for host in ["api.openai.com", "api.groq.com", "proxy.example"] {
        for code in [
            "1002", "1008", "1039", "1113", "1302", "1305", "1308", "1310", "2056", "3505", "18",
            "336501",
        ] {
            let body = format!(
                r#"{{"error":{{"message":"No.","type":"x","param":null,"code":"{code}"}}}}"#
            );
            let plain = r#"{"error":{"message":"No.","type":"x","param":null}}"#;
            assert_eq!(
                read(Some(host), 429, &[], &body),
                read(Some(host), 429, &[], plain),
                "{host} {code}"
            );
            assert_eq!(read(Some(host), 200, &[], &body), None, "{host} {code}");
        }
    }
    // Even at the provider's own host, no code is read from a success of another shape.
    let choice = r#"{"id":"1","choices":[{"code":"1113"}],"code":"1113"}"#;
    assert_eq!(
        summary(read(Some("api.z.ai"), 200, &[], choice).as_ref()),
        "none"
    );
}
