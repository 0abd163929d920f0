//! What helps against a rejection: time, another key, another model.

use std::time::Duration;

use super::types::{Reason, Rejection, Scope, Window};

/// The longest hint that a call can wait for, if the window is unknown or is the five hours of a plan.
pub(super) const SOON: Duration = Duration::from_secs(3_600);

// === impl Rejection ===

impl Rejection {
    /// Returns whether the same request with the same key may pass within about an hour.
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
            // The window decides first: a limit per minute stays one even if its hint is a day (Azure).
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

    /// Returns whether a key of another account, project or group may pass now.
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

    /// Returns whether another model *of the same provider* may pass now with the same key.
    ///
    /// The model of another provider may help against every rejection, and is not considered here.
    ///
    /// ```
    /// use tower_429::rejection::{Reason, Rejection};
    ///
    /// assert!(Rejection::new(Reason::Overloaded).another_model_helps());
    /// assert!(!Rejection::new(Reason::KeyRejected).another_model_helps());
    /// ```
    pub fn another_model_helps(&self) -> bool {
        let is_of_one_model = self.scope.is_some_and(Scope::is_of_one_model);
        let by_reason = match self.reason {
            Reason::RateLimited => self.scope != Some(Scope::Platform),
            Reason::Overloaded | Reason::TooLarge => true,
            Reason::Custom => false,
            Reason::QuotaExhausted | Reason::KeyRejected => is_of_one_model,
        };
        self.remedies.model.unwrap_or(by_reason)
    }

    /// Whether the key is valid but may not use this model or send this request.
    pub(crate) fn is_denial(&self) -> bool {
        let is_of_request = self.scope == Some(Scope::Request);
        self.reason == Reason::KeyRejected && (is_of_request || self.another_model_helps())
    }

    /// Whether the key is valid but may not use this model, or perhaps something else.
    pub(crate) fn may_deny_model(&self) -> bool {
        self.is_denial() && self.scope != Some(Scope::Request)
    }

    /// Whether the provider reports that the key may not use this model.
    pub(crate) fn denies_model(&self) -> bool {
        self.is_denial() && self.scope.is_some_and(Scope::is_of_one_model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_of_up_to_an_hour_helps_if_the_hint_decides() {
        let helps = |window, hint| {
            let rejection = Rejection {
                window,
                retry_after: Some(hint),
                ..Rejection::new(Reason::RateLimited)
            };
            rejection.time_helps()
        };
        for window in [None, Some(Window::FiveHours)] {
            assert!(helps(window, SOON), "{window:?}");
            assert!(!helps(window, SOON + Duration::from_nanos(1)), "{window:?}");
        }
    }

    #[test]
    fn only_time_helps_against_a_custom_rejection() {
        let custom = Rejection::new(Reason::Custom);
        assert!(custom.time_helps());
        assert!(!custom.another_key_helps());
        assert!(!custom.another_model_helps());
    }
}
