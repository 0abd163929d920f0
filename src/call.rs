//! What stacked layers share about one call: its deadline, its sends, its trail.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{StatusCode, request};
use tokio::time::Instant;

use crate::{
    credentials::Place,
    head::Head,
    origin::Origin,
    refusal::{Bucket, Refusal},
    replay::Ending,
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
#[derive(Clone)]
pub struct Call(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    started: Option<Instant>,
    of_request: Limits,
    of_layers: Limits,
    without_fallback: bool,
    attempts: Vec<Attempt>,
    waited: Duration,
    current: Asked,
    addressed: Option<Origin>,
    entered: bool,
    /// Whether the request has left the innermost layer, and nobody has heard what came of it.
    is_out: bool,
    replay_limit: Option<u64>,
    /// Where keys were put on its requests.
    placed: Vec<Place>,
    /// What the layers that are under way have kept; a trail that outlives them keeps no credentials.
    kept: Weak<Head>,
    /// Made for an upload that streams.
    ending: Option<Ending>,
}

/// What a layer learns of the call of a request that comes to it.
pub(crate) struct Entered {
    pub(crate) call: Call,
    /// Whether it is the first layer to see it.
    pub(crate) is_outermost: bool,
    pub(crate) head: Arc<Head>,
    /// The largest body that is kept: what the first layer says, for all share its recording.
    pub(crate) replay_limit: u64,
    /// What the layers further out ask.
    pub(crate) asked: Asked,
}

/// Beyond any call.
const FAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What a call may use up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_sends: Option<u32>,
}

/// Who asks what, where: set by the layers before a send.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    pub(crate) key: Option<Arc<str>>,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) target: Option<Arc<str>>,
}

// === impl Call ===

