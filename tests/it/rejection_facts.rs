//! All observed and documented responses of providers, and what they mean.
//!
//! A row of `tests/data/fixtures*.jsonl` is a complete error response. A row of `success_headers.jsonl` has the headers
//! of a success, and a row of `durations.jsonl` a single value.

use std::time::{Duration, SystemTime};

use crate::rows::*;
use http::{HeaderMap, HeaderName, HeaderValue, Response, response};
use serde_json::Value;
use tower_429::rejection::{
    Bucket, Dimension, Provider, Reason, Rejection, Scope, Window, buckets,
};

/// Returns the provider whose conventions apply to a row, by its host.
fn provider_of(row: &Value) -> Provider {
    let host = row["host"].as_str().or(host(text(row, "provider")));
    Provider::guess(host, &headers(row))
}

fn headers(row: &Value) -> HeaderMap {
    let pairs = row["headers"].as_object().unwrap().iter();
    pairs
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
            (HeaderName::try_from(name).unwrap(), value)
        })
        .collect()
}

fn head(row: &Value) -> response::Parts {
    let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
    let mut response = Response::builder().status(status).body(()).unwrap();
    *response.headers_mut() = headers(row);
    response.into_parts().0
}

/// Returns the rejection of a row: that of the response, or of its first event that is a rejection.
fn rejection(row: &Value, provider: Provider) -> Option<Rejection> {
    let now = arrival(row);
    let frame = &row["body"]["_eventstream_frame"];
    if frame.is_object() {
        let payload = row["body"]["payload"].to_string();
        return provider.event(frame[":exception-type"].as_str(), payload.as_bytes(), now);
    }
    match &row["body"] {
        Value::String(stream) if row["stream"] == true => stream.split("\n\n").find_map(|event| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            provider.event(field("event: "), field("data: ")?.as_bytes(), now)
        }),
        Value::String(body) => provider.rejection(&head(row), body.as_bytes(), now),
        body => provider.rejection(&head(row), body.to_string().as_bytes(), now),
    }
}

/// Named claims, so that a row can be compared with a rejection.
type Claims = Vec<(&'static str, String)>;

fn stated(row: &Value) -> Claims {
    let expected = &row["expected"];
    let mut claims: Claims = vec![("retry_after_ms", expected["retry_after_ms"].to_string())];
    claims.push(match expected["reason"].as_str() {
        // If a row has several reasons, each of them is correct. The kind belongs to the first one.
        Some(reason) => ("reason", reason.to_owned()),
        None => ("kind", text(expected, "kind").to_owned()),
    });
    for flag in [
        "same_key_retry_helps",
        "other_key_may_help",
        "other_model_may_help",
    ] {
        claims.push((flag, expected[flag].to_string()));
    }
    for extra in ["dimension", "window", "scope", "available_at"] {
        if row[extra].is_string() {
            claims.push((extra, text(row, extra).to_owned()));
        }
    }
    claims.retain(|(claim, _)| !list(row, "open").contains(claim));
    claims
}

fn list<'a>(row: &'a Value, key: &str) -> Vec<&'a str> {
    let elements = row[key].as_array().into_iter().flatten();
    elements.filter_map(Value::as_str).collect()
}

fn implied(row: &Value, rejection: Option<&Rejection>, claim: &str, stated: &str) -> String {
    let Some(rejection) = rejection else {
        return match claim {
            "kind" => "unknown".to_owned(),
            _ => "null".to_owned(),
        };
    };
    match claim {
        "kind" => kind(rejection, stated),
        "reason" => {
            let reason = format!("{:?}", rejection.reason);
            let is_right = list(&row["expected"], "reason_also").contains(&&*reason);
            if is_right { stated.to_owned() } else { reason }
        }
        "retry_after_ms" => rejection
            .retry_after
            .map_or("null".to_owned(), |wait| wait.as_millis().to_string()),
        "same_key_retry_helps" => rejection.time_helps().to_string(),
        "other_key_may_help" => rejection.another_key_helps().to_string(),
        "other_model_may_help" => rejection.another_model_helps().to_string(),
        "dimension" => rejection.dimension.map_or("none".to_owned(), snake),
        "window" => rejection.window.map_or("none".to_owned(), window),
        "scope" => scope(rejection, stated),
        "available_at" => rejection.available_at.map_or("none".to_owned(), |at| {
            let now = |at: &str| now(&serde_json::json!({ "now": at }));
            if at == now(stated) {
                stated.to_owned()
            } else {
                format!("{at:?}")
            }
        }),
        other => panic!("unknown claim {other}"),
    }
}

