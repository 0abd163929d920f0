//! How many requests the reports of a provider leave.

use tokio::time::Instant;

use crate::rejection::Dimension;

/// A window that has nothing left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExhaustedWindow {
    pub(super) dimension: Dimension,
    /// When that was reported.
    pub(super) since: Instant,
    /// When there is more.
    pub(super) until: Instant,
    /// How many have passed since, if that is being tested.
    pub(super) passed: Option<u64>,
    pub(super) limit: u64,
}

/// How many requests may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    /// Nothing was reported.
    Unknown,
    /// So many until that moment, if the end of the window is known.
    Requests(u64, Option<Instant>),
    /// A window has ended, and may refill only bit by bit: so many, and more at that moment or after a
    /// report.
    Guessed(u64, Instant),
    /// None for a while.
    None(ExhaustedWindow),
}

// === impl ExhaustedWindow ===

impl ExhaustedWindow {
    /// Returns how many may have passed since, if the limit refills bit by bit.
    pub(super) fn refilled(&self, now: Instant) -> u64 {
        let nanos = |from, to: Instant| to.saturating_duration_since(from).as_nanos();
        let (passed, whole) = (nanos(self.since, now), nanos(self.since, self.until));
        let refilled = u128::from(self.limit) * passed / whole.max(1);
        u64::try_from(refilled).unwrap_or(u64::MAX)
    }
}

// === impl Remaining ===

impl Remaining {
    fn count(self) -> u64 {
        match self {
            Self::Unknown => u64::MAX,
            Self::Requests(left, _) | Self::Guessed(left, ..) => left,
            Self::None(_) => 0,
        }
    }

    /// Returns the smaller one, and of two exhausted windows the one that resets later.
    pub(super) fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, other) | (other, Self::Unknown) => other,
            (Self::None(one), Self::None(other)) if one.until < other.until => Self::None(other),
            (none @ Self::None(_), _) | (_, none @ Self::None(_)) => none,
            (one, other) if other.count() < one.count() => other,
            (one, _) => one,
        }
    }
}
