//! The signals of one rejection: what its status, its codes and its messages mean, each by itself.

use super::{
    super::{
        parse::code,
        provider::Provider,
        signal::{NOTHING, Signal},
        tables::{codes, messages, provider_codes},
        types::Reason,
    },
    evidence::Evidence,
    plan,
};

/// Headers whose value is a code.
const CODE_HEADERS: &[&str] = &["x-amzn-errortype", "x-ratelimit-type", "x-ms-error-code"];

// === impl Evidence ===

impl Evidence<'_> {
    /// Returns all signals. If two contradict each other, the first counts.
    pub(super) fn signals(&self) -> Vec<Signal> {
        let sentences = self.sentences();
        let plan = self.plan(&sentences);
        let codes = self.code_signals();
        // A plan's sentence is more exact about the window than the code beside it, and less exact about the
        // owner.
        let window = plan.map(|plan| Signal {
            scope: None,
            ..plan
        });
        let by_status = self.status_reason(&codes).map(|it| NOTHING.because(it));
        let phrases = messages::signals(&sentences, self.status);
        let phrases = phrases.map(|signal| self.without_rate(signal));
        let known = window.into_iter().chain(by_status).chain(codes);
        known
            .chain(phrases)
            .chain(plan)
            .filter(|signal| signal.is_possible(self.status))
            .collect()
    }

    /// Returns the reason of the response's status, or else of the status in the body: a proxy's 500 may
    /// repeat the 429 that it received.
    fn status_reason(&self, codes: &[Signal]) -> Option<Reason> {
        let statuses = [self.status, self.body.status].into_iter().flatten();
        let reason = statuses.into_iter().find_map(of_status)?;
        // AWS also throttles with a 503 (`SlowDown`, `RequestLimitExceeded`), so there the code decides.
        let is_throttled = codes
            .iter()
            .any(|it| it.reason == Some(Reason::RateLimited));
        Some(reason).filter(|reason| *reason != Reason::Overloaded || !is_throttled)
    }

    fn code_signals(&self) -> Vec<Signal> {
        let by_header = CODE_HEADERS.iter().filter_map(|name| {
            let code = code::normal(self.header(name)?)?;
            signal(self.provider, None, &code)
        });
        let mut signals: Vec<_> = by_header.collect();
        let provider = self.provider_of_codes();
        let codes = self.body.codes.iter();
        signals.extend(codes.filter_map(|(owner, code)| signal(provider, *owner, code)));
        // OpenAI reports a model that a project may not use as not found, but with 403.
        let mut codes = self.body.common_codes();
        if self.status == Some(403) && codes.any(|code| code == "model_not_found") {
            signals.push(messages::MODEL_DENIED);
        }
        signals
    }

    /// Returns the provider of the body's codes, because a proxy passes on those of its upstream.
    fn provider_of_codes(&self) -> Provider {
        match self.provider {
            _ if messages::is_of_dash_scope(&self.message) => Provider::DashScope,
            Provider::LiteLlm => self.body.provider.unwrap_or(self.provider),
            provider => provider,
        }
    }

    /// Returns the limit of a plan. Under 429 it is a rate. Kimi reports it with a 403, the status of
    /// rejected keys, and under 403 it counts only as a quota.
    fn plan(&self, sentences: &str) -> Option<Signal> {
        let limit = plan::limit(sentences)?;
        match self.status {
            None | Some(429) => Some(limit),
            Some(402 | 403 | 412 | 500..) => Some(limit.because(Reason::QuotaExhausted)),
            _ => None,
        }
    }

    /// Removes a rate limit that only a sentence names under another status: "Too many requests in
    /// this batch" is an ordinary 400.
    fn without_rate(&self, mut signal: Signal) -> Signal {
        let is_plain = matches!(self.status, None | Some(429));
        signal.reason = signal
            .reason
            .filter(|it| is_plain || *it != Reason::RateLimited);
        signal
    }
}

/// Returns the meaning of a code that `provider` sent. The place of a code may identify its owner.
fn signal(provider: Provider, owner: Option<Provider>, code: &str) -> Option<Signal> {
    let common = || codes::signal(code).filter(|_| owner.is_none());
    provider_codes::signal(owner.unwrap_or(provider), code)
        .or_else(common)
        .or_else(|| plan::limit_of_code(code))
}

fn of_status(status: u16) -> Option<Reason> {
    match status {
        429 => Some(Reason::RateLimited),
        402 => Some(Reason::QuotaExhausted),
        401 => Some(Reason::KeyRejected),
        413 => Some(Reason::TooLarge),
        498 | 503 | 529 => Some(Reason::Overloaded),
        _ => None,
    }
}
