//! What a response looks like on the wire. Each wording has been seen in a real response.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    limits::{Limit, Reading},
    plan::{Account, Headers, Hint, Plan},
};

/// The name of the account where responses name it.
const ORGANIZATION: HeaderValue = HeaderValue::from_static("org-x");

/// Why a request is rejected whatever the limits say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// A status and OpenAI's code for it.
    Code(u16, &'static str),
    /// A status of a service that has too much to do, or is away.
    Unavailable(u16),
}

pub(super) fn failure(failure: Failure) -> Response<Full<Bytes>> {
    let (status, body) = match failure {
        Failure::Code(status, code) => (status, coded(code, code)),
        // Anthropic's.
        Failure::Unavailable(529) => {
            let error = json!({ "type": "overloaded_error", "message": "Overloaded" });
            (529, json!({ "type": "error", "error": error }))
        }
        Failure::Unavailable(429) => (429, coded("rate_limit_exceeded", "rate_limit_exceeded")),
        Failure::Unavailable(status) => (status, json!({})),
    };
    error(status, &body)
}

/// The answer to a request that came to its limit, and how long it says to wait.
pub(super) fn counted(
    plan: &Plan,
    limit: Limit,
    reading: Reading,
) -> (Response<Full<Bytes>>, Option<Duration>) {
    let (mut response, wait) = match reading.admitted {
        Ok(()) => (Response::new(Full::from("{}")), None),
        Err(wait) => rejection(plan, limit, wait),
    };
    let headers = response.headers_mut();
    let reports = match plan.headers {
        Headers::Never => false,
        Headers::OnRejections => reading.admitted.is_err(),
        _ => true,
    };
    if reports {
        add_buckets(headers, plan.headers, reading);
    }
    if plan.account == Some(Account::Named) {
        headers.insert("openai-organization", ORGANIZATION);
    }
    (response, wait)
}

fn rejection(
    plan: &Plan,
    limit: Limit,
    wait: Duration,
) -> (Response<Full<Bytes>>, Option<Duration>) {
    let body = match plan.names_window {
        true => worded(limit),
        false => coded("rate_limit_exceeded", "rate_limit_exceeded"),
    };
    let mut response = error(429, &body);
    let (name, value, wait) = match plan.hint {
        Hint::None => return (response, None),
        Hint::Exact => {
            let millis = wait.as_nanos().div_ceil(1_000_000);
            ("retry-after-ms", millis.to_string(), wait)
        }
        Hint::WholeSeconds => {
            let seconds = wait.as_secs_f64().ceil();
            let rounded = Duration::from_secs_f64(seconds);
            ("retry-after", seconds.to_string(), rounded)
        }
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        response.headers_mut().insert(name, value);
    }
    (response, Some(wait))
}

/// A rejection that names the limit and its window, and no time: xAI's for a second, else OpenAI's.
fn worded(limit: Limit) -> Value {
    let size = limit.size();
    if limit.window() <= Duration::from_secs(1) {
        let message = format!(
            "Too many requests for team 00000000-0000-0000-0000-000000000000 and model large. \
             Your team's rate limit is - Requests per Second (actual/limit): {}/{size}.",
            size + 1
        );
        return json!({ "code": "Some resource has been exhausted", "error": message });
    }
    let message = format!(
        "Rate limit reached for large in organization org-x on requests per min (RPM): \
         Limit {size}, Used {size}, Requested 1."
    );
    coded("rate_limit_exceeded", &message)
}

/// OpenAI's form of an error.
fn coded(code: &str, message: &str) -> Value {
    json!({ "error": { "type": code, "code": code, "message": message } })
}

fn error(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}

/// OpenAI's headers.
fn add_buckets(map: &mut HeaderMap, headers: Headers, reading: Reading) {
    let (remaining, reset) = match headers {
        Headers::TooMuchLeft => (reading.limit, reading.reset),
        Headers::NothingLeft => (0, reading.reset),
        Headers::NothingForAMoment => (0, Duration::from_millis(300)),
        Headers::TooLittleLeft => (reading.remaining.saturating_sub(20), reading.reset),
        Headers::PastReset => (reading.remaining, Duration::ZERO),
        _ => (reading.remaining, reading.reset),
    };
    map.insert("x-ratelimit-limit-requests", reading.limit.into());
    map.insert("x-ratelimit-remaining-requests", remaining.into());
    let reset = format!("{}ms", reset.as_nanos().div_ceil(1_000_000));
    if let Ok(reset) = HeaderValue::from_str(&reset) {
        map.insert("x-ratelimit-reset-requests", reset);
    }
}
