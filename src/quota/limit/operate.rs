//! What an operator does to a limit, and sees of it. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{Concurrency, LimitState, ProviderTraits, Reported, known::KnownLimit};
use crate::{
    quota::timing::MAX_COOLDOWN,
    rejection::{Reason, Rejection},
};

// === impl LimitState ===

impl LimitState {
    /// Returns each count that is known: what is reported of requests and of tokens, how many may be in flight,
    /// and how many requests were learned to pass in a window.
    pub(crate) fn known_limits(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> impl Iterator<Item = KnownLimit> {
        let (in_flight, typical) = (&self.in_flight, traits.typical_concurrency);
        let requests = self
            .reported
            .known(traits, |since| in_flight.since(since), now);
        let tokens = self.tokens.known(in_flight, traits, now);
        let slots = self.concurrency.known(in_flight.in_use(), typical);
        let learned = match self.is_noisy(traits) {
            // Some rejections came by chance, so they show no limit.
            true => None,
            false => self.estimate.known(in_flight, traits, now),
        };
        let reported = requests.into_iter().chain(tokens);
        reported.chain(slots).chain(learned)
    }

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
