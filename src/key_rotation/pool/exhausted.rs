//! Why no key has capacity, and when one may have.

use tokio::time::Instant;

use super::ids::KeyId;
use crate::{
    quota::{Forecast, Prospect},
    rejection::{Reason, Rejection},
};

/// No key has capacity now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exhausted {
    /// A key that is not known to reject, though enough requests are out with it.
    pub(super) busy: Option<KeyId>,
    /// Whether a key has room for a request that needs less.
    pub(super) less_may_go: bool,
    /// When there may be capacity; in the past if a key that was tried is free.
    free_at: Option<Instant>,
    /// The key that frees first, whether it is only checked then, and when. Keys that time frees come
    /// before those that are only checked again.
    pub(super) first: Option<(bool, Instant, KeyId)>,
    /// The cause of the key that frees first. It is large, and most calls find a key.
    pub(super) rejection: Option<Box<Rejection>>,
    /// Whether the call is pinned to a key that the pool does not have.
    pub(super) is_pin_lost: bool,
}

// === impl Exhausted ===

impl Exhausted {
    pub(super) fn busy(id: KeyId, free_at: Option<Instant>) -> Self {
        Self {
            busy: Some(id),
            free_at,
            ..Self::default()
        }
    }

    /// No key was looked at yet that the call may be sent with.
    pub(super) fn before_any_key(is_pinned: bool) -> Self {
        Self {
            is_pin_lost: is_pinned,
            ..Self::default()
        }
    }

    /// A key is free at that moment, though not for this call.
    pub(super) fn free_at(at: Instant) -> Self {
        Self {
            free_at: Some(at),
            ..Self::default()
        }
    }

    /// Returns whether a key is not known to reject, though enough requests are out with it.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Returns whether the call is pinned to a key that the pool does not have.
    pub(crate) fn is_pin_lost(&self) -> bool {
        self.is_pin_lost
    }

    pub(crate) fn forecast(&self) -> Forecast {
        Forecast {
            free_at: self.free_at,
            less_may_go: self.less_may_go,
            prospect: match self.first {
                _ if self.is_busy() => Prospect::AnyTime,
                _ if self.is_pin_lost => Prospect::Never,
                None => Prospect::AnyTime,
                Some((false, at, _)) => Prospect::At(at),
                Some((true, ..)) => Prospect::Never,
            },
        }
    }

    /// Returns the rejection of the whole pool: that of the key that frees first, which has a time only if
    /// the provider has said so.
    pub(crate) fn rejection(&self) -> Rejection {
        let rejection = self.rejection.as_deref().cloned();
        rejection.unwrap_or_else(|| Rejection::new(Reason::RateLimited))
    }

    pub(super) fn add(&mut self, is_checked: bool, at: Instant, id: KeyId) {
        self.free_at = Some(self.free_at.map_or(at, |first| first.min(at)));
        let is_first = |(checked, first, _)| (is_checked, at) < (checked, first);
        if self.first.is_none_or(is_first) {
            self.first = Some((is_checked, at, id));
        }
    }
}
