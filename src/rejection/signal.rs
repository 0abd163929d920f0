//! Evidence from one field (a status, a code, a phrase), and how several signals are merged.

use super::types::{Dimension, Reason, Rejection, Remedies, Scope, Window};

/// What one field says about the rejection. A value is `None` if the field does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signal {
    pub(super) reason: Option<Reason>,
    pub(super) dimension: Option<Dimension>,
    pub(super) window: Option<Window>,
    pub(super) scope: Option<Scope>,
    pub(super) remedies: Remedies,
}

pub(super) const NOTHING: Signal = Signal {
    reason: None,
    dimension: None,
    window: None,
    scope: None,
    remedies: Remedies {
        time: None,
        key: None,
        model: None,
    },
};
pub(super) const LIMIT: Signal = NOTHING.because(Reason::RateLimited);
pub(super) const QUOTA: Signal = NOTHING.because(Reason::QuotaExhausted);
pub(super) const BUSY: Signal = NOTHING.because(Reason::Overloaded);
pub(super) const KEY: Signal = NOTHING.because(Reason::KeyRejected);
pub(super) const LARGE: Signal = NOTHING.because(Reason::TooLarge);

/// The limit of a plan, which counts every model of an account.
pub(super) const PLAN: Signal = LIMIT.of(Scope::Account).model_helps(false);

/// The shortest window of any plan: the window of a plan's limit that names none.
pub(super) const SHORTEST: Window = Window::FiveHours;

// === impl Signal ===

impl Signal {
    pub(super) const fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    pub(super) const fn counts(mut self, dimension: Dimension) -> Self {
        self.dimension = Some(dimension);
        self
    }

    pub(super) const fn per(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    pub(super) const fn of(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    pub(super) const fn time_helps(mut self) -> Self {
        self.remedies.time = Some(true);
        self
    }

    pub(super) const fn key_helps(mut self, helps: bool) -> Self {
        self.remedies.key = Some(helps);
        self
    }

    pub(super) const fn model_helps(mut self, helps: bool) -> Self {
        self.remedies.model = Some(helps);
        self
    }

    /// Merges all signals. The reason with the highest precedence wins. The signals with this reason, and
    /// those without a reason, add the rest.
    ///
    /// The precedence also separates two meanings of one word: xAI sends the code `resource-exhausted` for a
    /// rate limit and for spent credits. Only the message differs.
    pub(super) fn merge(signals: &[Self]) -> Self {
        let reasons = signals.iter().filter_map(|signal| signal.reason);
        let Some(reason) = reasons.max_by_key(|reason| precedence(*reason)) else {
            return NOTHING;
        };
        let fits = |signal: &&Self| signal.reason.is_none_or(|it| it == reason);
        let signals = signals.iter().filter(fits);
        let mut merged = signals.clone().fold(NOTHING, |all, signal| all.or(*signal));
        // If a valid key lacks a permission, the code beside the message may be that of a rejected key.
        let mut denials = [Scope::Request, Scope::AccountModel].into_iter();
        let denied = denials.find(|of| signals.clone().any(|it| it.scope == Some(*of)));
        if reason == Reason::KeyRejected {
            merged.scope = denied.or(merged.scope);
        }
        merged.because(reason)
    }

    /// Returns `self`, with the fields of `other` where `self` has none.
    fn or(self, other: Self) -> Self {
        Self {
            reason: self.reason.or(other.reason),
            dimension: self.dimension.or(other.dimension),
            window: self.window.or(other.window),
            scope: self.scope.or(other.scope),
            remedies: Remedies {
                time: self.remedies.time.or(other.remedies.time),
                key: self.remedies.key.or(other.remedies.key),
                model: self.remedies.model.or(other.remedies.model),
            },
        }
    }

    /// Adds the name of a limit where none is known yet. A window belongs to its dimension, so the window of
    /// another dimension is left out.
    pub(super) fn complete(&mut self, dimension: Option<Dimension>, window: Option<Window>) {
        let known = self.dimension.zip(dimension);
        if known.is_none_or(|(known, new)| known.is_compatible(new)) {
            self.window = self.window.or(window);
            self.dimension = self.dimension.or(dimension);
        }
    }

    pub(super) fn rejection(self) -> Option<Rejection> {
        let mut rejection = Rejection::new(self.reason?);
        rejection.dimension = self.dimension;
        rejection.window = self.window;
        rejection.scope = self.scope;
        rejection.remedies = self.remedies;
        Some(rejection)
    }

    /// Whether the status allows this reason; an event in a stream has no status.
    ///
    /// A message may quote the request, so a reason counts only under a status that was seen with it.
    pub(super) fn is_possible(&self, status: Option<u16>) -> bool {
        let (Some(reason), Some(status)) = (self.reason, status) else {
            return true;
        };
        match reason {
            Reason::RateLimited | Reason::QuotaExhausted => {
                matches!(status, 400 | 402 | 403 | 412 | 413 | 429 | 498 | 500..)
            }
            Reason::KeyRejected => (400..=403).contains(&status),
            Reason::TooLarge => matches!(status, 403 | 413 | 429),
            Reason::Custom => false,
            Reason::Overloaded => matches!(status, 429 | 498 | 500..),
        }
    }
}

fn precedence(reason: Reason) -> u8 {
    match reason {
        Reason::QuotaExhausted => 5,
        Reason::KeyRejected => 4,
        Reason::TooLarge => 3,
        Reason::Overloaded => 2,
        Reason::RateLimited => 1,
        Reason::Custom => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_uses_the_first_reason_in_precedence_and_what_fits_it() {
        let limit = LIMIT.counts(Dimension::Requests);
        let quota = QUOTA.of(Scope::Project);
        let token_type = NOTHING.counts(Dimension::Tokens);
        let merged = Signal::merge(&[limit, token_type, quota]);
        assert_eq!(merged, quota.counts(Dimension::Tokens));
        assert_eq!(Signal::merge(&[token_type]), NOTHING);
    }

    #[test]
    fn status_404_is_never_a_rejected_key_or_a_limit() {
        for signal in [KEY, LIMIT, QUOTA] {
            assert!(!signal.is_possible(Some(404)));
        }
        assert!(KEY.is_possible(Some(400)));
        assert!(KEY.is_possible(None));
        assert!(!LARGE.is_possible(Some(400)));
    }
}
