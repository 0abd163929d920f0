//! What one sign (a status, a code, a phrase) means, and how several signs are joined.

use super::{Dimension, Reason, Rejection, Remedies, Scope, Window};

/// What a sign means; `None` where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) reason: Option<Reason>,
    pub(super) dimension: Option<Dimension>,
    pub(super) window: Option<Window>,
    pub(super) scope: Option<Scope>,
    pub(super) remedies: Remedies,
}

pub(super) const NOTHING: Meaning = Meaning {
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
pub(super) const LIMIT: Meaning = NOTHING.because(Reason::RateLimited);
pub(super) const QUOTA: Meaning = NOTHING.because(Reason::QuotaExhausted);
pub(super) const BUSY: Meaning = NOTHING.because(Reason::Overloaded);
pub(super) const KEY: Meaning = NOTHING.because(Reason::KeyRejected);
pub(super) const LARGE: Meaning = NOTHING.because(Reason::TooLarge);

// === impl Meaning ===

impl Meaning {
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

    /// `self` where it says something, else `other`.
    pub(super) fn or(self, other: Self) -> Self {
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

    /// Adds the name of a limit where none is known yet. A window belongs to its dimension: that of
    /// another dimension is none.
    pub(super) fn complete(&mut self, dimension: Option<Dimension>, window: Option<Window>) {
        let is_another = match (self.dimension, dimension) {
            (Some(known), Some(new)) => !known.is_compatible(new),
            _ => false,
        };
        if !is_another {
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
}

/// All signs as one: the weightiest reason, and what the signs of that reason (or of none) add to it.
///
/// The order of the weights is what separates providers that share a word: xAI sends the code
/// `resource-exhausted` for a rate limit and for spent credits, and only the message differs.
pub(super) fn join(signs: &[Meaning]) -> Meaning {
    let Some(reason) = signs
        .iter()
        .filter_map(|sign| sign.reason)
        .max_by_key(|it| weight(*it))
    else {
        return NOTHING;
    };
    let fits = |sign: &&Meaning| sign.reason.is_none_or(|it| it == reason);
    let signs = signs.iter().filter(fits);
    let joined = signs.clone().fold(NOTHING, |all, sign| all.or(*sign));
    // Of a good key that may not do this, the code beside the sentence may be that of a rejected key.
    let denied = [Scope::Request, Scope::AccountModel]
        .into_iter()
        .find(|of| {
            let is_denial = |sign: &Meaning| sign.scope == Some(*of);
            reason == Reason::KeyRejected && signs.clone().any(is_denial)
        });
    Meaning {
        scope: denied.or(joined.scope),
        ..joined.because(reason)
    }
}

fn weight(reason: Reason) -> u8 {
    match reason {
        Reason::QuotaExhausted => 5,
        Reason::KeyRejected => 4,
        Reason::TooLarge => 3,
        Reason::Overloaded => 2,
        Reason::RateLimited => 1,
        Reason::Custom => 0,
    }
}

/// Whether a body may say this under that status; `None` is an event in a stream, which has no status.
///
/// A message may quote the request: only where a provider was seen to say a thing is it believed.
pub(super) fn is_possible(reason: Reason, status: Option<u16>) -> bool {
    let Some(status) = status else {
        return true;
    };
    match reason {
        Reason::RateLimited | Reason::QuotaExhausted => {
            matches!(status, 400 | 402 | 403 | 412 | 413 | 429 | 498 | 500..)
        }
        Reason::KeyRejected => (400..=403).contains(&status),
        Reason::TooLarge => matches!(status, 403 | 413 | 429),
        Reason::Overloaded => matches!(status, 429 | 498 | 500..),
        Reason::Custom => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weightiest_reason_wins_and_takes_only_what_fits_it() {
        let limit = LIMIT.counts(Dimension::Requests);
        let quota = QUOTA.of(Scope::Project);
        let token_type = NOTHING.counts(Dimension::Tokens);
        let joined = join(&[limit, token_type, quota]);
        assert_eq!(joined, quota.counts(Dimension::Tokens));
        assert_eq!(join(&[token_type]), NOTHING);
    }

    #[test]
    fn a_404_is_never_a_rejected_key_nor_a_limit() {
        for reason in [
            Reason::KeyRejected,
            Reason::RateLimited,
            Reason::QuotaExhausted,
        ] {
            assert!(!is_possible(reason, Some(404)));
        }
        assert!(is_possible(Reason::KeyRejected, Some(400)));
        assert!(is_possible(Reason::KeyRejected, None));
        assert!(!is_possible(Reason::TooLarge, Some(400)));
    }
}
