use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tower::{Layer, retry::budget::Budget};

use super::{AsError, Backoff, Exponential, IfError, NoErrors};
use crate::{
    attempt::{Settings, setters},
    jitter::Jitter,
    rejection::Reason,
    trigger::Trigger,
};

/// Waits and sends again; see the [module page](super).
///
/// | setting | default |
/// |---|---|
/// | [`attempts`](Self::attempts) | 5 |
/// | [`delays`](Self::delays) | [`Exponential`]: 1 s doubling, at most 60 s |
/// | [`jitter`](Self::jitter) | 10 % of the hint, at least 250 ms |
/// | [`max_wait`](Self::max_wait) | 60 s |
/// | [`on`](Self::on) | rate limited, overloaded |
/// | [`replay_limit`](Self::replay_limit) | 2 MiB |
/// | deadline, sends, budget, other statuses, errors | none |
///
/// ```
/// use std::time::Duration;
/// use tower_429::{BackoffLayer, rejection::Reason};
///
/// let layer = BackoffLayer::new()
///     .attempts(3)
///     .max_wait(Duration::from_secs(10))
///     .on([Reason::RateLimited])
///     .on_status(|status| status == 502)
///     .on_error(|error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused);
/// ```
#[derive(Clone)]
pub struct BackoffLayer<D = Exponential, P = NoErrors> {
    pub(super) policy: Policy<D, P>,
}

/// What the layer, its services and the decision share.
#[derive(Clone)]
pub(super) struct Policy<D, P> {
    pub(super) attempts: u32,
    pub(super) delays: D,
    pub(super) jitter: Jitter,
    pub(super) max_wait: Duration,
    pub(super) trigger: Trigger<P>,
    pub(super) budget: Option<Arc<dyn Budget + Send + Sync>>,
    pub(super) seeds: Arc<AtomicU64>,
    pub(super) settings: Settings,
}

// === impl BackoffLayer ===

impl BackoffLayer {
    /// A layer with the defaults.
    pub fn new() -> Self {
        Self {
            policy: Policy {
                attempts: 5,
                delays: Exponential::new(),
                jitter: Jitter::DEFAULT,
                max_wait: Duration::from_secs(60),
                trigger: Trigger {
                    reasons: vec![Reason::RateLimited, Reason::Overloaded],
                    status: |_| false,
                    error: NoErrors,
                },
                budget: None,
                seeds: Arc::new(AtomicU64::new(fastrand::u64(..))),
                settings: Settings::default(),
            },
        }
    }
}

impl Default for BackoffLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<D, P> BackoffLayer<D, P> {
    /// The most sends of this layer for one call, the first included; 0 means 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.policy.attempts = attempts;
        self
    }

    /// The longest that one wait may be, jitter not counted.
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.policy.max_wait = max_wait;
        self
    }

    /// The jitter on a hint: up to `percent` of it, and up to `at_least` if that is more; 20 ms at the least,
    /// unless the most is less.
    #[must_use]
    pub fn jitter(mut self, percent: u32, at_least: Duration) -> Self {
        self.policy.jitter = Jitter { percent, at_least };
        self
    }

    /// Makes all waits the same from run to run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.policy.seeds = Arc::new(AtomicU64::new(seed));
        self
    }

    /// The reasons that are waited for, in place of the default ones.
    #[must_use]
    pub fn on(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.policy.trigger.reasons = reasons.into_iter().collect();
        self
    }

    /// Waits on these statuses too. A request that ended in one may have been processed.
    #[must_use]
    pub fn on_status(mut self, status: fn(StatusCode) -> bool) -> Self {
        self.policy.trigger.status = status;
        self
    }

    /// Withdraws from a budget before each send after the first, and deposits for each success.
    ///
    /// A call that is dropped while it waits has spent what was withdrawn for it, as with
    /// [`tower::retry`]: a budget has no way to give back.
    #[must_use]
    pub fn budget(mut self, budget: Arc<dyn Budget + Send + Sync>) -> Self {
        self.policy.budget = Some(budget);
        self
    }

    setters!(policy.settings);

    /// How long to wait where the provider does not say.
    pub fn delays<N>(self, delays: N) -> BackoffLayer<N, P> {
        let policy = self.policy;
        BackoffLayer {
            policy: Policy {
                attempts: policy.attempts,
                delays,
                jitter: policy.jitter,
                max_wait: policy.max_wait,
                trigger: policy.trigger,
                budget: policy.budget,
                seeds: policy.seeds,
                settings: policy.settings,
            },
        }
    }

    /// Waits on these errors of the inner service too. Such a request may have been processed.
    ///
    /// The log and the [trail](crate::trail::Attempt::error) then say what the error was.
    pub fn on_error<F, E, K>(self, error: F) -> BackoffLayer<D, IfError<F, E>>
    where
        F: Fn(&E) -> bool,
        E: AsError<K>,
    {
        let policy = self.policy;
        BackoffLayer {
            policy: Policy {
                attempts: policy.attempts,
                delays: policy.delays,
                jitter: policy.jitter,
                max_wait: policy.max_wait,
                trigger: policy.trigger.on_error(error),
                budget: policy.budget,
                seeds: policy.seeds,
                settings: policy.settings,
            },
        }
    }
}

impl<S, D: Clone, P: Clone> Layer<S> for BackoffLayer<D, P> {
    type Service = Backoff<S, D, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Backoff {
            inner,
            policy: Arc::new(self.policy.clone()),
        }
    }
}

impl<D: fmt::Debug, P: fmt::Debug> fmt::Debug for BackoffLayer<D, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}

// === impl Policy ===

impl<D, P> Policy<D, P> {
    pub(super) fn next_seed(&self) -> u64 {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }
}

impl<D: fmt::Debug, P: fmt::Debug> fmt::Debug for Policy<D, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackoffLayer")
            .field("attempts", &self.attempts)
            .field("delays", &self.delays)
            .field("jitter", &self.jitter)
            .field("max_wait", &self.max_wait)
            .field("trigger", &self.trigger)
            .field("budget", &self.budget.is_some())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
