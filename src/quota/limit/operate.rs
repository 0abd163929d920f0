//! What an operator does to a limit. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{Concurrency, LimitState, ProviderTraits, Reported};
use crate::{
    quota::timing::MAX_COOLDOWN,
    rejection::{Reason, Rejection},
};

// === impl LimitState ===

impl LimitState {
    /// Forgets what closes the limit and what is known of its counts. The requests in flight stay counted.
    pub(crate) fn reset(&mut self) {
        self.cooldown.forget();
        self.reported = Reported::default();
        self.tokens.forget();
        self.concurrency = Concurrency::default();
        self.estimate.forget();
    }

    /// Closes the limit for this time, as a provider's hint does. It stays closed if it is closed for longer.
    pub(crate) fn cool_down(&mut self, traits: &mut ProviderTraits, time: Duration, now: Instant) {
        traits.is_limited = true;
        let rejection = Rejection {
            retry_after: Some(time),
            ..Rejection::new(Reason::RateLimited)
        };
        let window = (None, None);
        self.cooldown
            .reject(&rejection, false, (now, now), MAX_COOLDOWN, window);
    }
}
