//! A provider on loopback that counts requests per project and model, and rejects those over the limit.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Server, bearer, read};

/// A model of the provider.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// The name in the body of a request.
    pub name: &'static str,
    /// How many requests each project may make in a window.
    pub limit: u32,
    /// How long a response takes.
    pub thinks: Duration,
}

/// One response.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the response was sent, as the time since the start of the provider.
    pub at: Duration,
    /// The project that the key belongs to.
    pub project: String,
    /// The name of the model.
    pub model: String,
    /// Whether the response was a 429.
    pub limited: bool,
}

/// A provider that serves `POST /v1/chat/completions` in OpenAI's format.
#[derive(Debug)]
pub struct LimitedProvider {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    models: Vec<Model>,
    window: Duration,
    started: Instant,
    windows: Mutex<HashMap<(String, &'static str), Window>>,
    log: Mutex<Vec<Entry>>,
}

/// A fixed window, which begins with the first request.
#[derive(Debug)]
struct Window {
    opened: Instant,
    used: u32,
}

impl LimitedProvider {
    /// Starts a provider of these models, whose limits apply to each `window`.
    pub async fn start(models: &[Model], window: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            models: models.to_vec(),
            window,
            started: Instant::now(),
            windows: Mutex::default(),
            log: Mutex::default(),
        });
        let provider = shared.clone();
        let server = Server::http1(move |request| chat(provider.clone(), request)).await?;
        Ok(Self { server, shared })
    }

    /// Returns `http://127.0.0.1:port`.
    pub fn origin(&self) -> String {
        self.server.origin()
    }

    /// Returns all responses so far.
    pub fn log(&self) -> Vec<Entry> {
        lock(&self.shared.log).clone()
    }
}

impl Shared {
    /// Counts a request, or returns the time until the full window ends.
    fn admit(&self, project: &str, model: &Model) -> Result<(), Duration> {
        let (now, mut windows) = (Instant::now(), lock(&self.windows));
        let fresh = || Window {
            opened: now,
            used: 0,
        };
        let window = windows
            .entry((project.into(), model.name))
            .or_insert_with(fresh);
        if now - window.opened >= self.window {
            *window = fresh();
        }
        if window.used == model.limit {
            return Err(window.opened + self.window - now);
        }
        window.used += 1;
        Ok(())
    }

    fn note(&self, project: &str, model: &Model, limited: bool) {
        lock(&self.log).push(Entry {
            at: self.started.elapsed(),
            project: project.into(),
            model: model.name.into(),
            limited,
        });
    }
}

async fn chat(provider: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Ok(request) = read(request).await else {
        return json_response(StatusCode::BAD_REQUEST, &json!({}));
    };
    // The key `sk-alpha` belongs to the project `alpha`.
    let project = bearer(request.headers()).and_then(|key| key.strip_prefix("sk-"));
    let Some(project) = project else {
        let error = json!({ "message": "You didn't provide an API key.", "code": null });
        return json_response(StatusCode::UNAUTHORIZED, &json!({ "error": error }));
    };
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let is_named = |model: &&Model| body["model"] == model.name;
    let Some(model) = provider.models.iter().find(is_named) else {
        let error = json!({ "message": "No such model.", "code": "model_not_found" });
        return json_response(StatusCode::NOT_FOUND, &json!({ "error": error }));
    };
    if let Err(wait) = provider.admit(project, model) {
        provider.note(project, model, true);
        return limited(model, wait);
    }
    sleep(model.thinks).await;
    provider.note(project, model, false);
    let message = json!({ "role": "assistant", "content": format!("{} says hello", model.name) });
    let answer = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model.name,
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
    });
    json_response(StatusCode::OK, &answer)
}

fn limited(model: &Model, wait: Duration) -> Response<Full<Bytes>> {
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let error = json!({
        "message": format!(
            "Rate limit reached for {} on requests per min (RPM): Limit {}. Please try again in {millis}ms.",
            model.name, model.limit
        ),
        "type": "requests",
        "param": null,
        "code": "rate_limit_exceeded",
    });
    let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": error }));
    let headers = response.headers_mut();
    headers.insert("retry-after-ms", millis.into());
    headers.insert("retry-after", millis.div_ceil(1_000).into());
    response
}

/// Returns a response with a JSON body.
pub fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", json);
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
