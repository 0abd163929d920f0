//! A provider on loopback with the APIs and the rate limits of OpenAI, Anthropic and Gemini.
//!
//! Each key may send a number of requests to each model in a window. Further requests are rejected with the body and
//! the headers of the provider that the path belongs to. A key that begins with `revoked` is rejected.
//!
//! Tests can control it; see [`control`].

mod anthropic;
mod control;
mod files;
mod gemini;
mod limits;
mod openai;
mod responses;
mod stream;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use control::Holds;
use files::Files;
use limits::Limits;

/// The labels and keys of three projects, for a gateway without keys.
pub(crate) const KEYS: [(&str, &str); 3] = [
    ("alpha", "mock-alpha"),
    ("beta", "mock-beta"),
    ("gamma", "mock-gamma"),
];

/// The models of each provider: a large one and a small one.
const OPENAI: [&str; 2] = ["gpt-4o", "gpt-4o-mini"];
const ANTHROPIC: [&str; 2] = ["claude-sonnet-5", "claude-haiku-5-5"];
const GEMINI: [&str; 2] = ["gemini-2.5-pro", "gemini-2.5-flash"];

/// The section `[mock]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The address of the mock. Port 0 is any free port.
    pub(crate) listen: SocketAddr,
    /// The duration of a "minute".
    pub(crate) window_ms: u64,
    /// How many requests each key may send to a large model in a window.
    pub(crate) requests: u32,
    /// The same for a small model.
    pub(crate) small_requests: u32,
    /// The time from one word of a stream to the next.
    pub(crate) pace_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            window_ms: 15_000,
            requests: 2,
            small_requests: 20,
            pace_ms: 60,
        }
    }
}

/// The running mock, which stops when it is dropped.
pub(crate) struct Mock {
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// The state that the handlers share.
struct Shared {
    limits: Limits,
    holds: Holds,
    files: Files,
    pace: Duration,
    answers: AtomicU64,
    last_request_id: Mutex<String>,
}

// === impl Mock ===

impl Mock {
    pub(crate) async fn start(settings: &Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let router = router(settings);
        let server = tokio::spawn(async move {
            // The server ends only when the task is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, server })
    }

    /// `http://127.0.0.1:port`
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(settings: &Settings) -> Router {
    let shared = Arc::new(Shared {
        limits: Limits::new(settings),
        holds: Holds::default(),
        files: Files::default(),
        pace: Duration::from_millis(settings.pace_ms),
        answers: AtomicU64::new(0),
        last_request_id: Mutex::default(),
    });
    Router::new()
        .route("/v1/models", get(openai::models))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/responses", post(responses::create))
        .route("/v1/files", post(files::create))
        .route("/v1/files/{id}/content", get(files::content))
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1beta/models/{call}", post(gemini::generate))
        .merge(control::router())
        .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
        .with_state(shared)
}

// === impl Shared ===

impl Shared {
    /// Returns a number that no other response has.
    fn number(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the id of a response. `/mock/last` returns the last one.
    fn request_id(&self) -> String {
        let id = format!("req_mock{:016x}", self.number());
        let mut last = self
            .last_request_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.clone_from(&id);
        id
    }
}

/// Returns the words of a model's response.
fn words(model: &str) -> Vec<String> {
    let text = format!("Hello from {model}. Each word comes when it is said, not at the end.");
    text.split_inclusive(' ').map(String::from).collect()
}

/// The limits need the time.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// Returns the seconds since 1970, for dates in responses.
#[allow(clippy::disallowed_methods)]
fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
