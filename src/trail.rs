//! What happened on a call: one entry per attempt, keys by label only.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

pub use crate::attempt_error::AttemptError;
use crate::{
    call::Call,
    rejection::{Bucket, Rejection},
};

/// What happened on a call, in the extensions of the response that the caller gets.
///
/// It is printed as a line for each attempt:
///
/// ```text
/// 1. key-1, large: 429, key_rotation: next key
/// 2. key-2, large: 429, key_rotation: returned, no key free; backoff: wait of 1.2 s
/// 3. key-1, large: error (ConnectionReset): connection reset by peer (os error 104), backoff: wait of 1.0 s
/// 4. key-1, large: 200
/// ```
///
/// A call that ends in an error has no response; put a [`Call`] into the request and ask
/// [`Call::trail`] instead.
#[derive(Clone)]
pub struct Trail(pub(crate) Call);

/// One send to the innermost service, and what the layers made of the outcome.
///
/// It names the key, model and target with which the request went out, whatever else of the call is in
/// flight at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Counts from 1, over all layers of the stack.
    pub number: u32,
    /// `false` if a layer answered in the provider's place and nothing was sent.
    pub sent: bool,
    /// How far it is.
    pub progress: Progress,
    /// The status of the answer; `None` if there was none, which [`progress`](Self::progress) explains.
    pub status: Option<StatusCode>,
    /// The error in which the attempt ended, or in which the body of its discarded answer ended.
    pub error: Option<AttemptError>,
    /// What the answer meant, if it was a rejection.
    pub rejection: Option<Rejection>,
    /// The label of the key that asked.
    pub key: Option<Arc<str>>,
    /// The model that was asked, where it is known.
    pub model: Option<Arc<str>>,
    /// The target that was asked, if it was not the request's own.
    pub target: Option<Arc<str>>,
    /// What the layers did about it, the innermost first. A layer whose matter it was not is not here.
    pub steps: Vec<Step>,
    /// What the answer says is left of the provider's limits.
    pub(crate) told: Vec<Bucket>,
    /// When it was refused; a layer further out may hear of it much later.
    pub(crate) rejected_at: Option<Instant>,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Progress {
    /// The request went out, and neither an answer nor an error has come back.
    InFlight,
    /// An answer or an error came back.
    Completed,
    /// The request was dropped in flight, such as by a timeout, or by a hedge that has another answer.
    Abandoned,
}

/// What one layer did about one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Who.
    pub layer: LayerKind,
    /// What.
    pub action: Action,
    /// What the layer waits for, where that is another matter than what the attempt was refused for.
    pub(crate) awaited: Option<Rejection>,
}

/// A layer of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayerKind {
    /// [`BackoffLayer`](crate::backoff::BackoffLayer).
    Backoff,
    /// Key rotation.
    KeyRotation,
    /// Fallback.
    Fallback,
}

/// What a layer does about an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send again after a wait.
    Wait(Duration),
    /// Send again with another key.
    NextKey,
    /// Send again to another target.
    NextTarget,
    /// Hand the outcome on.
    Return(StopReason),
}

/// Why a layer hands a rejection on instead of sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// The layer does not act on this kind of outcome.
    NotCovered,
    /// The layer has used up its attempts or its own delays.
    AttemptsUsedUp,
    /// The cap on sends of the whole call is reached.
    SendsUsedUp,
    /// The wait is longer than the layer may wait.
    WaitTooLong,
    /// The wait does not fit into what is left until the deadline.
    PastDeadline,
    /// The provider says that time does not help: a day's limit, a quota, or `x-should-retry: false`.
    TimeDoesNotHelp,
    /// The body is larger than the bound of the recording, so it was sent once.
    BodyTooLarge,
    /// The body failed while it was read.
    BodyFailed,
    /// The retry budget is empty.
    BudgetEmpty,
    /// No pool has a key for the origin of the request, or its URI has no room for one.
    NoKeyForOrigin,
    /// No key that this call has not tried is free.
    NoFreeKey,
    /// No target that this call has not tried is free.
    NoFreeTarget,
    /// The request names no model that could be changed.
    NoModel,
    /// The request asked for no fallback.
    FallbackOff,
}

// === impl Trail ===

impl Trail {
    /// The attempts so far, in order.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.0.attempts()
    }

    /// How long the sends were held back, all waits that are over taken together.
    pub fn waited(&self) -> Duration {
        self.0.waited()
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.attempts().iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{attempt}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.attempts()).finish()
    }
}

// === impl Attempt ===

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. ", self.number)?;
        // A target is most often named after its model.
        let target = self.target.as_ref().filter(|_| self.target != self.model);
        let names = [self.key.as_ref(), self.model.as_ref(), target];
        let names: Vec<&str> = names.into_iter().flatten().map(|name| &**name).collect();
        if !names.is_empty() {
            write!(f, "{}: ", names.join(", "))?;
        }
        match (self.status, &self.error, self.progress) {
            (Some(status), None, _) => write!(f, "{}", status.as_u16())?,
            (Some(status), Some(error), _) => write!(f, "{}, {error}", status.as_u16())?,
            (None, Some(error), _) => write!(f, "{error}")?,
            (None, None, Progress::InFlight) => f.write_str("in flight")?,
            (None, None, Progress::Completed) => f.write_str("error")?,
            (None, None, Progress::Abandoned) => f.write_str("given up")?,
        }
        if !self.sent {
            f.write_str(", not sent")?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            let separator = if index == 0 { ", " } else { "; " };
            write!(f, "{separator}{}: {}", step.layer.as_str(), step.action)?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait(wait) => write!(f, "wait of {:.1} s", wait.as_secs_f64()),
            Self::NextKey => f.write_str("next key"),
            Self::NextTarget => f.write_str("next target"),
            Self::Return(why) => write!(f, "returned, {why}"),
        }
    }
}

// === impl LayerKind ===

impl LayerKind {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::KeyRotation => "key_rotation",
            Self::Fallback => "fallback",
        }
    }
}

// === impl StopReason ===

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCovered => "no layer acts on it",
            Self::AttemptsUsedUp => "attempts used up",
            Self::SendsUsedUp => "sends of the call used up",
            Self::WaitTooLong => "wait longer than allowed",
            Self::PastDeadline => "wait reaches past the deadline",
            Self::TimeDoesNotHelp => "time does not help",
            Self::BodyTooLarge => "body too large to be sent again",
            Self::BodyFailed => "body failed while it was read",
            Self::BudgetEmpty => "retry budget empty",
            Self::NoKeyForOrigin => "no key for this origin",
            Self::NoFreeKey => "no key free",
            Self::NoFreeTarget => "no target free",
            Self::NoModel => "no model to change",
            Self::FallbackOff => "fallback switched off by the request",
        })
    }
}
