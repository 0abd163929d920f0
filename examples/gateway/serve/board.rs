//! What the gateway tells of its calls: counts, and the last refusals.
//!
//! All of it is read from the trails, which name keys by label.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;
use tower_429::{
    Call,
    trail::{Action, Attempt},
};

use super::{meter::Meter, now};

/// One for the whole gateway.
#[derive(Default)]
pub(crate) struct Board(Mutex<State>);

#[derive(Default)]
struct State {
    /// By the name of the upstream and what is told apart; an empty text if nothing is.
    counts: BTreeMap<(&'static str, Arc<str>, String), f64>,
    open: Vec<Watched>,
    /// The last calls that met a refusal.
    recent: VecDeque<Watched>,
    next: u64,
}

/// How many calls with refusals are remembered.
const RECENT: usize = 50;

/// How many refusals are told.
const TOLD: usize = 50;

#[derive(Clone)]
pub(crate) struct Watched {
    number: u64,
    upstream: Arc<str>,
    pub(crate) call: Call,
    pub(crate) meter: Meter,
}

/// A call until its head is there; one that is dropped before was given up by its caller.
pub(crate) struct Watching {
    board: Arc<Board>,
    pub(crate) watched: Watched,
    outcome: String,
    started: Instant,
}

/// Each metric: its name, its kind, its help, and the label beside `upstream`.
const METRICS: [(&str, &str, &str, &str); 8] = [
    (
        "calls_total",
        "counter",
        "Calls of callers, by the status that they got.",
        "status",
    ),
    ("sends_total", "counter", "Requests sent to upstreams.", ""),
    (
        "refusals_total",
        "counter",
        "Refusals by upstreams.",
        "reason",
    ),
    (
        "rotations_total",
        "counter",
        "Sends with another key after a refusal.",
        "",
    ),
    (
        "fallbacks_total",
        "counter",
        "Sends to another target after a refusal.",
        "",
    ),
    (
        "waited_seconds_total",
        "counter",
        "Time that calls were kept waiting on this side.",
        "",
    ),
    (
        "calls_in_progress",
        "gauge",
        "Calls whose answer has not begun.",
        "",
    ),
    (
        "cooling_keys",
        "gauge",
        "Keys that are limited, for every model or for one.",
        "",
    ),
];

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
            outcome: "abandoned".into(),
            started: now(),
        }
    }

    /// The last refusals, the newest first, those of calls that are still waiting among them.
    pub(crate) fn refusals(&self) -> Value {
        let state = self.lock();
        let calls: Vec<Watched> = state.recent.iter().chain(&state.open).cloned().collect();
        drop(state);
        let now = now();
        let mut refusals: Vec<(Duration, Value)> =
            calls.iter().flat_map(|call| call.refusals(now)).collect();
        refusals.sort_by_key(|(ago, _)| *ago);
        refusals.truncate(TOLD);
        refusals.into_iter().map(|(_, refusal)| refusal).collect()
    }

    /// Prometheus' text format; `cooling` is how many keys of each upstream cool.
    pub(crate) fn metrics(&self, cooling: &[(Arc<str>, usize)]) -> String {
        let state = self.lock();
        let mut counts = state.counts.clone();
        for open in &state.open {
            let gauge = ("calls_in_progress", open.upstream.clone(), String::new());
            *counts.entry(gauge).or_default() += 1.0;
        }
        drop(state);
        for (upstream, count) in cooling {
            let count = u32::try_from(*count).unwrap_or(u32::MAX);
            counts.insert(
                ("cooling_keys", upstream.clone(), String::new()),
                count.into(),
            );
            // One that is not there yet is 0.
            counts
                .entry(("calls_in_progress", upstream.clone(), String::new()))
                .or_default();
        }
        let mut text = String::new();
        for (name, kind, help, label) in METRICS {
            let _ = writeln!(text, "# HELP tower_429_gateway_{name} {help}");
            let _ = writeln!(text, "# TYPE tower_429_gateway_{name} {kind}");
            for ((_, upstream, value), count) in
                counts.iter().filter(|((metric, ..), _)| *metric == name)
            {
                let more = match label {
                    "" => String::new(),
                    label => format!(",{label}=\"{value}\""),
                };
                let _ = writeln!(
                    text,
                    "tower_429_gateway_{name}{{upstream=\"{upstream}\"{more}}} {count}"
                );
            }
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn count(&mut self, name: &'static str, upstream: &Arc<str>, value: String, by: f64) {
        *self
            .counts
            .entry((name, upstream.clone(), value))
            .or_default() += by;
    }

    fn close(&mut self, watched: &Watched, outcome: &str, waited: Duration) {
        let upstream = &watched.upstream;
        let attempts = watched.call.trail().attempts();
        self.count("calls_total", upstream, outcome.into(), 1.0);
        self.count(
            "waited_seconds_total",
            upstream,
            String::new(),
            waited.as_secs_f64(),
        );
        for attempt in &attempts {
            if attempt.sent {
                self.count("sends_total", upstream, String::new(), 1.0);
            }
            if let Some(refusal) = &attempt.refusal {
                let reason = format!("{:?}", refusal.reason);
                self.count("refusals_total", upstream, reason, 1.0);
            }
            for step in &attempt.steps {
                let name = match step.action {
                    Action::NextKey => "rotations_total",
                    Action::NextTarget => "fallbacks_total",
                    _ => continue,
                };
                self.count(name, upstream, String::new(), 1.0);
            }
        }
        self.open.retain(|open| open.number != watched.number);
        if attempts.iter().any(|attempt| attempt.refusal.is_some()) {
            self.recent.push_back(watched.clone());
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
    }
}

// === impl Watching ===

impl Watching {
    /// Says how the call ended.
    pub(crate) fn ended(&mut self, outcome: impl Into<String>) {
        self.outcome = outcome.into();
    }

    /// How long the call was kept here, other than for answers of the upstream.
    pub(crate) fn waited(&self) -> Duration {
        let all = now() - self.started;
        all.saturating_sub(self.watched.meter.asking())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let waited = self.waited();
        self.board
            .lock()
            .close(&self.watched, &self.outcome, waited);
    }
}

// === impl Watched ===

impl Watched {
    fn refusals(&self, now: Instant) -> Vec<(Duration, Value)> {
        let attempts = self.call.trail().attempts();
        let mut sends = 0;
        let mut refusals = Vec::new();
        for attempt in &attempts {
            let at = self.meter.answered(sends);
            sends += usize::from(attempt.sent);
            if attempt.refusal.is_some() {
                let ago = now.saturating_duration_since(at.unwrap_or(now));
                refusals.push((ago, self.refusal(attempt, ago)));
            }
        }
        refusals
    }

    fn refusal(&self, attempt: &Attempt, ago: Duration) -> Value {
        let refusal = attempt.refusal.as_ref();
        let steps = attempt.steps.iter();
        let steps: Vec<String> = steps
            .map(|step| format!("{}: {}", step.layer.as_str().replace('_', " "), step.action))
            .collect();
        json!({
            "ago_ms": millis(ago),
            "upstream": &*self.upstream,
            "status": attempt.status.map(|status| status.as_u16()),
            "reason": refusal.map(|refusal| format!("{:?}", refusal.reason)),
            "hint_ms": refusal.and_then(|refusal| refusal.retry_after).map(millis),
            "key": attempt.key.as_deref(),
            "model": attempt.model.as_deref(),
            "then": steps.join("; "),
        })
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
