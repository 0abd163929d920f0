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
    Shared, epoch,
    limits::{Rejection, Remaining},
    stream, words,
};

pub(super) async fn messages(
    State(mock): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let requested = request["model"].as_str().unwrap_or_default();
    if !request["max_tokens"].is_u64() {
        let message = "max_tokens: Field required";
        return error(
            &mock,
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            message,
        );
    }
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    let (model, left) = match mock.limits.admit(key, requested) {
        Ok(admitted) => admitted,
        Err(rejection) => return reject(&mock, rejection, requested),
    };
    let message = |content: Value, reason: Value| {
        json!({
            "id": format!("msg_mock{}", mock.number()), "type": "message", "role": "assistant",
            "model": model, "content": content, "stop_reason": reason, "stop_sequence": null,
            "usage": { "input_tokens": 9, "output_tokens": 14 },
        })
    };
    let head = (request_id(&mock), limits(left));
    if request["stream"] == true {
        let body = stream::body(
            &mock,
            &headers,
            events(message(json!([]), Value::Null), model),
        );
        let kind = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
        return (head, kind, body).into_response();
    }
    let content = json!([{ "type": "text", "text": words(model).concat() }]);
    (head, Json(message(content, "end_turn".into()))).into_response()
}

fn events(message: Value, model: &str) -> Vec<String> {
    let block = json!({ "type": "text", "text": "" });
    let mut events = vec![
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
    ];
    events.extend(words(model).into_iter().map(|word| {
        let delta = json!({ "type": "text_delta", "text": word });
        json!({ "type": "content_block_delta", "index": 0, "delta": delta })
    }));
    let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    events.extend([
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 14 } }),
        json!({ "type": "message_stop" }),
    ]);
    let line = |event: Value| {
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    };
    events.into_iter().map(line).collect()
}

fn reject(mock: &Shared, rejection: Rejection, requested: &str) -> Response {
    match rejection {
        Rejection::UnknownKey => error(
            mock,
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "invalid x-api-key",
        ),
        Rejection::UnknownModel => {
            let message = format!("model: {requested}");
            error(mock, StatusCode::NOT_FOUND, "not_found_error", &message)
        }
        Rejection::Limited { left, .. } => {
            let message = format!(
                "This request would exceed your organization's rate limit of {} requests per minute. \
                 For details, refer to: https://docs.claude.com/en/api/rate-limits.",
                left.limit
            );
            let body = error(
                mock,
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                &message,
            );
            let hint = [("retry-after", left.seconds().to_string())];
            (limits(left), hint, body).into_response()
        }
    }
}

fn error(mock: &Shared, status: StatusCode, kind: &str, message: &str) -> Response {
    let id = request_id(mock);
    let error = json!({ "type": kind, "message": message });
    let body = json!({ "type": "error", "error": error, "request_id": id[0].1 });
    (status, id, Json(body)).into_response()
}

fn request_id(mock: &Shared) -> [(&'static str, String); 1] {
    [("request-id", mock.request_id())]
}

fn limits(left: Remaining) -> [(&'static str, String); 3] {
    // Rounded up, because a reset must not be too early.
    let reset = epoch() + u64::try_from(left.seconds()).unwrap_or(u64::MAX);
    [
        ("anthropic-ratelimit-requests-limit", left.limit.to_string()),
        (
            "anthropic-ratelimit-requests-remaining",
            left.remaining.to_string(),
        ),
        ("anthropic-ratelimit-requests-reset", timestamp(reset)),
    ]
}

/// Formats seconds since 1970 as in RFC 3339.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted in years that begin in March, so that a leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
