//! Which limit rejected: its dimension, its window and its owner.

use super::{
    super::{
        bucket::ReportedBucket,
        numbers::LimitNumbers,
        parse::{
            google,
            limit_name::{self, LimitName},
            limit_numbers::{self, StatedLimit},
        },
        provider::Provider,
        signal::{SHORTEST, Signal},
        tables::provider_codes,
        types::{Dimension, Reason, Rejection, Window},
    },
    buckets::RejectionBuckets,
    evidence::Evidence,
};

/// Headers whose value names a limit.
const NAMING_HEADERS: &[&str] = &["x-ratelimit-type", "policy-id"];

// === impl Evidence ===

impl Evidence<'_> {
    /// Returns the limits that the message names with their numbers.
    pub(super) fn stated_limits(&self) -> Vec<StatedLimit> {
        limit_numbers::read(&self.sentences())
    }

    /// Returns the numbers of the limit that rejected.
    pub(super) fn numbers(&self, rejection: &Rejection, stated: &[StatedLimit]) -> LimitNumbers {
        if !matches!(rejection.reason, Reason::RateLimited | Reason::TooLarge) {
            return LimitNumbers::default();
        }
        let quota = google::decisive(&self.body.quotas);
        let quota = quota.filter(|quota| quota.limit.dimension == rejection.dimension);
        let by_quota = LimitNumbers {
            limit: quota.and_then(|quota| quota.value),
            ..LimitNumbers::default()
        };
        let name = LimitName {
            dimension: rejection.dimension,
            window: rejection.window,
        };
        by_quota.or(limit_numbers::of_limit(stated, name))
    }

    /// Sets dimension and window: from the code, Google's quotas, the message, a header, the empty bucket.
    pub(super) fn name_limit(
        &self,
        signal: &mut Signal,
        buckets: &RejectionBuckets,
        stated: &[StatedLimit],
    ) {
        let is_limit = match signal.reason {
            Some(Reason::KeyRejected | Reason::Overloaded) | None => {
                signal.dimension = None;
                signal.window = None;
                return;
            }
            Some(reason) => reason != Reason::TooLarge,
        };
        if let Some(quota) = google::decisive(&self.body.quotas) {
            signal.complete(quota.limit.dimension, quota.limit.window);
        }
        let of_text = limit_numbers::reached(stated);
        let of_text = of_text.unwrap_or_else(|| limit_name::read(&self.body.text));
        // The type says "tokens" where the message says which.
        if signal.dimension == Some(Dimension::Tokens) {
            let tokens = of_text.dimension.filter(|it| it.is_of_tokens());
            signal.dimension = tokens.or(signal.dimension);
        }
        let headers = NAMING_HEADERS.iter().filter_map(|name| self.header(name));
        let of_headers = headers.map(limit_name::read);
        for LimitName { dimension, window } in [of_text].into_iter().chain(of_headers) {
            signal.complete(dimension, window);
        }
        if is_limit {
            name_plan(signal, buckets);
        }
        if signal.reason == Some(Reason::RateLimited) {
            self.name_rate(signal, buckets);
            // Requests in flight are not counted over a time.
            if signal.dimension == Some(Dimension::Concurrency) {
                signal.window = None;
            }
        }
    }

    /// Completes a rate limit from the exhausted bucket, or from the only limit that it can be.
    fn name_rate(&self, signal: &mut Signal, buckets: &RejectionBuckets) {
        if let Some(exhausted) = buckets.longest_exhausted(signal.dimension) {
            signal.complete(Some(exhausted.dimension), exhausted.window);
            if signal.dimension == Some(exhausted.dimension) {
                signal.scope = signal.scope.or(exhausted.scope);
            }
        }
        if signal.dimension.is_some() || signal.window.is_some() {
            return;
        }
        let usual = self
            .body
            .common_codes()
            .find_map(provider_codes::usual_limit);
        let usual = usual.map(|dimension| (dimension, Window::Minute));
        if let Some((dimension, window)) = self.provider.only_limit().or(usual) {
            signal.complete(Some(dimension), Some(window));
        }
    }

    /// Corrects a rejection that is called a rate limit and is a quota.
    pub(super) fn correct(&self, signal: &mut Signal, buckets: &RejectionBuckets) {
        if signal.reason != Some(Reason::RateLimited) {
            return;
        }
        let is_zero_quota = self.body.quotas.iter().any(|quota| quota.is_zero());
        // The first request of a model that the plan does not contain is already too many.
        let is_zero = match self.provider {
            // JSON of protocol buffers leaves out a value of zero, so only the message has it.
            Provider::Gemini => is_zero_quota || google::names_a_limit_of_zero(&self.message),
            Provider::Mistral => buckets.named.iter().any(ReportedBucket::has_limit_of_zero),
            _ => is_zero_quota,
        };
        if is_zero || signal.window == Some(Window::Month) {
            signal.reason = Some(Reason::QuotaExhausted);
        }
        if is_zero {
            signal.scope = self.provider.scope();
        }
    }
}

/// Sets the window of a plan that is exhausted, by the headers that report all of them.
///
/// They are more exact than a code or a sentence. Codex sends the same code for every window, and Anthropic
/// the same sentence ("your account's rate limit").
fn name_plan(signal: &mut Signal, buckets: &RejectionBuckets) {
    let Some(plan) = buckets.longest_exhausted(Some(Dimension::Spend)) else {
        return;
    };
    let is_unnamed = signal.window.is_none_or(|it| it == SHORTEST);
    let may_be_plan = signal.dimension.is_none_or(|it| it == Dimension::Spend);
    if !may_be_plan || !is_unnamed {
        return;
    }
    signal.window = plan.window.or(signal.window);
    signal.scope = plan.scope.or(signal.scope);
    if let Some(scope) = plan.scope {
        signal.remedies.model = Some(scope.is_of_one_model());
    }
}
