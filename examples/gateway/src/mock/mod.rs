//! A provider on loopback that speaks as OpenAI, Anthropic and Gemini do, and limits as they do.
//!
//! Each key may ask each model so many times in a window. What is too much is refused in the words and
//! with the headers of the provider in question. A key that begins with `revoked` is rejected.
//!
//! For tests it can be held and asked; see [`control`].

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

/// The keys of three projects, by label, for a gateway that was given none.
pub(crate) const KEYS: [(&str, &str); 3] = [
    ("alpha", "mock-alpha"),
    ("beta", "mock-beta"),
    ("gamma", "mock-gamma"),
];

/// The models that it has; the second of each provider is the lesser one.
const OPENAI: [&str; 2] = ["gpt-4o", "gpt-4o-mini"];
const ANTHROPIC: [&str; 2] = ["claude-sonnet-5", "claude-haiku-5-5"];
const GEMINI: [&str; 2] = ["gemini-2.5-pro", "gemini-2.5-flash"];

/// The section `[mock]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where it listens; port 0 is any that is free.
    pub(crate) listen: SocketAddr,
    /// How long a minute is.
    pub(crate) window_ms: u64,
    /// How often each key may ask the greater models in a window.
    pub(crate) requests: u32,
    /// How often the lesser ones.
    pub(crate) lesser_requests: u32,
    /// The time from one word of an answer to the next.
    pub(crate) pace_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            window_ms: 15_000,
            requests: 2,
            lesser_requests: 20,
            pace_ms: 60,
        }
    }
}

/// Answers until it is dropped.
pub(crate) struct Mock {
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// What its handlers share.
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
            // It ends when the task is aborted, and not before.
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
    /// A number that no other answer has.
    fn number(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What an answer is known by; the last is told at `/mock/last`.
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

/// What every model says.
fn words(model: &str) -> Vec<String> {
    let text = format!("Hello from {model}. Each word comes when it is said, not at the end.");
    text.split_inclusive(' ').map(String::from).collect()
}

/// A rate limit is about time.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for dates on the wire.
#[allow(clippy::disallowed_methods)]
fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
