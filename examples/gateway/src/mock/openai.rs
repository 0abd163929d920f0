use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    OPENAI, Shared, epoch,
    limits::{Rejection, Remaining},
    stream, words,
};

pub(super) async fn models(State(mock): State<Arc<Shared>>) -> Response {
    let model =
        |id| json!({ "id": id, "object": "model", "created": 1_715_367_049, "owned_by": "mock" });
    let list = json!({ "object": "list", "data": OPENAI.map(model) });
    (request_id(&mock), Json(list)).into_response()
}

pub(super) async fn chat(
    State(mock): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (model, left, request) = match admit(&mock, &headers, &body) {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    let id = format!("chatcmpl-mock-{}", mock.number());
    let head = (request_id(&mock), limits(left));
    if request["stream"] == true {
        let chunks = chunks(&id, model);
        let body = stream::body(&mock, &headers, chunks);
        let kind = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
        return (head, kind, body).into_response();
    }
    let message = json!({ "role": "assistant", "content": words(model).concat(), "refusal": null });
    let answer = json!({
        "id": id,
        "object": "chat.completion",
        "created": epoch(),
        "model": model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 9, "completion_tokens": 14, "total_tokens": 23 },
    });
    (head, Json(answer)).into_response()
}

/// Returns the stream of a chat: one event for each word, and `[DONE]`.
fn chunks(id: &str, model: &str) -> Vec<String> {
    let created = epoch();
    let event = |delta: Value, reason: Value| {
        let choice =
            json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason });
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": model,
            "choices": [choice],
        });
        format!("data: {chunk}\n\n")
    };
    let mut chunks = vec![event(
        json!({ "role": "assistant", "content": "" }),
        Value::Null,
    )];
    let words = words(model).into_iter();
    chunks.extend(words.map(|word| event(json!({ "content": word }), Value::Null)));
    chunks.push(event(json!({}), "stop".into()));
    chunks.push("data: [DONE]\n\n".into());
    chunks
}

/// Checks and counts a request that names its model in the body.
pub(super) fn admit(
    mock: &Shared,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(&'static str, Remaining, Value), Box<Response>> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let requested = request["model"].as_str().unwrap_or_default();
    if request["temperature"]
        .as_f64()
        .is_some_and(|value| value > 2.0)
    {
        let message = "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.";
        let param = "temperature".into();
        let code = "decimal_above_max_value";
        let kind = "invalid_request_error";
        let response = error(mock, StatusCode::BAD_REQUEST, message, kind, param, code);
        return Err(Box::new(response));
    }
    match mock.limits.admit(key(headers), requested) {
        Ok((model, left)) => Ok((model, left, request)),
        Err(rejection) => Err(Box::new(reject(mock, rejection, requested))),
    }
}

pub(super) fn key(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    authorization.strip_prefix("Bearer ")
}

pub(super) fn reject(mock: &Shared, rejection: Rejection, requested: &str) -> Response {
    match rejection {
        Rejection::UnknownKey => {
            let message = "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.";
            let kind = "invalid_request_error";
            error(
                mock,
                StatusCode::UNAUTHORIZED,
                message,
                kind,
                Value::Null,
                "invalid_api_key",
            )
        }
        Rejection::UnknownModel => {
            let message =
                format!("The model `{requested}` does not exist or you do not have access to it.");
            let kind = "invalid_request_error";
            error(
                mock,
                StatusCode::NOT_FOUND,
                &message,
                kind,
                Value::Null,
                "model_not_found",
            )
        }
        Rejection::Limited { model, left } => {
            let (limit, millis) = (left.limit, left.millis());
            let message = format!(
                "Rate limit reached for {model} in organization org-mock on requests per min (RPM): Limit {limit}, \
                 Used {limit}, Requested 1. Please try again in {millis}ms. \
                 Visit https://platform.openai.com/account/rate-limits to learn more."
            );
            let body = error(
                mock,
                StatusCode::TOO_MANY_REQUESTS,
                &message,
                "requests",
                Value::Null,
                "rate_limit_exceeded",
            );
            (limits(left), body).into_response()
        }
    }
}

fn error(
    mock: &Shared,
    status: StatusCode,
    message: &str,
    kind: &str,
    param: Value,
    code: &str,
) -> Response {
    let error = json!({ "message": message, "type": kind, "param": param, "code": code });
    let body = Json(json!({ "error": error }));
    (status, request_id(mock), body).into_response()
}

pub(super) fn request_id(mock: &Shared) -> [(&'static str, String); 1] {
    [("x-request-id", mock.request_id())]
}

/// Returns limits as OpenAI reports them: the reset is the time until the full limit is available again.
pub(super) fn limits(left: Remaining) -> [(&'static str, String); 3] {
    let reset = left.millis();
    [
        ("x-ratelimit-limit-requests", left.limit.to_string()),
        ("x-ratelimit-remaining-requests", left.remaining.to_string()),
        ("x-ratelimit-reset-requests", format!("{reset}ms")),
    ]
}
