//! When a fact was received: what its ages mean here. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{quota::timing::ADMISSION_SLACK, rejection::Bucket, share::Report};

/// When a fact was received, and its age.
#[derive(Clone, Copy)]
pub(super) struct ReceivedAt {
    pub(super) now: Instant,
    pub(super) age: Duration,
}

// === impl ReceivedAt ===

impl ReceivedAt {
    /// Returns when something was that was so long ago when the fact was published.
    pub(super) fn before(self, ago: Duration) -> Instant {
        let ago = ago.saturating_add(self.age);
        self.now.checked_sub(ago).unwrap_or(self.now)
    }

    /// Returns a report as of now, and when its window ends; `None` if that is over.
    pub(super) fn bucket(self, report: &Report) -> Option<(Bucket, Option<Instant>)> {
        let mut resets = None;
        let mut bucket = report.bucket.clone();
        if let Some(reset) = bucket.reset.filter(|reset| !reset.is_zero()) {
            let left = reset.checked_sub(self.age).filter(|left| !left.is_zero())?;
            // What was admitted earlier has a reset that counts from then.
            let admitted = self.now.min(self.before(report.sent) + ADMISSION_SLACK);
            resets = Some(self.now + left);
            bucket.reset = Some(left + self.now.saturating_duration_since(admitted));
        }
        Some((bucket, resets))
    }
}
