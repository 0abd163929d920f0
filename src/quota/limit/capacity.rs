//! How much a limit lets through, and until when it lets nothing through.

use tokio::time::Instant;

use crate::rejection::Rejection;

/// How many requests may be sent now. A later variant outweighs an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Capacity {
    Available(u64),
    /// The provider has reported that nothing is left until then, and no request has verified it yet. One
    /// may do so if the choice is otherwise to wait.
    Verify(Instant),
    /// There is room, but not for what this request costs; there may be more at that time, or after a response.
    Short {
        more_at: Option<Instant>,
        /// Whether a request that needs less may go before, without a delay for this one.
        less_may_go: bool,
    },
    /// Enough requests are out to find the limit; more may follow at that time, or after a response.
    Probing(Option<Instant>),
    /// What is left is in flight; there may be more at that time, or after a response.
    Full(Option<Instant>),
    /// Nothing until then.
    Closed(Instant),
    /// Nothing, and time alone does not help, as with a rejected key: it is checked again then.
    Unusable(Instant),
}

/// When a limit ends, and what caused it.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at: Instant,
    /// Whether time alone does not end it: it is checked again then.
    pub(crate) is_unusable: bool,
    /// Whether a response has reported that nothing is left, and no rejection has closed the limit.
    pub(crate) is_reported: bool,
    /// Whether the rejection that has closed the limit was received from another process.
    pub(crate) is_remote: bool,
    /// The cause. Its `retry_after` is what is left of the provider's hint, which a guess may outlast.
    pub(crate) rejection: Rejection,
}

// === impl Capacity ===

impl Capacity {
    pub(crate) const UNLIMITED: Self = Self::Available(u64::MAX);

    /// Returns the capacity if both limits apply.
    pub(crate) fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::Available(one), Self::Available(other)) => Self::Available(one.min(other)),
            (Self::Unusable(one), Self::Closed(other))
            | (Self::Closed(other), Self::Unusable(one)) => Self::Unusable(one.max(other)),
            (one, other) => one.max(other),
        }
    }

    /// Returns until when nothing may be sent, if only time can change that.
    pub(crate) fn closed_until(self) -> Option<Instant> {
        match self {
            Self::Verify(until) | Self::Closed(until) | Self::Unusable(until) => Some(until),
            Self::Available(_) | Self::Short { .. } | Self::Probing(_) | Self::Full(_) => None,
        }
    }
}

// === impl End ===

impl End {
    /// Returns the end of both limits: the cause that time does not end comes first, and no hint is lost.
    pub(crate) fn later(self, other: Self) -> Self {
        let at = self.at.max(other.at);
        let retry_after = self.rejection.retry_after.max(other.rejection.retry_after);
        let is_reported = self.is_reported && other.is_reported;
        let rejection_is_remote = match (self.is_reported, other.is_reported) {
            (true, false) => Some(other.is_remote),
            (false, true) => Some(self.is_remote),
            _ => None,
        };
        let cause = match self.order() < other.order() {
            true => other,
            false => self,
        };
        Self {
            at,
            is_reported,
            is_remote: rejection_is_remote.unwrap_or(cause.is_remote),
            is_unusable: cause.is_unusable,
            rejection: Rejection {
                retry_after,
                ..cause.rejection
            },
        }
    }

    /// Sorts ends that time brings before those that are only checked again.
    pub(crate) fn order(&self) -> (bool, Instant) {
        (self.is_unusable, self.at)
    }
}
