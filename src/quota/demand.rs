//! What a request takes from the limits that it runs on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{background::Share, replicas::Replicas};
use crate::{
    rejection::{Bucket, Dimension, Reason, Rejection},
    request::Cost,
};

/// No request costs more, so that sums of costs do not overflow.
const MAX_TOKENS: u64 = 1 << 40;

/// What a request takes from the limits that it runs on: itself, and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Demand {
    cost: Cost,
    /// Whether the cost may be far off, because the body was not read for it.
    is_rough: bool,
    is_background: bool,
    /// The part of each limit that it leaves to interactive calls.
    reserve: Option<Share>,
    /// Between how many processes what is left is divided.
    replicas: Replicas,
    /// Whether a limit that is not shared yet is shared in a moment.
    #[cfg(feature = "share")]
    is_leased: bool,
}

// === impl Demand ===

impl Demand {
    pub(crate) fn new(cost: Cost) -> Self {
        let bounded = |tokens: u64| tokens.min(MAX_TOKENS);
        Self {
            cost: Cost::new(bounded(cost.input()), bounded(cost.output())),
            ..Self::default()
        }
    }

    /// Returns what the request takes in the background, where it leaves a part of each limit to interactive
    /// calls.
    pub(crate) fn in_background(self, reserve: Share) -> Self {
        Self {
            is_background: true,
            reserve: Some(reserve),
            ..self
        }
    }

    /// Returns what the request takes if other processes send with the same keys, to which it leaves their parts.
    pub(super) fn among(self, replicas: Replicas) -> Self {
        Self { replicas, ..self }
    }

    /// Returns what the request takes if each limit is leased: one that is new is so in a moment.
    #[cfg(feature = "share")]
    pub(super) fn leased(self) -> Self {
        Self {
            is_leased: true,
            ..self
        }
    }

    #[cfg(feature = "share")]
    pub(super) fn is_leased(self) -> bool {
        self.is_leased
    }

    /// Returns between how many processes what is left is divided.
    pub(super) fn replicas(self) -> Replicas {
        self.replicas
    }

    /// Returns what it takes if it leaves nothing to others.
    pub(super) fn without_reserve(self) -> Self {
        Self {
            reserve: None,
            ..self
        }
    }

    pub(crate) fn is_background(self) -> bool {
        self.is_background
    }

    /// Returns the part of each limit that it leaves to interactive calls.
    pub(super) fn reserve(self) -> Option<Share> {
        self.reserve
    }

    /// Returns whether the cost may be far off.
    pub(crate) fn is_rough(self) -> bool {
        self.is_rough
    }

    pub(crate) fn cost(self) -> Cost {
        self.cost
    }

    /// Returns whether a request that needs this fits wherever one fits that needs `other`.
    pub(super) fn is_within(self, other: Self) -> bool {
        self.cost.input() <= other.cost.input() && self.cost.output() <= other.cost.output()
    }
}

/// What the requests of a scheduler cost. It is read without the lock, because a cost is found before.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// Whether a limit may count tokens, so that it is worth to parse a body for its cost.
    are_counted: AtomicBool,
    /// What a request has cost so far on average, for one whose body streams.
    input: AtomicU64,
    output: AtomicU64,
}

// === impl Costs ===

impl Costs {
    pub(super) fn are_counted(&self) -> bool {
        self.are_counted.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) {
        self.are_counted.store(true, Ordering::Relaxed);
    }

    /// Returns what a request takes that costs so much, or as much as others if that is not known precisely.
    pub(super) fn demand(&self, cost: Option<Cost>, is_precise: bool) -> Demand {
        let average = |mean: &AtomicU64| mean.load(Ordering::Relaxed);
        let Some(cost) = cost.filter(|_| is_precise) else {
            let average = Cost::new(average(&self.input), average(&self.output));
            return Demand {
                is_rough: !is_precise,
                ..Demand::new(average)
            };
        };
        let demand = Demand::new(cost);
        let add = |mean: &AtomicU64, tokens: u64| {
            let before = mean.load(Ordering::Relaxed);
            // Two threads may overwrite each other's sample, which does no harm.
            mean.store(before - before / 16 + tokens / 16, Ordering::Relaxed);
        };
        add(&self.input, demand.cost.input());
        add(&self.output, demand.cost.output());
        demand
    }
}

/// Returns whether a response shows that tokens may be limited.
pub(crate) fn may_limit_tokens(reports: &[Bucket], rejection: Option<&Rejection>) -> bool {
    let is_of_tokens = |dimension| tokens_of(Cost::default(), dimension).is_some();
    let by_rejection = |rejection: &Rejection| {
        let dimension = rejection.dimension;
        rejection.reason == Reason::RateLimited && dimension.is_none_or(is_of_tokens)
    };
    let mut reports = reports.iter();
    rejection.is_some_and(by_rejection) || reports.any(|bucket| is_of_tokens(bucket.dimension))
}

/// Returns how many tokens of one kind a cost has; `None` if the dimension counts none.
pub(super) fn tokens_of(cost: Cost, dimension: Dimension) -> Option<u64> {
    match dimension {
        Dimension::Tokens => Some(cost.total()),
        Dimension::InputTokens => Some(cost.input()),
        Dimension::OutputTokens => Some(cost.output()),
        _ => None,
    }
}
