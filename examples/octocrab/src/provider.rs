//! An API on loopback that limits requests as GitHub does. The first token has used up its hourly quota, and the
//! second one sends too fast. Each is rejected once per path.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use mock_provider::{Server, bearer, json_response, read};
use serde_json::json;

/// The provider and the log of its requests.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    state: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The tokens that were rejected, each with the path.
    limited: HashSet<(String, String)>,
    log: Vec<String>,
}

impl Provider {
    /// Serves until the runtime ends, and returns the base URL of the API.
    pub(crate) async fn start(&self) -> io::Result<String> {
        let provider = self.clone();
        let server = Server::http1(move |request| answer(provider.clone(), request)).await?;
        Ok(server.origin())
    }

    /// Returns a line for each request, and clears the log: token, body and status.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().log)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(provider: Provider, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Ok(request) = read(request).await else {
        return json_response(StatusCode::BAD_REQUEST, &json!({}));
    };
    let token = bearer(request.headers()).unwrap_or("no token");
    let path = request.uri().path();
    let mut seen = provider.lock();
    let is_first = seen.limited.insert((token.into(), path.into()));
    let response = match token {
        "ghp_one" if is_first => by_count(),
        "ghp_two" if is_first => by_speed(),
        _ => json_response(StatusCode::CREATED, &json!({ "id": 1 })),
    };
    let (status, body) = (
        response.status().as_u16(),
        String::from_utf8_lossy(request.body()),
    );
    seen.log.push(format!("{token} {body} {status}"));
    response
}

/// The primary limit: nothing remains until the reset, in seconds since 1970.
#[allow(clippy::disallowed_methods)] // The reset is a date.
fn by_count() -> Response<Full<Bytes>> {
    let reset = SystemTime::now() + Duration::from_secs(3600);
    let reset = reset.duration_since(SystemTime::UNIX_EPOCH);
    let body = json!({ "message": "API rate limit exceeded for user ID 1." });
    let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, &body);
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", 5000.into());
    headers.insert("x-ratelimit-remaining", 0.into());
    headers.insert(
        "x-ratelimit-reset",
        reset.unwrap_or_default().as_secs().into(),
    );
    response
}

/// The secondary limit: a 403 with `retry-after`.
fn by_speed() -> Response<Full<Bytes>> {
    let body = json!({ "message": "You have exceeded a secondary rate limit." });
    let mut response = json_response(StatusCode::FORBIDDEN, &body);
    response.headers_mut().insert("retry-after", 1.into());
    response
}
