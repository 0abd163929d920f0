//! A provider whose keys have a limit of their own in fixed windows, and which reports what is left.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use mock_provider::{Server, bearer};
use tokio::time::{Instant, sleep};

/// How many requests a key may send in a window.
pub(crate) const LIMIT: u64 = 50;

pub(crate) const WINDOW: Duration = Duration::from_secs(2);

/// The header in which a process says which one it is.
pub(crate) const PROCESS: &str = "x-process";

/// How long a response takes.
const THINKS: Duration = Duration::from_millis(50);

/// One response.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// When its request came, since the first.
    pub(crate) at: Duration,
    pub(crate) process: usize,
    pub(crate) rejected: bool,
}

pub(crate) struct Provider {
    origin: String,
    state: Arc<Mutex<ProviderState>>,
}

#[derive(Default)]
struct ProviderState {
    began: Option<Instant>,
    /// When the window of each key began, and how many requests have passed in it.
    windows: HashMap<String, (Instant, u64)>,
    log: Vec<Entry>,
}

// === impl Provider ===

impl Provider {
    pub(crate) async fn start() -> io::Result<Self> {
        let state = Arc::<Mutex<ProviderState>>::default();
        let of_server = state.clone();
        let server = Server::http1(move |request| {
            let response = lock(&of_server).answer(request.headers(), now());
            async {
                sleep(THINKS).await;
                response
            }
        })
        .await?;
        let origin = server.origin();
        Ok(Self { origin, state })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        lock(&self.state).log.clone()
    }
}

// === impl ProviderState ===

impl ProviderState {
    fn answer(&mut self, headers: &HeaderMap, now: Instant) -> Response<Full<Bytes>> {
        let key = bearer(headers).unwrap_or_default().to_owned();
        let (opened, used) = self.windows.entry(key).or_insert((now, 0));
        if now >= *opened + WINDOW {
            (*opened, *used) = (now, 0);
        }
        let rejected = *used == LIMIT;
        *used += u64::from(!rejected);
        let millis = (*opened + WINDOW - now).as_millis() as u64 + 1;
        let process = headers
            .get(PROCESS)
            .and_then(|it| it.to_str().ok()?.parse().ok());
        self.log.push(Entry {
            at: now - *self.began.get_or_insert(now),
            process: process.unwrap_or_default(),
            rejected,
        });
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert("x-ratelimit-limit-requests", LIMIT.into());
        headers.insert("x-ratelimit-remaining-requests", (LIMIT - *used).into());
        if let Ok(reset) = format!("{millis}ms").parse() {
            headers.insert("x-ratelimit-reset-requests", reset);
        }
        if rejected {
            headers.insert("retry-after-ms", millis.into());
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        }
        response
    }
}

fn lock(state: &Mutex<ProviderState>) -> MutexGuard<'_, ProviderState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::disallowed_methods)] // A provider has a clock of its own.
fn now() -> Instant {
    Instant::now()
}
