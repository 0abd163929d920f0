//! The wire format of responses. Each wording comes from a real response.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    limits::Limit,
    meters::{Judged, Rejected, Unit},
    plan::{Account, HeaderStyle, Headers, Hint, InFlight, Plan, Says},
    report,
};

/// A response with its complete body.
pub(super) type Answer = Response<Full<Bytes>>;

/// The name of the account, for providers whose responses name it.
const ORGANIZATION: HeaderValue = HeaderValue::from_static("org-x");

/// A reason for a rejection that does not depend on the limits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// A status and OpenAI's code for it.
    Code(u16, &'static str),
    /// The status of a service that is overloaded or down.
    Unavailable(u16),
}

pub(super) fn failure(failure: Failure) -> Answer {
    let (status, body) = match failure {
        Failure::Code(status, code) => (status, coded(code, code)),
        Failure::Unavailable(529) => (529, anthropic("overloaded_error", "Overloaded")),
        Failure::Unavailable(429) => (429, coded("rate_limit_exceeded", "rate_limit_exceeded")),
        Failure::Unavailable(status) => (status, json!({})),
    };
    error(status, &body)
}

/// Returns the response to a request that the limits have judged, and its hint.
pub(super) fn counted(plan: &Plan, at: Duration, judged: &Judged) -> (Answer, Option<Duration>) {
    let (mut response, wait) = match judged.rejected {
        None => (Response::new(Full::from("{}")), None),
        Some(rejected) => rejection(plan, rejected),
    };
    let headers = response.headers_mut();
    let reports = match plan.headers {
        Headers::Never => false,
        Headers::OnRejections => judged.rejected.is_some(),
        _ => true,
    };
    if reports {
        report::add(headers, plan, at, judged);
    }
    if plan.account == Some(Account::Named) {
        headers.insert("openai-organization", ORGANIZATION);
    }
    (response, wait)
}

fn rejection(plan: &Plan, rejected: Rejected) -> (Answer, Option<Duration>) {
    let body = match (plan.style, rejected.unit) {
        (HeaderStyle::Anthropic, _) => anthropic(
            "rate_limit_error",
            "This request would exceed your account's rate limit. Please try again later.",
        ),
        (_, Unit::Requests) if plan.names_window => worded(rejected.limit),
        // OpenAI's error type is the unit of the limit. A provider that reports nothing does not name it.
        (_, Unit::Tokens) if plan.headers != Headers::Never => {
            typed("tokens", "rate_limit_exceeded", "rate_limit_exceeded")
        }
        _ => coded("rate_limit_exceeded", "rate_limit_exceeded"),
    };
    let mut response = error(429, &body);
    let wait = rejected.wait;
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

/// Returns the rejection of a request that exceeds the limit in requests in flight.
pub(super) fn too_many_at_once(limit: InFlight) -> Answer {
    let at_once = limit.at_once;
    let body = match limit.says {
        Says::LimitAndSecond => {
            let message = format!(
                "Your account org-x<ak-x> request reached max organization concurrency: {at_once}, \
                 please try again after 1 seconds"
            );
            let error = json!({ "message": message, "type": "rate_limit_reached_error" });
            json!({ "error": error })
        }
        Says::Words => coded("rate_limit_exceeded", "Too many concurrent requests"),
        Says::Nothing => coded("rate_limit_exceeded", "rate_limit_exceeded"),
    };
    error(429, &body)
}

/// Returns an error that names the limit and its window, without a hint: xAI's for a second, OpenAI's for others.
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

/// Returns an error in OpenAI's form.
fn coded(code: &str, message: &str) -> Value {
    typed(code, code, message)
}

fn typed(kind: &str, code: &str, message: &str) -> Value {
    json!({ "error": { "type": kind, "code": code, "message": message } })
}

/// Returns an error in Anthropic's form.
fn anthropic(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

fn error(status: u16, body: &Value) -> Answer {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}
