//! What helps against a rejection: time, another key, another model.

use std::time::Duration;

use super::{Reason, Rejection, Scope, Window};

/// Where a provider is known to differ from what reason, window and scope imply.
///
/// Most rejections leave all three open; [`Rejection::time_helps`] and its siblings give the answer
/// with the exceptions applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Remedies {
    /// Whether the rejection clears by itself within about an hour.
    ///
    /// `Some(true)` with a window of a day is a limit that refills bit by bit: OpenAI and Groq let
    /// the next request of a day pass after seconds or minutes, and say when.
    pub time: Option<bool>,
    /// Whether a key of another group may help.
    pub key: Option<bool>,
    /// Whether another model of the same provider may help.
    pub model: Option<bool>,
}

/// A limit of unknown window, or of a plan's five hours, that asks for more than this is not one that a call can wait for.
pub(super) const SOON: Duration = Duration::from_secs(3_600);

// === impl Rejection ===

impl Rejection {
    /// Whether the same request with the same key may pass within about an hour.
    ///
    /// ```
    /// use tower_429::rejection::{Reason, Rejection, Window};
    ///
    /// let mut rejection = Rejection::new(Reason::RateLimited);
    /// assert!(rejection.time_helps());
    /// rejection.window = Some(Window::Day);
    /// assert!(!rejection.time_helps());
    /// ```
    pub fn time_helps(&self) -> bool {
        if self.should_retry == Some(false) {
            return false;
        }
        let by_reason = match self.reason {
            // The kind decides first: a minute's limit stays one even if it asks for a day (Azure).
            Reason::RateLimited => match self.window {
                Some(window) if window <= Window::Hour => true,
                Some(Window::FiveHours) => self.retry_after.is_some_and(|wait| wait <= SOON),
                Some(_) => false,
                None => self.retry_after.is_none_or(|wait| wait <= SOON),
            },
            Reason::Overloaded | Reason::Custom => true,
            Reason::QuotaExhausted | Reason::KeyRejected | Reason::TooLarge => false,
        };
        self.remedies.time.unwrap_or(by_reason)
    }

    /// Whether a key of another account, project or group may pass now.
    ///
    /// ```
    /// use tower_429::rejection::{Reason, Rejection};
    ///
    /// assert!(Rejection::new(Reason::QuotaExhausted).another_key_helps());
    /// assert!(!Rejection::new(Reason::Overloaded).another_key_helps());
    /// ```
    pub fn another_key_helps(&self) -> bool {
        let by_reason = match self.reason {
            Reason::RateLimited => !matches!(
                self.scope,
                Some(Scope::Model | Scope::Platform | Scope::Request)
            ),
            Reason::QuotaExhausted | Reason::KeyRejected => true,
            Reason::Overloaded | Reason::TooLarge | Reason::Custom => false,
        };
        self.remedies.key.unwrap_or(by_reason)
    }

    /// Whether another model *of the same provider* may pass now with the same key.
    ///
    /// Another provider's model may help against every rejection but is not meant here.
    ///
    /// ```
    /// use tower_429::rejection::{Reason, Rejection};
    ///
    /// assert!(Rejection::new(Reason::Overloaded).another_model_helps());
    /// assert!(!Rejection::new(Reason::KeyRejected).another_model_helps());
    /// ```
    pub fn another_model_helps(&self) -> bool {
        let by_reason = match self.reason {
            Reason::RateLimited => self.scope != Some(Scope::Platform),
            Reason::Overloaded | Reason::TooLarge => true,
            Reason::Custom => false,
            Reason::QuotaExhausted | Reason::KeyRejected => {
                self.scope.is_some_and(Scope::is_of_one_model)
            }
        };
        self.remedies.model.unwrap_or(by_reason)
    }

    /// Whether the key is a good one that may not do this: use this model, or send this request.
    pub(crate) fn is_denial(&self) -> bool {
        let is_of_request = self.scope == Some(Scope::Request);
        self.reason == Reason::KeyRejected && (is_of_request || self.another_model_helps())
    }

    /// Whether the key is a good one that may not use this model, or perhaps something else.
    pub(crate) fn may_deny_model(&self) -> bool {
        self.is_denial() && self.scope != Some(Scope::Request)
    }

    /// Whether the provider says that the key may not use this model.
    pub(crate) fn denies_model(&self) -> bool {
        self.is_denial() && self.scope.is_some_and(Scope::is_of_one_model)
    }
}
