//! The settings of a simulated provider.

use std::{ops::Range, sync::Arc, time::Duration};

use super::{limits::Limit, meters::Unit};

/// What the headers report of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headers {
    Always,
    OnRejections,
    Never,
    /// Always a full limit.
    TooMuchLeft,
    /// Always nothing left until the window ends.
    NothingLeft,
    /// Always nothing left, with a reset in a moment.
    NothingForAMoment,
    /// Twenty less than is left.
    TooLittleLeft,
    /// What is left, and a reset in the past.
    PastReset,
}

/// How a rejection reports when the next request would pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    None,
    /// `retry-after-ms`.
    Exact,
    /// `retry-after`, rounded up.
    WholeSeconds,
}

/// Rejections at random.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accidents {
    pub(crate) percent: u32,
    pub(crate) status: u16,
}

/// A time in which the provider rejects every request.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    /// Since the start.
    pub(crate) during: Range<Duration>,
    pub(crate) status: u16,
}

/// One account behind all keys, which the caller has not grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// Responses name it in `openai-organization`.
    Named,
    Unnamed,
}

/// The provider whose headers and rejections the responses have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderStyle {
    OpenAi,
    Anthropic,
}

/// How many requests of a key may be in flight at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) at_once: usize,
    pub(crate) says: Says,
}

/// What a rejection reports of a limit in requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// Moonshot's message, with the limit and a second to wait.
    LimitAndSecond,
    Words,
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The limit of each key for each model. Other models do not exist. The first is the preferred one.
    pub(crate) models: Vec<(&'static str, Limit)>,
    /// The limits in tokens that each key has for each model, in addition.
    pub(crate) tokens: Vec<(Unit, Limit)>,
    /// The limit in requests in flight that each key has for all models.
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) style: HeaderStyle,
    /// Whether the head of a response is sent at once, and its last event when the response is complete.
    pub(crate) streams: bool,
    /// Keys with another limit, in requests per window.
    pub(crate) sizes: Vec<(&'static str, u32)>,
    pub(crate) headers: Headers,
    pub(crate) hint: Hint,
    /// Whether the message of a rejection names the limit and its window.
    pub(crate) names_window: bool,
    /// Keys that share their limits with another, and the caller knows.
    pub(crate) shared: Vec<(&'static str, &'static str)>,
    /// All keys share their limits, and the caller does not know.
    pub(crate) account: Option<Account>,
    pub(crate) rejected: Option<&'static str>,
    pub(crate) out_of_quota: Option<&'static str>,
    /// A key that is rejected from this moment on.
    pub(crate) revoked: Option<(&'static str, Duration)>,
    /// The shortest and the longest time from a request's admission to its response.
    pub(crate) thinks: (Duration, Duration),
    /// That time if the last request of the session came with the same key, whose prompt cache is warm.
    pub(crate) thinks_warm: Option<Duration>,
    /// Rejections of the preferred model that its limit does not explain.
    pub(crate) accidents: Option<Accidents>,
    /// An outage of the preferred model.
    pub(crate) outage: Option<Outage>,
}

// === impl Plan ===

impl Plan {
    /// Returns a provider with one model that responds at once and never fails.
    pub(crate) fn new(limit: Limit, headers: Headers, hint: Hint) -> Self {
        Self {
            models: vec![("large", limit)],
            tokens: Vec::new(),
            in_flight: None,
            style: HeaderStyle::OpenAi,
            streams: false,
            sizes: Vec::new(),
            headers,
            hint,
            names_window: false,
            shared: Vec::new(),
            account: None,
            rejected: None,
            out_of_quota: None,
            revoked: None,
            thinks: (Duration::ZERO, Duration::ZERO),
            thinks_warm: None,
            accidents: None,
            outage: None,
        }
    }

    /// Returns the account whose limits a key uses.
    pub(super) fn account_of(&self, key: &Arc<str>) -> Arc<str> {
        if self.account.is_some() {
            return "all".into();
        }
        self.known_account_of(key)
    }

    /// Returns the account as far as the caller knows. The caller can obey only the hints of that account.
    pub(super) fn known_account_of(&self, key: &Arc<str>) -> Arc<str> {
        let shared = self.shared.iter().find(|(one, _)| *one == &**key);
        shared.map_or_else(|| key.clone(), |(_, other)| (*other).into())
    }

    /// Returns the limit of a key for a model, if the model exists.
    pub(crate) fn limit(&self, key: &str, model: &str) -> Option<Limit> {
        let (_, limit) = self.models.iter().find(|(name, _)| *name == model)?;
        let size = self.sizes.iter().find(|(name, _)| *name == key);
        Some(size.map_or(*limit, |(_, size)| limit.of_size(*size)))
    }

    /// Returns the limits of a key for a model, each in its unit, if the model exists.
    pub(crate) fn limits(&self, key: &str, model: &str) -> Option<Vec<(Unit, Limit)>> {
        let mut limits = vec![(Unit::Requests, self.limit(key, model)?)];
        limits.extend(&self.tokens);
        Some(limits)
    }

    pub(super) fn is_preferred(&self, model: &str) -> bool {
        self.models.first().is_some_and(|(name, _)| *name == model)
    }

    /// Returns whether a key never works.
    pub(crate) fn is_dead(&self, key: &str) -> bool {
        [self.rejected, self.out_of_quota].contains(&Some(key))
    }
}