impl Call {
    /// A call without limits of its own.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            // Most calls take one.
            attempts: Vec::with_capacity(1),
            ..State::default()
        })))
    }

    /// The time from the start of the call after which nothing is sent again, nor waited for.
    ///
    /// A send that is under way is not cut off; put a timeout around the stack for that. Nor is one that
    /// was decided on, for which the answer before was given away: what can be foreseen fits into the
    /// deadline, but a service further in that is long in getting ready, such as one behind a limit on
    /// concurrency, or a key that does not free as told, makes it late. Put such limits outside.
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

    /// Asks the request's own model at its own origin and nobody else, whatever the layers say.
    #[must_use]
    pub fn without_fallback(self) -> Self {
        self.lock().without_fallback = true;
        self
    }

    /// What happened so far.
    pub fn trail(&self) -> Trail {
        Trail(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call of a request that comes to a layer.
    pub(crate) fn enter(
        parts: &mut request::Parts,
        limits: Limits,
        replay_limit: u64,
        now: impl FnOnce() -> Instant,
    ) -> Entered {
        let call = match parts.extensions.get::<Self>() {
            Some(call) => call.clone(),
            None => {
                let call = Self::new();
                parts.extensions.insert(call.clone());
                call
            }
        };
        let mut state = call.lock();
        // This layer has it now.
        state.is_out = false;
        let head = state.keep(parts);
        let is_outermost = !std::mem::replace(&mut state.entered, true);
        if is_outermost {
            state.addressed = head.origin.clone();
        }
        state.started.get_or_insert_with(now);
        state.of_layers.tighten(limits);
        let replay_limit = *state.replay_limit.get_or_insert(replay_limit);
        let asked = state.current.clone();
        drop(state);
        Entered {
            asked,
            call,
            is_outermost,
            head,
            replay_limit,
        }
    }

    /// What `read` makes of the origin to which the caller addressed the request, whatever a layer made
    /// of it since; it must not use the call.
    pub(crate) fn of_addressed<T>(&self, read: impl FnOnce(Option<&Origin>) -> T) -> T {
        read(self.lock().addressed.as_ref())
    }

    pub(crate) fn is_without_fallback(&self) -> bool {
        self.lock().without_fallback
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.lock().attempts.clone()
    }

    /// A layer sends the request on; how many entries the trail has.
    pub(crate) fn goes_out(&self) -> usize {
        let mut state = self.lock();
        state.is_out = true;
        state.attempts.len()
    }

    /// Who asks what from now on.
    pub(crate) fn ask(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.lock().current);
    }

    /// A key of this label was put there.
    pub(crate) fn ask_with_key(&self, label: Arc<str>, place: Place) {
        let mut state = self.lock();
        state.current.key = Some(label);
        if !state.placed.contains(&place) {
            state.placed.push(place);
        }
    }

    /// Where keys were put, which must not travel to another origin.
    pub(crate) fn placed(&self) -> Vec<Place> {
        self.lock().placed.clone()
    }

    pub(crate) fn asked_key(&self) -> Option<Arc<str>> {
        self.lock().current.key.clone()
    }

    pub(crate) fn asked_model(&self) -> Option<Arc<str>> {
        self.lock().current.model.clone()
    }

    /// What is left until the deadline, if there is one, or why nothing may be sent any more.
    pub(crate) fn left(&self, now: Instant) -> Result<Option<Duration>, Why> {
        let state = self.lock();
        let max_sends = state.of_request.max_sends.or(state.of_layers.max_sends);
        let sends = state.attempts.iter().filter(|attempt| attempt.sent).count();
        if max_sends.is_some_and(|most| sends >= most as usize) {
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
            // A deadline that no clock reaches is none; to add it to a moment would overflow.
            Some(left) if left > FAR => Ok(None),
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(Why::PastDeadline),
        }
    }

    /// Adds the outcome of a send to the trail, if no layer further in has done so; whether it did.
    pub(crate) fn record(
        &self,
        before: usize,
        status: Option<StatusCode>,
        refusal: Option<&Refusal>,
        told: impl FnOnce() -> Vec<Bucket>,
        now: impl FnOnce() -> Instant,
    ) -> bool {
        let mut state = self.lock();
        let is_new = state.attempts.len() <= before;
        // What was cut off while a layer further in held it back was not sent.
        let sent = status.is_some() || state.is_out;
        state.is_out = false;
        if is_new {
            let attempt = state.add(status, refusal, sent);
            attempt.told = told();
            attempt.refused_at = refusal.map(|_| now());
        }
        is_new
    }

    /// Adds a send that was given up, if there was one.
    pub(crate) fn record_given_up(&self, before: usize) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_out) && state.attempts.len() <= before {
            state.add(None, None, true);
        }
    }

    /// Adds to the trail that a layer answered in the provider's place.
    pub(crate) fn record_unsent(&self, status: StatusCode, refusal: Option<&Refusal>) {
        self.lock().add(Some(status), refusal, false);
    }

    /// Adds what a layer does about the last attempt.
    pub(crate) fn step(&self, layer: Layer, action: Action) {
        if let Some(last) = self.lock().attempts.last_mut() {
            last.steps.push(Step { layer, action });
        }
    }

    /// What `read` makes of the last attempt; it must not use the call.
    pub(crate) fn of_last<T>(&self, read: impl FnOnce(&Attempt) -> T) -> Option<T> {
        self.lock().attempts.last().map(read)
    }

    /// What `read` makes of the attempts from the one at `first` on; it must not use the call.
    pub(crate) fn of_attempts<T>(&self, first: usize, read: impl FnOnce(&[Attempt]) -> T) -> T {
        let state = self.lock();
        read(state.attempts.get(first..).unwrap_or_default())
    }

    /// The end of the call, for the uploads that are to end with it.
    pub(crate) fn ending(&self) -> Ending {
        self.lock().ending.get_or_insert_default().clone()
    }

    /// Adds a wait that is over.
    pub(crate) fn add_wait(&self, waited: Duration) {
        let mut state = self.lock();
        state.waited = state.waited.saturating_add(waited);
    }

    /// How long the call was held back, all waits together.
    pub(crate) fn waited(&self) -> Duration {
        self.lock().waited
    }
}

impl Default for Call {
    fn default() -> Self {
        Self::new()
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

// === impl State ===

impl State {
    /// The head of a request: a layer's further out, if it came as that has sent it.
    fn keep(&mut self, parts: &request::Parts) -> Arc<Head> {
        let kept = self.kept.upgrade();
        kept.filter(|kept| kept.is_of(parts)).unwrap_or_else(|| {
            let head = Arc::new(Head::of(parts));
            self.kept = Arc::downgrade(&head);
            head
        })
    }

    fn add(
        &mut self,
        status: Option<StatusCode>,
        refusal: Option<&Refusal>,
        sent: bool,
    ) -> &mut Attempt {
        let Asked { key, model, target } = self.current.clone();
        let at = self.attempts.len();
        self.attempts.push(Attempt {
            number: u32::try_from(at + 1).unwrap_or(u32::MAX),
            sent,
            status,
            refusal: refusal.cloned(),
            key: key.filter(|_| sent),
            model,
            target,
            steps: Vec::new(),
            told: Vec::new(),
            refused_at: None,
        });
        &mut self.attempts[at]
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
