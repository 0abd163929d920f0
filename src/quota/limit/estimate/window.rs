//! What was sent since a window has begun. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// What was sent since a window has begun.
#[derive(Clone, Debug)]
pub(super) struct SentWindow {
    pub(super) opened: Instant,
    /// Whether the limit had been closed until then, so that the window did begin then.
    pub(super) is_exact: bool,
    pub(super) sent: u64,
    pub(super) rejected: u64,
    /// When the first and the last rejected requests were sent, if the limit was met.
    pub(super) met: Option<(Instant, Instant)>,
    /// Whether a response has come so quickly that these show how many to send.
    pub(super) is_quick: bool,
    /// Whether the first request of the next window is sent early, to find out if windows have become shorter.
    pub(super) tries_shorter: bool,
    /// Whether its end needs no proof, because the provider has reported it.
    pub(super) is_hinted: bool,
    /// Whether one more than usual may be sent in this window. It is sent at the beginning: what a bucket takes
    /// later is taken from the next window.
    pub(super) tests: bool,
    /// The first request that was sent when the window seemed to be over, and how many since.
    pub(super) next: Option<(Instant, u64)>,
}

// === impl SentWindow ===

impl SentWindow {
    pub(super) fn new(opened: Instant, is_exact: bool, sent: u64, tests: bool) -> Self {
        Self {
            opened,
            is_exact,
            sent,
            rejected: 0,
            met: None,
            is_quick: false,
            tries_shorter: false,
            is_hinted: false,
            tests,
            next: None,
        }
    }

    /// Returns whether the limit was not met in it, and no request was sent in a next one.
    pub(super) fn is_unmet(&self) -> bool {
        self.met.is_none() && self.next.is_none()
    }

    /// Returns how long the window had lasted when the limit was met. Of one that began before anything was
    /// known this counts only if it was soon, because it may have been several.
    pub(super) fn elapsed(&self, met: Instant, closed: Duration) -> Duration {
        let elapsed = met.saturating_duration_since(self.opened);
        match self.is_exact || elapsed <= closed / 2 {
            true => elapsed,
            false => Duration::ZERO,
        }
    }
}
