//! A provider on loopback. Each key may send one request per hour to the large model, and any number to the small one.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use mock_provider::{Server, bearer, json_response, read};
use serde_json::{Value, json};

/// The provider and the log of its requests.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The keys that have used the large model.
    used: HashSet<String>,
    log: Vec<String>,
}

impl Provider {
    /// Serves until the runtime ends, and returns the base URL of the API.
    pub(crate) async fn start(&self) -> io::Result<String> {
        let provider = self.clone();
        let server = Server::http1(move |request| chat(provider.clone(), request)).await?;
        Ok(format!("{}/v1", server.origin()))
    }

    /// Returns a line for each request: key, model and status.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// Logs a request, and returns whether the key may use the model now.
    fn admit(&self, key: &str, model: &str) -> bool {
        let mut state = self.lock();
        let is_admitted = model != "large" || state.used.insert(key.into());
        let status = if is_admitted { 200 } else { 429 };
        state.log.push(format!("{key} {model} {status}"));
        is_admitted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn chat(provider: Provider, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Ok(request) = read(request).await else {
        return json_response(StatusCode::BAD_REQUEST, &json!({}));
    };
    let key = bearer(request.headers()).unwrap_or("no key");
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let model = body["model"].as_str().unwrap_or_default();
    if !provider.admit(key, model) {
        let error = json!({
            "message": "Rate limit reached for large on requests per hour. Please try again in 3600s.",
            "type": "requests",
            "param": null,
            "code": "rate_limit_exceeded",
        });
        let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": error }));
        response.headers_mut().insert("retry-after", 3600.into());
        return response;
    }
    if body["stream"] == true {
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
        let mut response = Response::new(Full::from(stream.concat()));
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert("content-type", kind);
        return response;
    }
    let message = json!({ "role": "assistant", "content": format!("{model} says hello") });
    let choice =
        json!({ "index": 0, "message": message, "finish_reason": "stop", "logprobs": null });
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0,
        "model": model, "choices": [choice],
    });
    json_response(StatusCode::OK, &answer)
}
