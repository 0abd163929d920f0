use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{ANTHROPIC, GEMINI, OPENAI, Settings, now};

/// How often each key has asked each model.
pub(super) struct Limits {
    window: Duration,
    requests: u32,
    lesser_requests: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    windows: HashMap<(String, &'static str), Window>,
    /// Rejections that were asked for: how many more, and with which delay.
    ordered: (u32, Duration),
}

/// A fixed window, which the first request opens.
struct Window {
    opened: Instant,
    used: u32,
}

/// What is left of a limit after a request.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    /// Until the window ends.
    pub(super) reset: Duration,
}

/// Why a request is not answered.
pub(super) enum No {
    UnknownKey,
    UnknownModel,
    Limited { model: &'static str, left: Left },
}

// === impl Limits ===

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            window: Duration::from_millis(settings.window_ms),
            requests: settings.requests,
            lesser_requests: settings.lesser_requests,
            state: Mutex::default(),
        }
    }

    /// Refuses the next requests, whoever asks.
    pub(super) fn order(&self, times: u32, delay: Duration) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ordered = (times, delay);
    }

    /// Counts a request.
    pub(super) fn admit(&self, key: Option<&str>, model: &str) -> Result<(&'static str, Left), No> {
        let key = key.filter(|key| !key.is_empty() && !key.starts_with("revoked"));
        let key = key.ok_or(No::UnknownKey)?;
        let mut models = [OPENAI, ANTHROPIC, GEMINI].into_iter().flatten();
        let model = models.find(|known| *known == model);
        let model = model.ok_or(No::UnknownModel)?;
        let is_lesser = [OPENAI, ANTHROPIC, GEMINI].iter().any(|of| of[1] == model);
        let limit = match is_lesser {
            true => self.lesser_requests,
            false => self.requests,
        };

        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ordered.0 > 0 {
            state.ordered.0 -= 1;
            let left = Left {
                limit,
                remaining: 0,
                reset: state.ordered.1,
            };
            return Err(No::Limited { model, left });
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
            let left = Left {
                limit,
                remaining,
                reset,
            };
            return Err(No::Limited { model, left });
        }
        window.used += 1;
        let remaining = limit - window.used;
        Ok((
            model,
            Left {
                limit,
                remaining,
                reset,
            },
        ))
    }
}

// === impl Left ===

impl Left {
    /// The delay in milliseconds, rounded up.
    pub(super) fn millis(&self) -> u128 {
        self.reset.as_nanos().div_ceil(1_000_000)
    }

    /// The delay in seconds, rounded up.
    pub(super) fn seconds(&self) -> u128 {
        self.millis().div_ceil(1_000)
    }
}
