//! Whether to wait, and for how long: a function of the outcome and of what is left.

use std::{error::Error, sync::Arc, time::Duration};

use super::{BackoffLayer, Delays, RetryOnError};
use crate::{
    clock::TIMER_SLACK,
    jitter::Share,
    rejection::{Reason, Rejection},
    retry::{CommonSettings, Config, Decision, Outcome, Strategy},
    trail::{LayerKind, StopReason},
};

pub(crate) struct BackoffStrategy<D: Delays, P> {
    layer: Arc<BackoffLayer<D, P>>,
    /// Made for the first wait.
    waits: Option<Waits<D::Iter>>,
    attempts: u32,
}

struct Waits<I> {
    delays: I,
    random: fastrand::Rng,
}

impl<D: Delays, P> Config for BackoffLayer<D, P> {
    const LAYER: LayerKind = LayerKind::Backoff;
    type Strategy = BackoffStrategy<D, P>;

    fn strategy(config: Arc<Self>) -> Self::Strategy {
        BackoffStrategy {
            layer: config,
            waits: None,
            attempts: 0,
        }
    }

    fn settings(&self) -> CommonSettings {
        self.options.settings
    }
}

impl<D: Delays, P> BackoffStrategy<D, P> {
    fn acts_on<E>(&self, outcome: &Outcome<'_, E>) -> bool
    where
        P: RetryOnError<E>,
    {
        let retry_on = &self.layer.retry_on;
        // OpenRouter's limit of requests in flight is the one quota that time remedies, and soon.
        let is_budget_in_flight = |rejection: &Rejection| {
            rejection.reason == Reason::QuotaExhausted && rejection.time_helps()
        };
        retry_on.acts_on(outcome)
            || (retry_on.reasons.contains(&Reason::RateLimited)
                && outcome.rejection.is_some_and(is_budget_in_flight))
    }

    /// Returns the wait, or why the layer does not wait.
    fn wait<E>(&mut self, outcome: &Outcome<'_, E>) -> Result<Duration, StopReason> {
        let left = outcome.left()?;
        if outcome.rejection.is_some_and(time_does_not_help) {
            return Err(StopReason::TimeDoesNotHelp);
        }
        let options = &self.layer.options;
        if self.attempts >= options.attempts {
            return Err(StopReason::AttemptsUsedUp);
        }
        let waits = self.waits.get_or_insert_with(|| Waits::new(&self.layer));
        // A hint of zero means "now", and every other caller has the same hint.
        let hint = outcome
            .rejection
            .and_then(|rejection| rejection.retry_after)
            .filter(|hint| !hint.is_zero());
        let least = match hint {
            Some(hint) => hint,
            None => waits.delays.next().ok_or(StopReason::AttemptsUsedUp)?,
        };
        if least > options.max_wait {
            return Err(StopReason::WaitTooLong);
        }
        let rest = left.map_or(Some(Duration::MAX), |left| left.checked_sub(least));
        let rest = rest.filter(|rest| *rest > TIMER_SLACK);
        let rest = rest.ok_or(StopReason::PastDeadline)?;
        let jitter = match hint {
            Some(hint) => {
                let most = options.jitter.most(hint).min(rest / 2);
                Share::draw(&mut waits.random).of(most, Duration::ZERO)
            }
            None => Duration::ZERO,
        };
        Ok(least.saturating_add(jitter))
    }
}

impl<D: Delays, P: RetryOnError<E>, R, E> Strategy<R, E> for BackoffStrategy<D, P> {
    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        self.layer.retry_on.error.as_error(error)
    }

    fn decide(&mut self, outcome: &Outcome<'_, E>) -> Decision {
        self.attempts += 1;
        if !self.acts_on(outcome) {
            if let Some(budget) = self.layer.options.budget.as_ref() {
                if outcome.is_success() {
                    budget.deposit();
                }
            }
            return Decision::Ignore;
        }
        let wait = match self.wait(outcome) {
            Ok(wait) => wait,
            Err(why) => return Decision::Stop(why),
        };
        match &self.layer.options.budget {
            Some(budget) if !budget.withdraw() => Decision::Stop(StopReason::BudgetEmpty),
            _ => Decision::retry_after(wait),
        }
    }
}

// === impl Waits ===

impl<I: Iterator<Item = Duration>> Waits<I> {
    fn new<D: Delays<Iter = I>, P>(layer: &BackoffLayer<D, P>) -> Self {
        let mut random = fastrand::Rng::with_seed(layer.options.next_seed());
        Self {
            delays: layer.delays.for_call(random.u64(..)),
            random,
        }
    }
}

/// Whether waiting is useless. The opted-in reasons count as remedied by time.
fn time_does_not_help(rejection: &Rejection) -> bool {
    match rejection.reason {
        Reason::RateLimited | Reason::Overloaded => !rejection.time_helps(),
        _ => rejection.should_retry == Some(false),
    }
}
