//! From evidence to a [`Rejection`]: the reason first, then the limit, then the delay.

mod buckets;
mod delay;
mod evidence;
mod limit;
mod plan;
mod quotes;
mod signals;

use self::buckets::RejectionBuckets;
pub(super) use self::evidence::{Evidence, trust};
use super::{signal::Signal, types::Rejection};

// === impl Evidence ===

impl Evidence<'_> {
    /// Returns the rejection; `None` if nothing gives a reason.
    pub(super) fn classify(&self) -> Option<Rejection> {
        // OpenAI's 401 for an `openai-organization` that does not belong to the key (openai/codex#1000): the
        // caller sent it, and it says nothing about the key.
        if self.body.has_code("mismatched_organization") {
            return None;
        }
        let mut signal = Signal::merge(&self.signals());
        signal.reason?;
        let buckets = RejectionBuckets::new(self);
        self.name_limit(&mut signal, &buckets);
        self.correct(&mut signal, &buckets);
        let mut rejection = signal.rejection()?;
        rejection.should_retry = match self.header("x-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        rejection.retry_after = self.hint(&rejection, &buckets);
        self.adjust(&mut rejection);
        Some(rejection)
    }
}
