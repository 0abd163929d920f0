//! What a call that waits may expect.

use tokio::time::Instant;

/// When a call that waits may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// A response may show capacity at any time.
    #[default]
    AnyTime,
    At(Instant),
    /// Time alone does not help: the keys that are left are rejected, or their quota is exhausted.
    Never,
}

/// What a call that cannot be served now may expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// When there may be capacity; `None` if only a response can tell.
    pub(crate) free_at: Option<Instant>,
    pub(crate) prospect: Prospect,
    /// Whether a call that needs less may be served before, without a delay for this one.
    pub(crate) less_may_go: bool,
}

// === impl Prospect ===

impl Prospect {
    /// Returns whether a call that waits until `end` may be served by then.
    pub(crate) fn is_before(self, end: Instant) -> bool {
        match self {
            Self::AnyTime => true,
            Self::At(at) => at < end,
            Self::Never => false,
        }
    }
}

// === impl Forecast ===

impl Forecast {
    /// Time alone brings nothing.
    pub(crate) const NEVER: Self = Self {
        free_at: None,
        prospect: Prospect::Never,
        less_may_go: false,
    };

    /// There may be capacity at that moment.
    pub(crate) fn at(at: Instant) -> Self {
        Self {
            free_at: Some(at),
            prospect: Prospect::At(at),
            less_may_go: false,
        }
    }
}
