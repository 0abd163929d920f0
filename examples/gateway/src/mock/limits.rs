use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{ANTHROPIC, GEMINI, OPENAI, Settings, now};

/// How many requests each key has sent to each model.
pub(super) struct Limits {
    window: Duration,
    requests: u32,
    small_requests: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    windows: HashMap<(String, &'static str), Window>,
    /// Rejections that a test has requested: how many more, and with which delay.
    forced: (u32, Duration),
}

/// A fixed window, which begins with its first request.
struct Window {
    opened: Instant,
    used: u32,
}

/// What remains of a limit after a request.
#[derive(Clone, Copy)]
pub(super) struct Remaining {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    /// The time until the window ends.
    pub(super) reset: Duration,
}

/// Why a request is rejected.
pub(super) enum Rejection {
    UnknownKey,
    UnknownModel,
    Limited {
        model: &'static str,
        left: Remaining,
    },
}

// === impl Limits ===

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            window: Duration::from_millis(settings.window_ms),
            requests: settings.requests,
            small_requests: settings.small_requests,
            state: Mutex::default(),
        }
    }

    /// Rejects the next requests, whatever their keys and models are.
    pub(super) fn force_rejections(&self, times: u32, delay: Duration) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forced = (times, delay);
    }

    /// Counts a request if the limit admits it.
    pub(super) fn admit(
        &self,
        key: Option<&str>,
        model: &str,
    ) -> Result<(&'static str, Remaining), Rejection> {
        let key = key.filter(|key| !key.is_empty() && !key.starts_with("revoked"));
        let key = key.ok_or(Rejection::UnknownKey)?;
        let mut models = [OPENAI, ANTHROPIC, GEMINI].into_iter().flatten();
        let model = models.find(|known| *known == model);
        let model = model.ok_or(Rejection::UnknownModel)?;
        let is_small = [OPENAI, ANTHROPIC, GEMINI].iter().any(|of| of[1] == model);
        let limit = match is_small {
            true => self.small_requests,
            false => self.requests,
        };

        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.forced.0 > 0 {
            state.forced.0 -= 1;
            let left = Remaining {
                limit,
                remaining: 0,
                reset: state.forced.1,
            };
            return Err(Rejection::Limited { model, left });
        }
        let now = now();
        let window = state.windows.entry((key.into(), model)).or_insert(Window {
            opened: now,
            used: 0,
        });
        if now - window.opened >= self.window {
            *window = Window {
                opened: now,
                used: 0,
            };
        }
        let reset = window.opened + self.window - now;
        if window.used >= limit {
            let remaining = 0;
            let left = Remaining {
                limit,
                remaining,
                reset,
            };
            return Err(Rejection::Limited { model, left });
        }
        window.used += 1;
        let remaining = limit - window.used;
        Ok((
            model,
            Remaining {
                limit,
                remaining,
                reset,
            },
        ))
    }
}

// === impl Remaining ===

impl Remaining {
    /// The delay in milliseconds, rounded up.
    pub(super) fn millis(&self) -> u128 {
        self.reset.as_nanos().div_ceil(1_000_000)
    }

    /// The delay in seconds, rounded up.
    pub(super) fn seconds(&self) -> u128 {
        self.millis().div_ceil(1_000)
    }
}
