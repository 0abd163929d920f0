//! The scenarios, and the bars for this crate's stack. A theme has a file.

mod backoff;
mod earlier;
mod fallback;
mod keys;
mod shapes;
mod untold;

use std::time::Duration;

pub(crate) use self::earlier::{WINDOW, model_fallback, over_loopback};
use crate::{
    bar::Bar,
    provider::{
        ROUND_TRIP,
        limits::Limit,
        plan::{Headers, Hint, Plan},
    },
    run::Stack,
    stacks::{Choice, Setup},
};

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) struct Scenario {
    /// At most 30 columns.
    pub(crate) name: String,
    pub(crate) plan: Plan,
    pub(crate) setup: Setup,
    /// This crate's stack.
    pub(crate) stack: Stack,
    pub(crate) calls: usize,
    /// How many sessions the calls belong to; none if zero.
    pub(crate) sessions: usize,
    /// Whether the stack knows the sessions.
    pub(crate) names_sessions: bool,
    /// How many calls there are at once.
    pub(crate) workers: usize,
    /// How long after a call the next comes; zero if it comes as soon as a worker is free.
    pub(crate) apart: Duration,
    /// What a user would write without this crate, if that is to be seen beside it.
    pub(crate) by_hand: Option<Stack>,
    pub(crate) bar: Bar,
}

const FOUR: &[(&str, &str)] = &[("a", "a"), ("b", "b"), ("c", "c"), ("d", "d")];

pub(crate) fn all() -> Vec<Scenario> {
    let mut scenarios = earlier::all();
    scenarios.extend(untold::all());
    scenarios.extend(shapes::all());
    scenarios.extend(backoff::all());
    scenarios.extend(keys::all());
    scenarios.extend(fallback::all());
    scenarios
}

/// Four keys for 64 workers that send as fast as they can, with default settings.
///
/// A bar is the time over ideal, and 429s.
fn four_keys(
    name: impl Into<String>,
    plan: Plan,
    calls: usize,
    (over_ideal, wasted): (f64, usize),
) -> Scenario {
    Scenario {
        name: name.into(),
        plan,
        setup: Setup {
            keys: FOUR,
            choice: Choice::FillFirst,
            fallback: None,
            delay: Duration::from_secs(1),
        },
        stack: Stack::Ours,
        calls,
        sessions: 0,
        names_sessions: true,
        workers: 64,
        apart: Duration::ZERO,
        by_hand: Some(Stack::ByHand),
        bar: Bar {
            over_ideal,
            wasted,
            ..Bar::NONE
        },
    }
}

/// Calls that begin 30 a second for a minute, however many are under way, and last 0.35 s on average.
fn steady(mut scenario: Scenario) -> Scenario {
    scenario.calls = 1_800;
    scenario.apart = MINUTE / 1_800;
    scenario.workers = scenario.calls;
    let thinks = Duration::from_millis(300);
    scenario.plan.thinks = (thinks, thinks);
    scenario
}

/// A provider that reports nothing.
fn silent(limit: Limit) -> Plan {
    Plan::new(limit, Headers::Never, Hint::None)
}

// === impl Scenario ===

impl Scenario {
    /// The least time that the limits and the way to the provider allow.
    pub(crate) fn ideal(&self) -> Duration {
        let plan = &self.plan;
        let mut accounts: Vec<_> = self.setup.keys.iter().collect();
        accounts.retain(|(key, _)| !plan.is_dead(key));
        accounts.dedup_by_key(|(_, group)| *group);
        if plan.account.is_some() {
            accounts.truncate(1);
        }
        let of_key = |key: &str| -> u32 {
            let limits = plan.models.iter();
            let limits = limits.filter_map(|(model, _)| plan.limit(key, model));
            limits.map(Limit::size).sum()
        };
        let per_window: u32 = accounts.iter().map(|(key, _)| of_key(key)).sum();
        let Some((_, limit)) = plan.models.first() else {
            return Duration::ZERO;
        };
        let limit = limit.of_size(per_window);
        // What the last window is left with goes out in rounds of as many as there are workers.
        let per_window = per_window as usize;
        let last = match (limit, self.calls % per_window) {
            (Limit::Bucket(..), _) => 1,
            (_, 0) => per_window,
            (_, rest) => rest,
        };
        let rounds = u32::try_from(last.div_ceil(self.workers)).unwrap_or(u32::MAX);
        let round = ROUND_TRIP + plan.thinks.1;
        let least = limit.least_time(self.calls as f64);
        let limited = Duration::from_secs_f64(least) + round * rounds;
        let last = u32::try_from(self.calls.saturating_sub(1)).unwrap_or(u32::MAX);
        limited.max(self.apart * last + round)
    }
}