/// Returns the kind in the terms of the rows, which have seven: tokens per day are `day`, and seconds are `minute`.
fn kind(rejection: &Rejection, stated: &str) -> String {
    let of_tokens = matches!(
        rejection.dimension,
        Some(Dimension::Tokens | Dimension::InputTokens | Dimension::OutputTokens)
    );
    let kind = match rejection.reason {
        Reason::QuotaExhausted => "quota_exhausted",
        Reason::KeyRejected => "auth",
        Reason::Overloaded => "overloaded",
        Reason::RateLimited if stated != "unknown" => match (rejection.window, rejection.dimension)
        {
            (Some(window), _) if window >= Window::Day => "requests_per_day",
            (Some(_), Some(Dimension::Requests)) => "requests_per_minute",
            (Some(_), Some(_)) if of_tokens => "tokens_per_minute",
            _ => "unknown",
        },
        _ => "unknown",
    };
    kind.to_owned()
}

/// Returns a variant as the rows write it: `AccountModel` is `account_model`.
fn snake(variant: impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Returns a window as the rows write it, with figures for windows of several units.
fn window(window: Window) -> String {
    match window {
        Window::FiveMinutes => "5min".to_owned(),
        Window::FiveHours => "5h".to_owned(),
        window => snake(window),
    }
}

/// Returns the scope in the terms of the rows. A rejection without a scope contradicts no row. The rows also say
/// `model` for Azure's deployments, which belong to a subscription.
fn scope(rejection: &Rejection, stated: &str) -> String {
    match rejection.scope {
        None => stated.to_owned(),
        Some(Scope::AccountModel) if stated == "model" => "model".to_owned(),
        Some(scope) => snake(scope),
    }
}

/// Returns whether the crate deliberately differs from a claim of the row. The row says why.
fn is_disputed(row: &Value, claim: &str) -> bool {
    let disputed = &row["disputed"];
    let but_all = disputed["*"].is_string() && claim != "retry_after_ms" && claim != "kind";
    disputed[claim].is_string() || but_all
}

#[test]
fn every_error_response_means_what_its_row_says() {
    let mut wrong = Vec::new();
    for row in fixtures() {
        let (provider, case) = (text(&row, "provider"), text(&row, "case"));
        let rejection = rejection(&row, provider_of(&row));
        for (claim, stated) in stated(&row) {
            let implied = implied(&row, rejection.as_ref(), claim, &stated);
            if is_disputed(&row, claim) {
                assert_ne!(
                    implied, stated,
                    "{provider}/{case} is no longer disputed: {claim}"
                );
            } else if implied != stated {
                wrong.push(format!(
                    "{provider}/{case} ({}): {claim} is {implied}, row says {stated}",
                    text(&row, "confidence")
                ));
            }
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
fn reason_and_hint_are_the_same_without_a_host() {
    let mut wrong = Vec::new();
    for row in fixtures() {
        let (provider, case) = (text(&row, "provider"), text(&row, "case"));
        let known = rejection(&row, provider_of(&row));
        let guessed = rejection(&row, Provider::guess(None, &headers(&row)));
        let facts = |it: &Rejection| {
            (
                it.reason,
                it.retry_after,
                it.time_helps(),
                it.another_key_helps(),
                it.another_model_helps(),
            )
        };
        let (known, guessed) = (known.as_ref().map(facts), guessed.as_ref().map(facts));
        if known != guessed {
            wrong.push(format!(
                "{provider}/{case}: {guessed:?}, with the host {known:?}"
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

type Reshape = fn(&Value) -> Value;

/// Changes to a body that another client or proxy might make.
const SHAPES: &[(&str, Reshape)] = &[
    ("in an array", |body| serde_json::json!([body])),
    ("with more fields", |body| {
        let mut body = body.clone();
        if let Value::Object(object) = &mut body {
            object.insert("request_id".into(), "req_1".into());
            object.insert("tokens".into(), 5.into());
            object.insert(
                "usage".into(),
                serde_json::json!({ "code": "insufficient_quota" }),
            );
        }
        body
    }),
    (
        "as a string in a message",
        |body| serde_json::json!({ "error": { "message": format!("proxied: {body}"), "type": null } }),
    ),
    ("with codes as strings", |body| {
        map(body, &|key, value| match value {
            Value::Number(code) if key == "code" => code.to_string().into(),
            other => other.clone(),
        })
    }),
    ("shouted", |body| {
        map(body, &|key, value| match value {
            Value::String(text) if ["message", "error"].contains(&key) => {
                text.to_uppercase().into()
            }
            other => other.clone(),
        })
    }),
];

fn map(value: &Value, change: &dyn Fn(&str, &Value) -> Value) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(|it| map(it, change)).collect(),
        Value::Object(object) => {
            let fields = object.iter();
            fields
                .map(|(key, it)| (key.clone(), map(&change(key, it), change)))
                .collect()
        }
        other => other.clone(),
    }
}

#[test]
fn row_means_the_same_in_another_shape() {
    let mut wrong = Vec::new();
    for row in fixtures() {
        let (provider, case) = (text(&row, "provider"), text(&row, "case"));
        let is_frame = row["body"]["_eventstream_frame"].is_object();
        if row["body"].is_string() || is_frame {
            continue;
        }
        let its_provider = provider_of(&row);
        let plain = rejection(&row, its_provider);
        for (name, reshape) in SHAPES {
            let mut other = row.clone();
            other["body"] = reshape(&row["body"]);
            let other = rejection(&other, its_provider);
            if other != plain {
                wrong.push(format!(
                    "{provider}/{case} {name}: {other:?}\n  plain {plain:?}"
                ));
            }
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
fn every_success_reports_the_buckets_of_its_row() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("../data/success_headers.jsonl")) {
        let (provider, case) = (text(&row, "provider"), text(&row, "case"));
        let headers = headers(&row);
        let read = buckets(
            &headers,
            Provider::guess(host(provider), &headers),
            now(&row),
        );
        let cost = row["headers"]["x-ratelimit-tokens-query-cost"].as_str();
        let mut tokens = read.iter().filter(|it| it.dimension == Dimension::Tokens);
        assert!(tokens.all(|it| it.cost == cost.map(|cost| cost.parse().unwrap())));
        let sorted = |mut buckets: Vec<String>| {
            buckets.sort();
            buckets
        };
        let read = sorted(read.iter().map(describe).collect());
        let stated = row["expected_buckets"].as_array().unwrap().iter();
        let stated = sorted(
            stated
                .map(|it| {
                    format!(
                        "{} {} limit {} remaining {} reset {}",
                        text(it, "dimension"),
                        text(it, "window"),
                        it["limit"],
                        it["remaining"],
                        it["reset_ms"]
                    )
                })
                .collect(),
        );
        if read != stated {
            wrong.push(format!(
                "{provider}/{case}:\n  read {read:#?}\n  row says {stated:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn describe(bucket: &Bucket) -> String {
    let number = |it: Option<u64>| it.map_or("null".to_owned(), |it| it.to_string());
    let project = if bucket.scope == Some(Scope::Project) {
        "project_"
    } else {
        ""
    };
    let reset = bucket
        .reset
        .map(|wait| u64::try_from(wait.as_millis()).unwrap());
    format!(
        "{project}{} {} limit {} remaining {} reset {}",
        snake(bucket.dimension),
        bucket.window.map_or("none".to_owned(), window),
        number(bucket.limit),
        number(bucket.remaining),
        number(reset)
    )
}

/// Returns the hint of a 429 with a single value in a header or the body.
fn hint(name: Option<&str>, value: &str, body: &str, now: SystemTime) -> Option<Duration> {
    let mut response = Response::builder().status(429);
    if let Some(name) = name {
        response = response.header(name, value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Rejection::from_parts(&head, body.as_bytes(), now)
        .unwrap()
        .retry_after
}

#[test]
fn every_single_value_is_parsed_as_its_row_says() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("../data/durations.jsonl")) {
        let (input, now) = (text(&row, "input"), now(&row));
        let detail =
            |key: &str| serde_json::json!({ "error": { "details": [{ key: input }] } }).to_string();
        let message = serde_json::json!({ "error": { "message": input } }).to_string();
        let read = match text(&row, "parser") {
            "go_duration" => hint(None, "", &detail("quotaResetDelay"), now),
            "proto_duration" => hint(None, "", &detail("retryDelay"), now),
            "retry_after" => hint(Some("retry-after"), input, "", now),
            "retry_after_ms" => hint(Some("retry-after-ms"), input, "", now),
            "reset_header" => hint(Some("x-ratelimit-reset"), input, "", now),
            "prose" => hint(None, "", &message, now),
            other => panic!("unknown parser {other}"),
        };
        let read = read.map_or(Value::Null, |wait| {
            u64::try_from(wait.as_millis()).unwrap().into()
        });
        if read != row["expected_ms"] {
            wrong.push(format!(
                "{} {input:?}: {read}, row says {}",
                text(&row, "parser"),
                row["expected_ms"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
