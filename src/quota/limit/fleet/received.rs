//! When a fact was received: what its ages mean here. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{quota::timing::ADMISSION_SLACK, rejection::Bucket, share::Report};

/// When a fact was received, and its age.
#[derive(Clone, Copy)]
pub(super) struct ReceivedAt {
    pub(super) now: Instant,
    pub(super) age: Duration,
    /// How long the exchange took. The fact was under way for about as long, and its age does not include that.
    pub(super) took: Duration,
}

// === impl ReceivedAt ===

impl ReceivedAt {
    /// Returns when something was that was so long ago when the fact was published.
    pub(super) fn before(self, ago: Duration) -> Instant {
        let ago = ago.saturating_add(self.age);
        self.now.checked_sub(ago).unwrap_or(self.now)
    }

    /// Returns the earliest moment at which that can have been.
    pub(super) fn earliest(self, ago: Duration) -> Instant {
        self.before(ago.saturating_add(self.took))
    }

    /// Returns a report as if it were of a request that was `sent` then and came now, and when its window ends; `None` if
    /// that is over.
    pub(super) fn bucket(
        self,
        report: &Report,
        sent: Instant,
    ) -> Option<(Bucket, Option<Instant>)> {
        let mut resets = None;
        let mut bucket = report.bucket.clone();
        if let Some(reset) = bucket.reset.filter(|reset| !reset.is_zero()) {
            let left = reset.checked_sub(self.age).filter(|left| !left.is_zero())?;
            // What was admitted earlier has a reset that counts from then.
            let admitted = self.now.min(sent + ADMISSION_SLACK);
            resets = Some(self.now + left);
            bucket.reset = Some(left + self.now.saturating_duration_since(admitted));
        }
        Some((bucket, resets))
    }
}
