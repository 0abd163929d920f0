//! Requests by which tests control the mock. They are sent to its own address, not through the gateway:
//!
//! | request | does |
//! |---|---|
//! | header `x-mock-hold: NAME` on any streamed call | each chunk but the first waits until it is released |
//! | `POST /mock/release/NAME` | releases one chunk |
//! | `GET /mock/ended/NAME` | responds when the stream has ended: `{"finished": false}` if its caller disconnected |
//! | `POST /mock/reject?times=1&ms=500` | rejects the next requests with this delay |
//! | `GET /mock/last` | returns the request id of the last response |

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::Shared;

/// The streams that are held, by name.
#[derive(Default)]
pub(super) struct Holds(Mutex<HashMap<String, Arc<Hold>>>);

pub(super) struct Hold {
    released: Semaphore,
    /// Whether the stream was complete, once it has ended.
    ended: watch::Sender<Option<bool>>,
}

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/mock/release/{name}", post(release))
        .route("/mock/ended/{name}", get(ended))
        .route("/mock/reject", post(reject_next))
        .route("/mock/last", get(last))
}

async fn release(State(mock): State<Arc<Shared>>, Path(name): Path<String>) -> StatusCode {
    mock.holds.get(&name).released.add_permits(1);
    StatusCode::NO_CONTENT
}

async fn ended(State(mock): State<Arc<Shared>>, Path(name): Path<String>) -> Json<Value> {
    let mut ended = mock.holds.get(&name).ended.subscribe();
    let ended = ended.wait_for(Option::is_some).await;
    let finished = ended.ok().and_then(|finished| *finished);
    Json(json!({ "finished": finished }))
}

async fn reject_next(State(mock): State<Arc<Shared>>, RawQuery(query): RawQuery) -> StatusCode {
    let query = query.unwrap_or_default();
    let number = |name| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name));
        value.and_then(|value| value.strip_prefix('=')?.parse().ok())
    };
    let (times, ms) = (number("times").unwrap_or(1), number("ms").unwrap_or(1_000));
    mock.limits
        .force_rejections(times, Duration::from_millis(ms.into()));
    StatusCode::NO_CONTENT
}

async fn last(State(mock): State<Arc<Shared>>) -> Json<Value> {
    let last = mock
        .last_request_id
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "request_id": *last }))
}

// === impl Holds ===

impl Holds {
    pub(super) fn get(&self, name: &str) -> Arc<Hold> {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = holds.entry(name.into()).or_insert_with(|| {
            Arc::new(Hold {
                released: Semaphore::new(0),
                ended: watch::Sender::new(None),
            })
        });
        hold.clone()
    }
}

// === impl Hold ===

impl Hold {
    pub(super) async fn released(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
    }

    pub(super) fn ended(&self, finished: bool) {
        self.ended.send_replace(Some(finished));
    }
}
