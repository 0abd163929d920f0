//! The hint of a rejection, and what follows from it.

use std::time::Duration;

use super::{
    super::{
        parse::{message_delay, reset, retry_after},
        provider::Provider,
        remedies::SOON,
        signal::SHORTEST,
        types::{Reason, Rejection, Scope, Window},
    },
    buckets::RejectionBuckets,
    evidence::Evidence,
};

/// Resets that name no dimension, each with the headers for the rest of its limit and for the limit itself.
#[rustfmt::skip]
const UNNAMED_RESETS: [[&str; 3]; 3] = [
    ["x-ratelimit-reset", "x-ratelimit-remaining", "x-ratelimit-limit"],
    ["x-rate-limit-reset", "x-rate-limit-remaining", "x-rate-limit-limit"],
    ["ratelimit-reset", "ratelimit-remaining", "ratelimit-limit"],
];

// === impl Evidence ===

impl Evidence<'_> {
    /// Returns the first positive delay. The order is: headers for the purpose, a field of the body, an
    /// upstream's headers in the body, a sentence of the body, the reset of an empty bucket, `RateLimit`, an
    /// unnamed reset.
    pub(super) fn hint(
        &self,
        rejection: &Rejection,
        buckets: &RejectionBuckets,
    ) -> Option<Duration> {
        let by_head = retry_after::from_headers(self.headers, self.clock);
        if rejection.reason == Reason::KeyRejected {
            return by_head;
        }
        let field = self.body.delay;
        let upstream = retry_after::from_headers(&self.body.headers, self.clock);
        let sentence = message_delay::delay(&self.message, self.clock);
        let known = [by_head, field, upstream, sentence].into_iter();
        let known = known.chain(buckets.resets(rejection));
        let is_rate = rejection.reason == Reason::RateLimited;
        let unnamed = std::iter::once_with(|| is_rate.then(|| self.unnamed_reset()).flatten());
        let first = retry_after::first_positive(known.chain(unnamed))?;
        // A proxy's header has only the whole seconds of the delay in the response that it wraps. Gemini's
        // own field has only the whole seconds of the sentence beside it.
        let is_cut_off = |wait: &Duration| {
            first.subsec_nanos() == 0 && !first.is_zero() && wait.as_secs() == first.as_secs()
        };
        let sentence = sentence.filter(|_| by_head == Some(first));
        let wrapped = [field, upstream, sentence].into_iter().flatten();
        wrapped.filter(is_cut_off).chain([first]).max()
    }

    /// Returns the reset that names no dimension. It belongs to the limit that rejected, unless its own limit
    /// has something left. Together's always counts.
    fn unnamed_reset(&self) -> Option<Duration> {
        let is_zero = |name| self.header(name).map(|value| value.trim() == "0");
        let resets = UNNAMED_RESETS
            .iter()
            .filter_map(|[reset, remaining, limit]| {
                let is_exhausted =
                    is_zero(remaining) != Some(false) && is_zero(limit) != Some(true);
                let is_valid = is_exhausted || self.provider == Provider::Together;
                let reset = self.header(reset).filter(|_| is_valid)?;
                retry_after::longest_of(reset, |reset| reset::parse(reset, || self.clock))
            });
        resets.max()
    }

    /// Sets what follows from reason and hint together.
    pub(super) fn adjust(&self, rejection: &mut Rejection) {
        rejection.available_at = message_delay::date(&self.message, self.clock);
        if rejection.reason != Reason::RateLimited {
            return;
        }
        let hint = rejection.retry_after;
        let is_soon = hint.is_some_and(|wait| wait <= SOON);
        let is_gemini = self.provider == Provider::Gemini;
        // Without details only the delay shows that Gemini means the day.
        if is_gemini && rejection.window.is_none() && hint.is_some() && !is_soon {
            rejection.window = Some(Window::Day);
        }
        // Codex: only the delay shows which window of the plan is used up.
        if rejection.window == Some(SHORTEST) {
            rejection.window = rejection.window.max(hint.and_then(Window::covering));
        }
        // OpenAI and Groq: a limit per day that admits one request every `86400 / limit` seconds.
        let has = |part| self.message.contains(part);
        let refills = || has("try again in ") && (has("in organization") || has(", requested "));
        if rejection.window >= Some(Window::Day) && is_soon && refills() {
            rejection.remedies.time = Some(true);
        }
        rejection.scope = rejection.scope.or(self.provider.scope());
        if self.provider == Provider::OpenRouter && rejection.scope == Some(Scope::Model) {
            rejection.remedies.key = Some(false);
        }
    }
}
