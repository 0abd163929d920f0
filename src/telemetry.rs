//! Events, spans and metrics of what the layers do.

use std::time::Duration;

use http::{StatusCode, request};

use crate::{
    call::Call,
    key_rotation::KeyPool,
    meter,
    trace::{self, CallSpan, Entered},
    trail::{Action, Attempt, Layer, Why},
};

/// Gives the recorder of the feature `metrics` the descriptions and units of all metrics; call it
/// once, after the recorder was installed.
///
/// It does nothing without the feature.
pub fn describe() {
    meter::describe();
}

/// Sets `tower_429_keys` to the state of a pool's keys at this moment; `name` is the label `pool`.
///
/// A cooldown ends by itself, when nobody calls, so a gauge that is set by calls alone would go on to
/// tell of it. Call this before each scrape, or as often as the exporter pushes. It does nothing
/// without the feature `metrics`.
pub fn observe(name: &str, pool: &KeyPool) {
    meter::observe(name, pool);
}

/// The telling of one call, by its outermost layer.
pub(crate) struct Telling {
    span: CallSpan,
    is_open: bool,
}

/// How a call ended: a status, the name of the type of an error, or `None` if it was dropped.
type End = Option<Result<StatusCode, &'static str>>;

const ANSWERED: &str = "answered";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";
const DROPPED: &str = "dropped";

// === impl Telling ===

impl Telling {
    pub(crate) fn none() -> Self {
        Self {
            span: CallSpan::none(),
            is_open: false,
        }
    }

    pub(crate) fn open(head: &request::Parts) -> Self {
        Self {
            span: CallSpan::open(head),
            is_open: true,
        }
    }

    /// The span must be left before the poll is over.
    pub(crate) fn enter(&mut self) -> Entered {
        self.span.enter()
    }

    pub(crate) fn exit(&mut self, entered: Entered) {
        self.span.exit(entered);
    }

    /// The first end counts.
    pub(crate) fn end(&mut self, call: &Call, head: &request::Parts, end: End) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let is_refused = || call.of_last(|last| last.refusal.is_some()) == Some(true);
        let outcome = match end {
            Some(Ok(_)) if is_refused() => REFUSED,
            Some(Ok(_)) => ANSWERED,
            Some(Err(_)) => FAILED,
            None => DROPPED,
        };
        meter::call(head.uri.host(), outcome);
        self.span.close(call, outcome, end);
    }
}

/// An attempt has its outcome, told by the innermost layer.
pub(crate) fn answered(call: &Call, host: Option<&str>) {
    let of_last = call.of_last(|last| {
        let reason = last.refusal.as_ref().map(|refusal| refusal.reason);
        let outcome = match (last.status, reason) {
            (_, Some(_)) => REFUSED,
            (Some(_), None) => ANSWERED,
            (None, None) => FAILED,
        };
        (outcome, last.target.is_some(), reason)
    });
    if let Some((outcome, fell_back, reason)) = of_last {
        meter::attempt(host, outcome, fell_back, reason);
    }
}

/// A layer acts on the last attempt; its step is not in the trail yet.
pub(crate) fn acted(call: &Call, host: Option<&str>, action: Action) {
    let is_overflow = |action| action == Action::Return(Why::BodyTooLarge);
    match action {
        Action::NextKey => meter::rotation(host),
        Action::NextTarget => meter::fallback(host),
        action if is_overflow(action) => {
            let told = call.of_last(|last| last.steps.iter().any(|step| is_overflow(step.action)));
            // Each layer of a stack says so, of one and the same body.
            if told == Some(false) {
                meter::overflow(host);
            }
        }
        Action::Wait(_) | Action::Return(_) => {}
    }
}

/// The event of an attempt; without an action it is the call's last, and no layer's matter.
pub(crate) fn attempt(layer: Layer, attempt: &Attempt, action: Option<Action>) {
    trace::attempt(layer, attempt, action);
}

pub(crate) fn waited(layer: Layer, head: &request::Parts, waited: Duration) {
    if !waited.is_zero() {
        meter::wait(layer, head.uri.host(), waited);
    }
}
