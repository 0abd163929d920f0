//! The last rejections, and the actions taken for them.
//!
//! All of it comes from the trails, which name keys by label.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;
use tower_429::{Call, trail::Attempt};

use super::{meter::Meter, now, shortened};

/// The open calls of the gateway, and the last ones with rejections.
#[derive(Default)]
pub(crate) struct Board(Mutex<State>);

#[derive(Default)]
struct State {
    open: Vec<Watched>,
    /// The last calls that got a rejection.
    recent: VecDeque<Watched>,
    next: u64,
}

/// The number of calls with rejections that are kept.
const RECENT: usize = 50;

/// The number of rejections that the page shows.
const SHOWN: usize = 50;

#[derive(Clone)]
pub(crate) struct Watched {
    number: u64,
    upstream: Arc<str>,
    pub(crate) call: Call,
    pub(crate) meter: Meter,
}

/// A call until its response begins, or until it is cancelled.
pub(crate) struct Watching {
    board: Arc<Board>,
    pub(crate) watched: Watched,
    started: Instant,
}

// === impl Board ===

impl Board {
    pub(crate) fn watch(self: &Arc<Self>, upstream: &Arc<str>, call: &Call) -> Watching {
        let mut state = self.lock();
        state.next += 1;
        let watched = Watched {
            number: state.next,
            upstream: upstream.clone(),
            call: call.clone(),
            meter: Meter::default(),
        };
        state.open.push(watched.clone());
        drop(state);
        Watching {
            board: self.clone(),
            watched,
            started: now(),
        }
    }

    /// Returns the last rejections, the newest first. They include those of calls that still wait.
    pub(crate) fn rejections(&self) -> Value {
        let state = self.lock();
        let calls: Vec<Watched> = state.recent.iter().chain(&state.open).cloned().collect();
        drop(state);
        let now = now();
        let mut rejections: Vec<(Duration, Value)> =
            calls.iter().flat_map(|call| call.rejections(now)).collect();
        rejections.sort_by_key(|(ago, _)| *ago);
        rejections.truncate(SHOWN);
        rejections
            .into_iter()
            .map(|(_, rejection)| rejection)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn close(&mut self, watched: &Watched) {
        self.open.retain(|open| open.number != watched.number);
        let attempts = watched.call.trail().attempts();
        if attempts.iter().any(|attempt| attempt.rejection.is_some()) {
            self.recent.push_back(watched.clone());
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
    }
}

// === impl Watching ===

impl Watching {
    /// Returns how long the call waited in the gateway, without the time that the upstream took to respond.
    pub(crate) fn waited(&self) -> Duration {
        let all = now() - self.started;
        all.saturating_sub(self.watched.meter.sending())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.board.lock().close(&self.watched);
    }
}

// === impl Watched ===

impl Watched {
    fn rejections(&self, now: Instant) -> Vec<(Duration, Value)> {
        let attempts = self.call.trail().attempts();
        let mut sends = 0;
        let mut rejections = Vec::new();
        for attempt in &attempts {
            let at = self.meter.response_at(sends);
            sends += usize::from(attempt.sent);
            if attempt.rejection.is_some() {
                let ago = now.saturating_duration_since(at.unwrap_or(now));
                rejections.push((ago, self.rejection(attempt, ago)));
            }
        }
        rejections
    }

    fn rejection(&self, attempt: &Attempt, ago: Duration) -> Value {
        let rejection = attempt.rejection.as_ref();
        let steps = attempt.steps.iter();
        let steps: Vec<String> = steps
            .map(|step| format!("{}: {}", step.layer.as_str().replace('_', " "), step.action))
            .collect();
        json!({
            "ago_ms": millis(ago),
            "upstream": &*self.upstream,
            "status": attempt.status.map(|status| status.as_u16()),
            "reason": rejection.map(|rejection| format!("{:?}", rejection.reason)),
            "hint_ms": rejection.and_then(|rejection| rejection.retry_after).map(millis),
            "key": attempt.key.as_deref(),
            "model": attempt.model.as_deref().map(shortened),
            "then": steps.join("; "),
        })
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
