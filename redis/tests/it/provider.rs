//! A provider whose keys have a limit of their own in fixed windows, and which reports what is left.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use mock_provider::{Server, bearer};
use tokio::time::Instant;

/// How many requests a key may send in a window, unless a test needs another number.
const LIMIT: u64 = 25;

const WINDOW: Duration = Duration::from_secs(1);

/// The prefix of keys that this provider rejects.
pub(crate) const INVALID: &str = "sk-invalid";

#[derive(Clone)]
pub(crate) struct Provider {
    origin: String,
    state: Arc<Mutex<HashMap<String, OfKey>>>,
}

#[derive(Clone, Copy)]
struct OfKey {
    opened: Instant,
    used: u64,
    passed: u64,
    rejected: u64,
}

impl Provider {
    pub(crate) async fn start() -> io::Result<Self> {
        Self::with_limit(LIMIT, WINDOW).await
    }

    pub(crate) async fn with_limit(limit: u64, window: Duration) -> io::Result<Self> {
        let state = Arc::default();
        let of_server = Arc::clone(&state);
        let server = Server::http1(move |request| {
            let response = respond(&of_server, (limit, window), request.headers());
            async { response }
        })
        .await?;
        let origin = server.origin();
        Ok(Self { origin, state })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns how many requests have passed, and how many were rejected.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = state.values();
        keys.fold((0, 0), |sum, key| {
            (sum.0 + key.passed, sum.1 + key.rejected)
        })
    }
}

#[allow(clippy::disallowed_methods)] // A provider has a clock of its own.
fn now() -> Instant {
    Instant::now()
}

fn respond(
    state: &Mutex<HashMap<String, OfKey>>,
    (limit, window): (u64, Duration),
    headers: &HeaderMap,
) -> Response<Full<Bytes>> {
    let now = now();
    let key = bearer(headers).unwrap_or_default();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let of_key = state.entry(key.to_owned()).or_insert(OfKey {
        opened: now,
        used: 0,
        passed: 0,
        rejected: 0,
    });
    if key.starts_with(INVALID) {
        of_key.rejected += 1;
        return response(StatusCode::UNAUTHORIZED);
    }
    if now >= of_key.opened + window {
        (of_key.opened, of_key.used) = (now, 0);
    }
    let left = of_key.opened + window - now;
    let mut response = match of_key.used < limit {
        true => {
            of_key.used += 1;
            of_key.passed += 1;
            response(StatusCode::OK)
        }
        false => {
            of_key.rejected += 1;
            let mut response = response(StatusCode::TOO_MANY_REQUESTS);
            let millis = left.as_millis() as u64 + 1;
            response
                .headers_mut()
                .insert("retry-after-ms", millis.into());
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit-requests", limit.into());
    headers.insert(
        "x-ratelimit-remaining-requests",
        (limit - of_key.used).into(),
    );
    let reset = format!("{}ms", left.as_millis() + 1);
    let reset = reset.parse().expect("it is ASCII");
    headers.insert("x-ratelimit-reset-requests", reset);
    response
}

fn response(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
