//! Whether to wait, and for how long: a function of the outcome and of what is left.

use std::{error::Error, sync::Arc, time::Duration};

use super::{Delays, RetryOnError, layer::Policy};
use crate::{
    attempt::{Decide, Outcome, Verdict},
    jitter::Share,
    rejection::{Reason, Rejection},
    trail::{Action, LayerKind, StopReason},
};

pub(super) struct Decision<D: Delays, P> {
    policy: Arc<Policy<D, P>>,
    /// Drawn for the first wait.
    drawn: Option<Drawn<D::Iter>>,
    sends: u32,
}

/// The timer counts whole milliseconds and rounds up: what is left must not be less.
const TICKS: Duration = Duration::from_millis(2);

struct Drawn<I> {
    delays: I,
    random: fastrand::Rng,
}

impl<D: Delays, P> Decision<D, P> {
    pub(super) fn new(policy: Arc<Policy<D, P>>) -> Self {
        Self {
            policy,
            drawn: None,
            sends: 0,
        }
    }

    /// OpenRouter's one quota that time remedies, and soon: to wait for it is to wait for a rate limit.
    fn is_budget_in_flight(&self, rejection: Option<&Rejection>) -> bool {
        let waits_for_limits = self.policy.trigger.reasons.contains(&Reason::RateLimited);
        waits_for_limits
            && rejection.is_some_and(|rejection| {
                rejection.reason == Reason::QuotaExhausted && rejection.time_helps()
            })
    }

    /// The wait, or why there is none.
    fn wait(
        &mut self,
        rejection: Option<&Rejection>,
        left: Option<Duration>,
    ) -> Result<Duration, StopReason> {
        if rejection.is_some_and(time_does_not_help) {
            return Err(StopReason::TimeDoesNotHelp);
        }
        if self.sends >= self.policy.attempts {
            return Err(StopReason::AttemptsUsedUp);
        }
        // A hint of zero says "now", which is what every other caller was told.
        let hint = rejection
            .and_then(|rejection| rejection.retry_after)
            .filter(|hint| !hint.is_zero());
        let drawn = self
            .drawn
            .get_or_insert_with(|| Drawn::of_call(&self.policy));
        let least = match hint {
            Some(hint) => hint,
            None => drawn.delays.next().ok_or(StopReason::AttemptsUsedUp)?,
        };
        if least > self.policy.max_wait {
            return Err(StopReason::WaitTooLong);
        }
        let most = match left.map(|left| left.checked_sub(least)) {
            Some(rest) => rest
                .filter(|rest| *rest > TICKS)
                .ok_or(StopReason::PastDeadline)?,
            None => Duration::MAX,
        };
        let jitter = match hint {
            Some(hint) => {
                let most = self.policy.jitter.most(hint).min(most / 2);
                Share::draw(&mut drawn.random).of(most, Duration::ZERO)
            }
            None => Duration::ZERO,
        };
        Ok(least.saturating_add(jitter))
    }
}

impl<D: Delays, P: RetryOnError<E>, R, E> Decide<R, E> for Decision<D, P> {
    const LAYER: LayerKind = LayerKind::Backoff;

    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        self.policy.trigger.error.as_error(error)
    }

    fn judge(&mut self, outcome: &Outcome<'_, E>) -> Verdict {
        self.sends += 1;
        if !self.policy.trigger.acts_on(outcome) && !self.is_budget_in_flight(outcome.rejection) {
            if let Some(budget) = self.policy.budget.as_ref().filter(|_| outcome.is_success()) {
                budget.deposit();
            }
            return Verdict::Pass;
        }
        match outcome
            .left()
            .and_then(|left| self.wait(outcome.rejection, left))
        {
            Err(why) => Verdict::Return(why),
            Ok(_)
                if self
                    .policy
                    .budget
                    .as_ref()
                    .is_some_and(|budget| !budget.withdraw()) =>
            {
                Verdict::Return(StopReason::BudgetEmpty)
            }
            Ok(wait) => Verdict::Again {
                action: Action::Wait(wait),
                wait,
            },
        }
    }
}

// === impl Drawn ===

impl<I: Iterator<Item = Duration>> Drawn<I> {
    fn of_call<D: Delays<Iter = I>, P>(policy: &Policy<D, P>) -> Self {
        let mut random = fastrand::Rng::with_seed(policy.next_seed());
        Self {
            delays: policy.delays.for_call(random.u64(..)),
            random,
        }
    }
}

/// Whether waiting is useless; a reason that was opted in is not asked.
fn time_does_not_help(rejection: &Rejection) -> bool {
    match rejection.reason {
        Reason::RateLimited | Reason::Overloaded => !rejection.time_helps(),
        _ => rejection.should_retry == Some(false),
    }
}
