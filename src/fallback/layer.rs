use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tower::Layer;

use super::{AsError, Fallback, IfError, NoErrors, Target, targets::Targets};
use crate::{
    attempt::{Settings, setters},
    quota::{Scheduler, timing::LONGEST_GUESS},
    rejection::Reason,
    trigger::Trigger,
};

/// Asks another model, or elsewhere; see the [module page](super).
///
/// | setting | default |
/// |---|---|
/// | [`on`](Self::on) | rate limited, quota exhausted, overloaded |
/// | [`cooldown`](Self::cooldown) | 1 s, doubling to 60 s |
/// | [`replay_limit`](Self::replay_limit) | 2 MiB |
/// | deadline, sends, other statuses, errors | none |
///
/// ```
/// use tower_429::fallback::{FallbackLayer, Target};
///
/// let layer = FallbackLayer::new(["gpt-4o-mini", "gpt-4.1-nano"]);
/// let across = FallbackLayer::new([
///     Target::model("gpt-4o-mini"),
///     Target::model("gemini-2.5-flash")
///         .at("https://generativelanguage.googleapis.com/v1beta/openai")?
///         .strip_prefix("/v1"),
/// ]);
/// # Ok::<(), tower_429::fallback::TargetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FallbackLayer<P = NoErrors> {
    pub(super) policy: Policy<P>,
}

/// What the layer, its services and the decision share.
#[derive(Clone, Debug)]
pub(super) struct Policy<P> {
    pub(super) targets: Arc<[Target]>,
    pub(super) scheduler: Scheduler<Targets>,
    pub(super) trigger: Trigger<P>,
    pub(super) longest_guess: Duration,
    pub(super) max_wait: Option<Duration>,
    pub(super) settings: Settings,
}

// === impl FallbackLayer ===

impl FallbackLayer {
    /// A layer that turns to these targets, in this order; one that is there twice counts once.
    pub fn new<T: Into<Target>>(targets: impl IntoIterator<Item = T>) -> Self {
        let mut distinct: Vec<Target> = Vec::new();
        for target in targets.into_iter().map(Into::into) {
            if !distinct.contains(&target) {
                distinct.push(target);
            }
        }
        Self {
            policy: Policy {
                targets: distinct.into(),
                scheduler: Scheduler::new(Targets::default()),
                trigger: Trigger {
                    reasons: vec![
                        Reason::RateLimited,
                        Reason::QuotaExhausted,
                        Reason::Overloaded,
                    ],
                    status: |_| false,
                    error: NoErrors,
                },
                longest_guess: LONGEST_GUESS,
                max_wait: None,
                settings: Settings::default(),
            },
        }
    }
}

impl<P> FallbackLayer<P> {
    /// The reasons for which the next target is asked, in place of the default ones.
    #[must_use]
    pub fn on(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.policy.trigger.reasons = reasons.into_iter().collect();
        self
    }

    /// Asks the next target on these statuses too. A request that ended in one may have been processed.
    #[must_use]
    pub fn on_status(mut self, status: fn(StatusCode) -> bool) -> Self {
        self.policy.trigger.status = status;
        self
    }

    /// Asks the next target on these errors of the inner service too. Such a request may have been processed.
    ///
    /// The log and the [trail](crate::trail::Attempt::error) then say what the error was.
    pub fn on_error<F, E, K>(self, error: F) -> FallbackLayer<IfError<F, E>>
    where
        F: Fn(&E) -> bool,
        E: AsError<K>,
    {
        let policy = self.policy;
        FallbackLayer {
            policy: Policy {
                targets: policy.targets,
                scheduler: policy.scheduler,
                trigger: policy.trigger.on_error(error),
                longest_guess: policy.longest_guess,
                max_wait: policy.max_wait,
                settings: policy.settings,
            },
        }
    }

    /// Sets the longest cooldown of a limited target where the provider does not say how long; 60 s
    /// unless set.
    ///
    /// The first cooldown without a hint lasts 1 s. It doubles up to `cooldown` while the requests that
    /// are sent after its end are refused, and begins again at 1 s after a success. A `cooldown` of
    /// less than 1 s shortens the first one too; less than 500 ms counts as 500 ms. An exhausted quota
    /// and a limit by the day are checked again after an hour, whatever is set here.
    #[must_use]
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.policy.longest_guess = cooldown;
        self
    }

    /// Lets a call that finds every target limited wait for the first that frees, in place of asking it
    /// anyway, until `max_wait` is over, which begins when the call first looks for a target.
    ///
    /// A call does not wait if the quota of every target is spent, because time alone does not end that.
    /// It waits at most 16 times after it was refused, and after each wait it is sent at most once to
    /// each target.
    #[must_use]
    pub fn wait_when_exhausted(mut self, max_wait: Duration) -> Self {
        self.policy.max_wait = Some(max_wait);
        self
    }

    setters!(policy.settings);
}

impl<S, P: Clone> Layer<S> for FallbackLayer<P> {
    type Service = Fallback<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback {
            inner,
            policy: Arc::new(self.policy.clone()),
        }
    }
}
