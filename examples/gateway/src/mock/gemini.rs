use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    Shared,
    limits::{Rejection, Remaining},
    stream, words,
};

/// `{model}:generateContent` and `{model}:streamGenerateContent`.
pub(super) async fn generate(
    State(mock): State<Arc<Shared>>,
    Path(call): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (requested, method) = call.split_once(':').unwrap_or((&call, ""));
    let query = query.unwrap_or_default();
    let parameter = |name: &str| {
        let mut pairs = query.split('&');
        pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    let in_header = headers.get("x-goog-api-key");
    let key = in_header.and_then(|key| key.to_str().ok());
    let model = match mock.limits.admit(key.or(parameter("key")), requested) {
        Ok((model, _)) => model,
        Err(rejection) => return reject(rejection, requested),
    };
    match method {
        "generateContent" => {
            let answer = part(&mock, model, &words(model).concat(), true);
            Json(answer).into_response()
        }
        "streamGenerateContent" => {
            let words = words(model);
            let last = words.len() - 1;
            let parts = words.iter().enumerate();
            let parts = parts.map(|(index, word)| part(&mock, model, word, index == last));
            let is_sse = parameter("alt") == Some("sse");
            let (kind, chunks) = match is_sse {
                true => ("text/event-stream", events(parts)),
                false => ("application/json", array(parts, last)),
            };
            let body = stream::body(&mock, &headers, chunks);
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        _ => reject(Rejection::UnknownModel, &call),
    }
}

fn part(mock: &Shared, model: &str, text: &str, is_last: bool) -> Value {
    let content = json!({ "parts": [{ "text": text }], "role": "model" });
    let mut candidate = json!({ "content": content, "index": 0 });
    if is_last {
        candidate["finishReason"] = "STOP".into();
    }
    let usage = json!({ "promptTokenCount": 9, "candidatesTokenCount": 14, "totalTokenCount": 23 });
    json!({
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": model,
        "responseId": format!("mock{}", mock.number()),
    })
}

fn events(parts: impl Iterator<Item = Value>) -> Vec<String> {
    parts.map(|part| format!("data: {part}\r\n\r\n")).collect()
}

/// Formats a stream without `alt=sse`, which is one array.
fn array(parts: impl Iterator<Item = Value>, last: usize) -> Vec<String> {
    let parts = parts.enumerate();
    let element = |(index, part)| {
        let open = if index == 0 { "[" } else { "," };
        let close = if index == last { "]" } else { "" };
        format!("{open}{part}\r\n{close}")
    };
    parts.map(element).collect()
}

fn reject(rejection: Rejection, requested: &str) -> Response {
    match rejection {
        Rejection::UnknownKey => error(
            StatusCode::BAD_REQUEST,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": { "service": "generativelanguage.googleapis.com" },
            }]),
        ),
        Rejection::UnknownModel => error(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            &format!("models/{requested} is not found for API version v1beta"),
            json!([]),
        ),
        Rejection::Limited { model, left } => limited(model, left),
    }
}

/// Gemini reports the delay only in the body.
fn limited(model: &str, left: Remaining) -> Response {
    let metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests";
    let violation = json!({
        "quotaMetric": metric,
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        "quotaDimensions": { "location": "global", "model": model },
        "quotaValue": left.limit.to_string(),
    });
    let (seconds, nanos) = (left.reset.as_secs(), left.reset.subsec_nanos());
    let delay = format!("{seconds}.{nanos:09}s");
    let message = format!(
        "You exceeded your current quota, please check your plan and billing details. \
         For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n\
         Please retry in {delay}."
    );
    let details = json!([
        { "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation] },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
    ]);
    error(
        StatusCode::TOO_MANY_REQUESTS,
        "RESOURCE_EXHAUSTED",
        &message,
        details,
    )
}

fn error(code: StatusCode, status: &str, message: &str, details: Value) -> Response {
    let error = json!({
        "code": code.as_u16(), "message": message, "status": status, "details": details,
    });
    (code, Json(json!({ "error": error }))).into_response()
}
