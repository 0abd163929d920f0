use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::HeaderMap,
};
use futures::stream;

use super::{Shared, control::Hold};

/// Returns a body whose chunks are sent one by one: after a pause, or when a test releases them.
pub(super) fn body(shared: &Shared, headers: &HeaderMap, chunks: Vec<String>) -> Body {
    let hold = headers
        .get("x-mock-hold")
        .and_then(|name| name.to_str().ok());
    let state = State {
        chunks: chunks.into_iter(),
        is_first: true,
        pace: shared.pace,
        watched: hold.map(|name| Watched {
            hold: shared.holds.get(name),
            is_finished: false,
        }),
    };
    Body::from_stream(stream::unfold(state, State::next))
}

struct State {
    chunks: std::vec::IntoIter<String>,
    is_first: bool,
    pace: Duration,
    watched: Option<Watched>,
}

/// Reports when the stream has ended, and whether it was complete.
struct Watched {
    hold: Arc<Hold>,
    is_finished: bool,
}

// === impl State ===

impl State {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let Some(chunk) = self.chunks.next() else {
            if let Some(watched) = &mut self.watched {
                watched.is_finished = true;
            }
            return None;
        };
        // The first chunk is sent with the head.
        if !std::mem::take(&mut self.is_first) {
            match &self.watched {
                Some(watched) => watched.hold.released().await,
                None => tokio::time::sleep(self.pace).await,
            }
        }
        Some((Ok(Bytes::from(chunk)), self))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.hold.ended(self.is_finished);
    }
}
