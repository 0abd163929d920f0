//! Whether to wait, and for how long: a function of the outcome and of the attempts and the time that are
//! left.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use http_body::Body;

use super::{BackoffLayer, Delays, RetryOnError, turn::Turn};
use crate::{
    call::{CallState, Route},
    clock::{TIMER_SLACK, after},
    jitter::JitterPart,
    quota::timing::LONGEST_GUESS,
    rejection::{Reason, Rejection},
    retry::{CommonSettings, Config, Decision, Outcome, Prepare, RequestView, Strategy},
    trail::{Action, LayerKind, StopReason},
};

pub(crate) struct BackoffStrategy<D: Delays, P> {
    layer: Arc<BackoffLayer<D, P>>,
    /// Made for the first wait.
    waits: Option<Waits<D::Iter>>,
    attempts: u32,
    turn: Turn,
}

/// How long a rejected call waits if it is alone.
struct OwnWait {
    wait: Duration,
    /// The provider's hint, without jitter.
    hint: Option<Duration>,
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
            turn: Turn::new(),
        }
    }

    fn settings(&self) -> &CommonSettings {
        &self.options.settings
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
    fn wait<E>(&mut self, outcome: &Outcome<'_, E>) -> Result<OwnWait, StopReason> {
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
                JitterPart::draw(&mut waits.random).of(most, Duration::ZERO)
            }
            None => Duration::ZERO,
        };
        let wait = least.saturating_add(jitter);
        Ok(OwnWait { wait, hint })
    }

    /// Reports the outcome to the limit that the request runs on. Returns whether the calls of that limit
    /// wait for its end.
    fn report<E>(&mut self, outcome: &Outcome<'_, E>, acts: bool) -> bool {
        let is_of_inner_layer = outcome.is_of_inner_layer();
        let holds = acts && outcome.rejection.is_some_and(closes_limit);
        let options = &self.layer.options;
        let longest_guess = LONGEST_GUESS.min(options.max_wait);
        let now = outcome.now();
        let mut is_probe = false;
        let is_shared = self.turn.complete(outcome, |inner, it| {
            let limits = &mut inner.candidates;
            is_probe = limits.is_probed(it.scope);
            let when = (it.sent, now);
            outcome.of_attempt(|attempt| match outcome.rejection {
                _ if is_of_inner_layer || !attempt.sent => {}
                Some(rejection) if holds => {
                    let reports = (it.cost(), &attempt.buckets[..]);
                    limits.rejected(it.scope, rejection, reports, when, longest_guess);
                }
                None if outcome.is_success() => {
                    limits.succeeded(it.scope, (it.cost(), &attempt.buckets), when);
                }
                _ => {}
            });
        });
        let is_last = self.attempts > 1 && self.attempts.saturating_add(1) >= options.attempts;
        self.turn.set_place(is_probe, is_last);
        if is_shared {
            options.note_inner_layer(is_of_inner_layer);
        }
        if is_of_inner_layer {
            self.turn.leave();
        }
        is_shared && holds && !is_of_inner_layer
    }

    /// Sends again after the call's own wait. After a hint the call waits in line, because others may have the
    /// same hint.
    fn retry<E>(&mut self, own: &OwnWait, is_shared: bool, outcome: &Outcome<'_, E>) -> Decision {
        let OwnWait { wait, hint } = *own;
        let now = outcome.now();
        match hint {
            Some(hint) if is_shared => {
                self.turn.wait_in_line(after(now, wait), after(now, hint));
                Decision::Retry {
                    action: Action::Wait(wait),
                    wait: Duration::ZERO,
                    awaited: None,
                }
            }
            _ => {
                self.turn.rest(after(now, wait), &self.layer.options, now);
                Decision::retry_after(wait)
            }
        }
    }
}

impl<D: Delays, P: RetryOnError<E>, R, E> Strategy<R, E> for BackoffStrategy<D, P> {
    fn settings(&self) -> &CommonSettings {
        &self.layer.options.settings
    }

    fn poll_prepare<B>(
        &mut self,
        request: &RequestView<B>,
        cx: &mut Context<'_>,
    ) -> Poll<Prepare<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let wait = ready!(self.turn.poll(&self.layer.options, request, cx));
        Poll::Ready(wait.map_or(Prepare::Send, Prepare::WaitUntil))
    }

    fn rewrite(
        &mut self,
        _: &mut request::Parts,
        route: &mut Route,
        _: &CallState,
    ) -> Option<Bytes> {
        route.cost = self.turn.mark_sent().or(route.cost);
        None
    }

    fn as_error<'a>(&self, error: &'a E) -> Option<&'a (dyn Error + 'static)> {
        self.layer.retry_on.error.as_error(error)
    }

    fn decide(&mut self, outcome: &Outcome<'_, E>) -> Decision {
        self.attempts += 1;
        let acts = self.acts_on(outcome);
        let is_shared = self.report(outcome, acts);
        if !acts {
            if let Some(budget) = self.layer.options.budget.as_ref() {
                if outcome.is_success() {
                    budget.deposit();
                }
            }
            return Decision::Ignore;
        }
        let own = match self.wait(outcome) {
            Ok(own) => own,
            Err(why) => return Decision::Stop(why),
        };
        match &self.layer.options.budget {
            Some(budget) if !budget.withdraw() => Decision::Stop(StopReason::BudgetEmpty),
            _ => self.retry(&own, is_shared, outcome),
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

/// Returns whether a rejection says that the next request would be rejected too. An overload without a hint
/// says nothing of the next request.
fn closes_limit(rejection: &Rejection) -> bool {
    let has_hint = rejection.retry_after.is_some_and(|hint| !hint.is_zero());
    rejection.time_helps()
        && match rejection.reason {
            Reason::RateLimited | Reason::QuotaExhausted => true,
            Reason::Overloaded => has_hint,
            _ => false,
        }
}
