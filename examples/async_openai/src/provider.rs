//! A provider on loopback: each key may ask the large model once an hour, the small one as often as it likes.

use std::{
    collections::HashSet,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it was asked, and what it answered.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    state: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    /// Which keys have asked the large model.
    used: HashSet<String>,
    log: Vec<String>,
}

impl Provider {
    /// Serves until the runtime ends; returns the base of its API.
    pub(crate) async fn start(&self) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("http://{}/v1", listener.local_addr()?);
        let app = Router::new()
            .route("/v1/chat/completions", post(chat))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(base)
    }

    /// A line for each request: key, model and status.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// Whether the key may ask the model now.
    fn admit(&self, key: &str, model: &str) -> bool {
        let mut asked = self.lock();
        let is_admitted = model != "large" || asked.used.insert(key.into());
        let status = if is_admitted { 200 } else { 429 };
        asked.log.push(format!("{key} {model} {status}"));
        is_admitted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn chat(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    let key = headers.get(header::AUTHORIZATION);
    let key = key.and_then(|key| key.to_str().ok()?.strip_prefix("Bearer "));
    let model = request["model"].as_str().unwrap_or_default();
    if !provider.admit(key.unwrap_or("nobody"), model) {
        let error = json!({
            "message": "Rate limit reached for large on requests per hour. Please try again in 3600s.",
            "type": "requests",
            "param": null,
            "code": "rate_limit_exceeded",
        });
        let hint = [(header::RETRY_AFTER, "3600")];
        let body = Json(json!({ "error": error }));
        return (StatusCode::TOO_MANY_REQUESTS, hint, body).into_response();
    }
    if request["stream"] == true {
        let chunk = |content: &str| {
            let delta = json!({ "role": "assistant", "content": content });
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": null });
            let chunk = json!({
                "id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 0,
                "model": model, "choices": [choice],
            });
            format!("data: {chunk}\n\n")
        };
        let stream = [
            chunk(model),
            chunk(" says"),
            chunk(" hello"),
            "data: [DONE]\n\n".into(),
        ];
        return (
            [(header::CONTENT_TYPE, "text/event-stream")],
            stream.concat(),
        )
            .into_response();
    }
    let message = json!({ "role": "assistant", "content": format!("{model} says hello") });
    let choice =
        json!({ "index": 0, "message": message, "finish_reason": "stop", "logprobs": null });
    Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0,
        "model": model, "choices": [choice],
    }))
    .into_response()
}
