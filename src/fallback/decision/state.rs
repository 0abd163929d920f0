//! How far a request is, and what it has tried.

use std::{mem, sync::Arc};

use tokio::time::Instant;

use crate::{
    fallback::{layer::FallbackLayer, original::OriginalRequest, targets::Targets},
    quota::{End, Permit, WaitBudget, Waiter},
};

pub(crate) struct FallbackStrategy<P> {
    pub(super) policy: Arc<FallbackLayer<P>>,
    /// `None` before the first send, and if the request wants no fallback.
    pub(super) original: Option<OriginalRequest>,
    /// The target of the attempt that is in progress.
    pub(super) chosen: Choice,
    pub(super) stage: TargetStage,
    pub(super) tried: Vec<Choice>,
    pub(super) waits: WaitBudget,
    /// Whether the layer acts on the outcome that is read, until it decides.
    pub(super) acts: Option<bool>,
}

pub(super) enum TargetStage {
    /// A target is to be chosen.
    Choosing,
    /// In the queue for one of these.
    Waiting(Vec<Choice>, Waiter<Targets>),
    /// A target is reserved, and the request departs at this moment.
    Reserved(Permit<Targets>, Instant),
    /// The target of the send that is in progress; `None` if its model is not known.
    Sent(Option<Permit<Targets>>),
}

/// What is next after a rejection.
pub(super) enum Next {
    /// A target has capacity, or will in a moment.
    Target,
    /// All untried targets are limited. Says when the first of all targets frees; `None` if one that was
    /// tried is free.
    Limited(Option<End>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The request as it is.
    Original,
    /// The target at this index of the list.
    Target(usize),
}

// === impl FallbackStrategy ===

impl<P> FallbackStrategy<P> {
    pub(in crate::fallback) fn new(policy: Arc<FallbackLayer<P>>) -> Self {
        Self {
            policy,
            original: None,
            chosen: Choice::Original,
            stage: TargetStage::Choosing,
            tried: Vec::new(),
            waits: WaitBudget::default(),
            acts: None,
        }
    }

    pub(super) fn take_stage(&mut self) -> TargetStage {
        mem::replace(&mut self.stage, TargetStage::Choosing)
    }

    pub(super) fn is_choosing(&self) -> bool {
        matches!(self.stage, TargetStage::Choosing)
    }
}
