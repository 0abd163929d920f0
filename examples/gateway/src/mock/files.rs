use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    OPENAI, Shared, epoch,
    openai::{key, limits, reject, request_id},
};

/// The last few uploads.
#[derive(Default)]
pub(super) struct Files(Mutex<VecDeque<(String, Bytes)>>);

const KEPT: usize = 4;

/// `POST /v1/files`, with the limit of the small model.
pub(super) async fn create(
    State(mock): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let left = match mock.limits.admit(key(&headers), OPENAI[1]) {
        Ok((_, left)) => left,
        Err(rejection) => return reject(&mock, rejection, OPENAI[1]),
    };
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(content) = file(kind, &body) else {
        let error = json!({
            "message": "'file' is a required property", "type": "invalid_request_error",
            "param": null, "code": null,
        });
        let body = Json(json!({ "error": error }));
        return (StatusCode::BAD_REQUEST, request_id(&mock), body).into_response();
    };
    let id = format!("file-mock{}", mock.number());
    let bytes = content.len();
    mock.files.keep(id.clone(), content);
    let file = json!({
        "id": id, "object": "file", "bytes": bytes, "created_at": epoch(),
        "filename": "upload", "purpose": "user_data", "status": "processed",
    });
    (request_id(&mock), limits(left), Json(file)).into_response()
}

/// `GET /v1/files/{id}/content`
pub(super) async fn content(State(mock): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match mock.files.find(&id) {
        Some(content) => (request_id(&mock), content).into_response(),
        None => (StatusCode::NOT_FOUND, request_id(&mock)).into_response(),
    }
}

/// Returns the part named `file` of a form.
fn file(kind: &str, body: &Bytes) -> Option<Bytes> {
    let boundary = kind.split_once("boundary=")?.1.trim_matches('"');
    let delimiter = format!("\r\n--{boundary}");
    let mut start = delimiter.len() - 2;
    loop {
        let head_end = start + find(&body[start..], b"\r\n\r\n")? + 4;
        let end = head_end + find(&body[head_end..], delimiter.as_bytes())?;
        let head = String::from_utf8_lossy(&body[start..head_end]);
        if head.contains("name=\"file\"") {
            return Some(body.slice(head_end..end));
        }
        start = end + delimiter.len();
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut windows = haystack.windows(needle.len());
    windows.position(|window| window == needle)
}

// === impl Files ===

impl Files {
    fn keep(&self, id: String, content: Bytes) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() == KEPT {
            files.pop_front();
        }
        files.push_back((id, content));
    }

    fn find(&self, id: &str) -> Option<Bytes> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.iter().find(|(known, _)| known == id);
        file.map(|(_, content)| content.clone())
    }
}
