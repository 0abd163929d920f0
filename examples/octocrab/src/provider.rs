//! An API on loopback that limits as GitHub does: the first token by its hourly count, the second for
//! asking too fast, each once for each path.

use std::{
    collections::HashSet,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::net::TcpListener;

/// What it was sent, and what it answered.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    state: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Which tokens were limited for which paths.
    limited: HashSet<(String, String)>,
    log: Vec<String>,
}

impl Provider {
    /// Serves until the runtime ends; returns the base of its API.
    pub(crate) async fn start(&self) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(base)
    }

    /// A line for each request: token, body and status.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().log)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(provider): State<Provider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers.get(header::AUTHORIZATION);
    let token = token.and_then(|token| token.to_str().ok()?.strip_prefix("Bearer "));
    let token = token.unwrap_or("nobody");
    let mut seen = provider.lock();
    let is_first = seen.limited.insert((token.into(), uri.path().into()));
    let response = match token {
        "ghp_one" if is_first => by_count(),
        "ghp_two" if is_first => by_speed(),
        _ => (StatusCode::CREATED, Json(json!({ "id": 1 }))).into_response(),
    };
    let (status, body) = (response.status().as_u16(), String::from_utf8_lossy(&body));
    seen.log.push(format!("{token} {body} {status}"));
    response
}

/// The primary limit: nothing is left until a moment, in seconds since 1970.
#[allow(clippy::disallowed_methods)] // a provider has a calendar
fn by_count() -> Response {
    let reset = SystemTime::now() + Duration::from_secs(3600);
    let reset = reset.duration_since(SystemTime::UNIX_EPOCH);
    let headers = [
        ("x-ratelimit-limit", "5000".into()),
        ("x-ratelimit-remaining", "0".into()),
        (
            "x-ratelimit-reset",
            reset.unwrap_or_default().as_secs().to_string(),
        ),
    ];
    let body = Json(json!({ "message": "API rate limit exceeded for user ID 1." }));
    (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response()
}

/// The secondary limit: a 403 with a time to wait.
fn by_speed() -> Response {
    let body = Json(json!({ "message": "You have exceeded a secondary rate limit." }));
    (StatusCode::FORBIDDEN, [(header::RETRY_AFTER, "1")], body).into_response()
}
