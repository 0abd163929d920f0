//! What a request takes from the limits that it runs on.

use crate::{rejection::Dimension, request::Cost};

/// No request costs more, so that sums of costs do not overflow.
const MAX_TOKENS: u64 = 1 << 40;

/// What a request takes from the limits that it runs on: itself, and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Demand {
    cost: Cost,
}

// === impl Demand ===

impl Demand {
    pub(crate) fn new(cost: Cost) -> Self {
        let bounded = |tokens: u64| tokens.min(MAX_TOKENS);
        Self {
            cost: Cost::new(bounded(cost.input()), bounded(cost.output())),
        }
    }

    pub(super) fn cost(self) -> Cost {
        self.cost
    }

    /// Returns whether a request that needs this fits wherever one fits that needs `other`.
    pub(super) fn is_within(self, other: Self) -> bool {
        self.cost.input() <= other.cost.input() && self.cost.output() <= other.cost.output()
    }
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
