//! One entry of the log, and what the layers did about it. Keys appear by label only.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use super::attempt_error::AttemptError;
use crate::{
    rejection::{Bucket, NamedAccount, Rejection},
    request::Cost,
};

/// One send to the innermost service, and what the layers did about its outcome.
///
/// It names the key, model and target of this send, also if other sends of the call are in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Attempt {
    /// The number of the attempt, counted from 1 over all layers of the stack.
    pub number: u32,
    /// `false` if a layer made the response itself and nothing was sent.
    pub sent: bool,
    /// How far the attempt has got.
    pub progress: Progress,
    /// The status of the response; `None` without a response, which [`progress`](Self::progress) explains.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::serialize::optional_status")
    )]
    pub status: Option<StatusCode>,
    /// The error in which the attempt ended, or in which the body of its discarded response ended.
    pub error: Option<AttemptError>,
    /// The rejection, if the response was one.
    pub rejection: Option<Rejection>,
    /// The label of the key.
    pub key: Option<Arc<str>>,
    /// The model, where it is known.
    pub model: Option<Arc<str>>,
    /// The fallback target, if the request went to one.
    pub target: Option<Arc<str>>,
    /// What the send was taken to cost; `None` if its tokens were not counted.
    pub cost: Option<Cost>,
    /// What the layers did about the outcome, the innermost first. A layer that does not act on such an
    /// outcome has no step.
    pub steps: Vec<Step>,
    /// What the response reports of the provider's limits.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) buckets: Vec<Bucket>,
    /// The account that the response names.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) account: Option<NamedAccount>,
    /// When the rejection arrived. An outer layer may read it much later.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) rejected_at: Option<Instant>,
}

/// How far an attempt has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Progress {
    /// The request went out, and neither a response nor an error has come back.
    InFlight,
    /// A response or an error came back.
    Completed,
    /// The request was dropped in flight, such as by a timeout or by a hedge that has another response.
    Abandoned,
}

/// What one layer did about one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Step {
    /// The layer.
    pub layer: LayerKind,
    /// What it did.
    pub action: Action,
    /// The rejection that the layer waits for, if it is not that of this attempt.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) awaited: Option<Rejection>,
}

/// A layer of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum LayerKind {
    /// [`BackoffLayer`](crate::BackoffLayer).
    Backoff,
    /// [`KeyRotationLayer`](crate::KeyRotationLayer).
    KeyRotation,
    /// [`FallbackLayer`](crate::FallbackLayer).
    Fallback,
}

/// What a layer does about an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Action {
    /// Send again after a wait.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "wait_ms", serialize_with = "crate::serialize::millis")
    )]
    Wait(Duration),
    /// Send again with another key.
    NextKey,
    /// Send again to another target.
    NextTarget,
    /// Return the outcome.
    Return(StopReason),
}

/// Why a layer returns an outcome instead of sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
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
    /// Time does not help: a daily limit, a quota, or `x-should-retry: false`.
    TimeDoesNotHelp,
    /// The body is larger than the replay limit, so it was sent once.
    BodyTooLarge,
    /// The body failed while it was read.
    BodyFailed,
    /// The retry budget is empty.
    BudgetEmpty,
    /// No pool has a key for the origin of the request, or its URI is too long for one.
    NoKeyForOrigin,
    /// No key that this call has not tried is free.
    NoFreeKey,
    /// No target that this call has not tried is free.
    NoFreeTarget,
    /// The request names no model that could be replaced.
    NoModel,
    /// The request switched fallback off.
    FallbackOff,
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
        if let Some(cost) = self.cost {
            write!(f, " (about {} tokens)", grouped(cost.total()))?;
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

/// Writes a number with a comma before every third digit.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
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

// === impl Step ===

impl Step {
    pub(crate) fn new(layer: LayerKind, action: Action) -> Self {
        Self {
            layer,
            action,
            awaited: None,
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
