//! A provider on loopback that counts requests per project and model, and refuses what is too many.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

/// A model that the provider has.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// How many requests each project may make in a window.
    pub(crate) limit: u32,
    /// How long an answer takes.
    pub(crate) thinks: Duration,
}

/// One answer, as the provider saw it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Since the provider was started.
    pub(crate) at: Duration,
    /// Whose key it was.
    pub(crate) project: String,
    pub(crate) model: String,
    /// Whether the answer was a 429.
    pub(crate) limited: bool,
}

/// Answers `POST /v1/chat/completions` in OpenAI's format until it is dropped.
pub(crate) struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    models: Vec<Model>,
    window: Duration,
    started: Instant,
    windows: Mutex<HashMap<(String, &'static str), Window>>,
    log: Mutex<Vec<Entry>>,
}

/// A fixed window, which the first request opens.
struct Window {
    opened: Instant,
    used: u32,
}

impl Provider {
    pub(crate) async fn start(models: &[Model], window: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            models: models.to_vec(),
            window,
            started: now(),
            windows: Mutex::default(),
            log: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/v1/chat/completions", post(chat))
            .with_state(shared.clone());
        let server = tokio::spawn(async move {
            // It ends when the task is aborted, and not before.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// `http://127.0.0.1:port`
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every answer so far.
    pub(crate) fn log(&self) -> Vec<Entry> {
        lock(&self.shared.log).clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    /// Counts a request, or says how long the window is still full.
    fn admit(&self, project: &str, model: &Model) -> Result<(), Duration> {
        let (now, mut windows) = (now(), lock(&self.windows));
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

async fn chat(
    State(provider): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    let Some(project) = project(&headers) else {
        let error = json!({ "message": "You didn't provide an API key.", "code": null });
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": error }))).into_response();
    };
    let asked = |model: &&Model| request["model"] == model.name;
    let Some(model) = provider.models.iter().find(asked) else {
        let error = json!({ "message": "No such model.", "code": "model_not_found" });
        return (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response();
    };
    if let Err(wait) = provider.admit(project, model) {
        provider.note(project, model, true);
        return limited(model, wait);
    }
    tokio::time::sleep(model.thinks).await;
    provider.note(project, model, false);
    let message = json!({ "role": "assistant", "content": format!("{} says hello", model.name) });
    Json(json!({
        "object": "chat.completion",
        "model": model.name,
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
    }))
    .into_response()
}

/// The project to which a key belongs: `sk-alpha` is alpha's.
fn project(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    authorization.strip_prefix("Bearer sk-")
}

fn limited(model: &Model, wait: Duration) -> Response {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    let hints = [
        ("retry-after-ms", millis.to_string()),
        ("retry-after", millis.div_ceil(1_000).to_string()),
    ];
    let error = json!({
        "message": format!(
            "Rate limit reached for {} on requests per min (RPM): Limit {}. Please try again in {millis}ms.",
            model.name, model.limit
        ),
        "type": "requests",
        "param": null,
        "code": "rate_limit_exceeded",
    });
    let body = Json(json!({ "error": error }));
    (StatusCode::TOO_MANY_REQUESTS, hints, body).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rate limit is about time.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}
