//! What stacked layers share about one call: its deadline, its sends, its trail.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Extensions, StatusCode};
use tokio::time::Instant;

use crate::{
    refusal::Refusal,
    trail::{Action, Attempt, Layer, Step, Trail, Why},
};

/// One request by the caller, however many sends it takes.
///
/// The outermost layer makes one by itself. Put one into the request's extensions to set limits of
/// this request alone, or to read the trail even when the call ends in an error:
///
/// ```
/// use std::time::Duration;
/// use tower_429::Call;
///
/// let call = Call::new().deadline(Duration::from_secs(30)).max_sends(4);
/// let request = http::Request::post("https://api.example/v1/chat/completions")
///     .extension(call.clone())
///     .body(String::from("{}"))?;
/// // ... send it ...
/// assert!(call.trail().attempts().is_empty(), "nothing was sent yet");
/// # Ok::<(), http::Error>(())
/// ```
///
/// A clone is the same call, so make a new one for each request. What a request says of itself goes
/// before what the layers say; among the layers the tightest setting holds.
#[derive(Clone, Default)]
pub struct Call(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    started: Option<Instant>,
    of_request: Limits,
    of_layers: Limits,
    attempts: Vec<Attempt>,
    current: Current,
    entered: bool,
}

/// What a call may use up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_sends: Option<u32>,
}

/// Who asks what, where: set by the layers before a send.
#[derive(Default)]
struct Current {
    key: Option<Arc<str>>,
    model: Option<Arc<str>>,
    target: Option<Arc<str>>,
}

// === impl Call ===

impl Call {
    /// A call without limits of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time from the first layer's first send after which nothing is sent again, nor waited for.
    ///
    /// A send that is under way is not cut off; put a timeout around the stack for that.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.lock().of_request.deadline = Some(deadline);
        self
    }

    /// The most sends that the whole stack may make; the first always goes out.
    #[must_use]
    pub fn max_sends(self, max_sends: u32) -> Self {
        self.lock().of_request.max_sends = Some(max_sends);
        self
    }

    /// What happened so far.
    pub fn trail(&self) -> Trail {
        Trail(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call of a request, and whether this layer is the first to see it.
    pub(crate) fn enter(extensions: &mut Extensions, limits: Limits, now: Instant) -> (Self, bool) {
        let call = match extensions.get::<Self>() {
            Some(call) => call.clone(),
            None => {
                let call = Self::new();
                extensions.insert(call.clone());
                call
            }
        };
        let outermost = {
            let mut state = call.lock();
            state.started.get_or_insert(now);
            state.of_layers.tighten(limits);
            !std::mem::replace(&mut state.entered, true)
        };
        (call, outermost)
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.lock().attempts.clone()
    }

    pub(crate) fn sends(&self) -> usize {
        self.lock().attempts.len()
    }

    /// What is left until the deadline, if there is one, or why nothing may be sent any more.
    pub(crate) fn left(&self, now: Instant) -> Result<Option<Duration>, Why> {
        let state = self.lock();
        let max_sends = state.of_request.max_sends.or(state.of_layers.max_sends);
        if max_sends.is_some_and(|most| state.attempts.len() >= most as usize) {
            return Err(Why::SendsUsedUp);
        }
        let deadline = state.of_request.deadline.or(state.of_layers.deadline);
        let Some(deadline) = deadline else {
            return Ok(None);
        };
        let spent = state
            .started
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        match deadline.checked_sub(spent) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(Why::PastDeadline),
        }
    }

    /// Adds the outcome of a send to the trail, if no layer further in has done so.
    pub(crate) fn record(
        &self,
        before: usize,
        status: Option<StatusCode>,
        refusal: Option<&Refusal>,
    ) {
        let mut state = self.lock();
        if state.attempts.len() > before {
            return;
        }
        let attempt = Attempt {
            number: u32::try_from(before + 1).unwrap_or(u32::MAX),
            status,
            refusal: refusal.cloned(),
            key: state.current.key.clone(),
            model: state.current.model.clone(),
            target: state.current.target.clone(),
            steps: Vec::new(),
        };
        state.attempts.push(attempt);
    }

    /// Adds what a layer does about the last attempt.
    pub(crate) fn step(&self, layer: Layer, action: Action) {
        if let Some(last) = self.lock().attempts.last_mut() {
            last.steps.push(Step { layer, action });
        }
    }

    pub(crate) fn last(&self) -> Option<Attempt> {
        self.lock().attempts.last().cloned()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Call")
            .field("of_request", &state.of_request)
            .field("of_layers", &state.of_layers)
            .field("attempts", &state.attempts)
            .finish_non_exhaustive()
    }
}

// === impl Limits ===

impl Limits {
    fn tighten(&mut self, other: Self) {
        self.deadline = tighter(self.deadline, other.deadline);
        self.max_sends = tighter(self.max_sends, other.max_sends);
    }
}

fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
