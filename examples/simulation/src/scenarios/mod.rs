//! The scenarios, and the bars for this crate's stack, with one file per topic.

mod background;
mod backoff;
mod earlier;
mod fallback;
mod fleet;
mod ideal;
mod in_flight;
mod keys;
mod shapes;
mod tokens;
mod unreported;

use std::time::Duration;

pub(crate) use self::earlier::{WINDOW, model_fallback, over_loopback};
use crate::{
    bar::Bar,
    fleet::Fleet,
    provider::{
        limits::Limit,
        plan::{Headers, Hint, Plan},
    },
    run::Stack,
    stacks::{Choice, Setup},
    work::Draw,
};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Scenario {
    /// At most 30 columns.
    pub(crate) name: String,
    pub(crate) plan: Plan,
    pub(crate) setup: Setup,
    /// This crate's stack.
    pub(crate) stack: Stack,
    pub(crate) calls: usize,
    /// The number of sessions that the calls belong to. Zero means no sessions.
    pub(crate) sessions: usize,
    /// Whether the stack knows the sessions.
    pub(crate) names_sessions: bool,
    /// The most calls at once.
    pub(crate) workers: usize,
    /// The time from a call to the next. If it is zero, a call begins as soon as a worker is free.
    pub(crate) apart: Duration,
    /// What each call requests. `None` is a minimal request.
    pub(crate) draw: Option<Draw>,
    pub(crate) background: Option<Background>,
    /// The stack that a user would write without this crate, if the table compares it.
    pub(crate) by_hand: Option<Stack>,
    pub(crate) bar: Bar,
}

/// Calls that are sent beside the others as fast as the limits allow. The run does not wait for their end.
#[derive(Clone, Copy)]
pub(crate) struct Background {
    pub(crate) draw: Draw,
    pub(crate) workers: usize,
    pub(crate) lasts: Duration,
}

const FOUR: &[(&str, &str)] = &[("a", "a"), ("b", "b"), ("c", "c"), ("d", "d")];

pub(crate) fn all() -> Vec<Scenario> {
    let mut scenarios = earlier::all();
    scenarios.extend(unreported::all());
    scenarios.extend(shapes::all());
    scenarios.extend(backoff::all());
    scenarios.extend(keys::all());
    scenarios.extend(fallback::all());
    scenarios.extend(tokens::all());
    scenarios.extend(in_flight::all());
    scenarios.extend(background::all());
    scenarios.extend(fleet::all());
    scenarios
}

/// Four keys for 64 workers that send as fast as they can, with default settings.
///
/// The bar is a pair: the time over ideal, and the wasted 429s.
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
            fleet: Fleet::ONE,
        },
        stack: Stack::Ours,
        calls,
        sessions: 0,
        names_sessions: true,
        workers: 64,
        apart: Duration::ZERO,
        draw: None,
        background: None,
        by_hand: Some(Stack::ByHand),
        bar: Bar {
            over_ideal,
            wasted,
            ..Bar::NONE
        },
    }
}

/// Sets calls that begin at 30 per second for a minute, however many are in flight, and take 0.35 s on average.
fn steady(mut scenario: Scenario) -> Scenario {
    scenario.calls = 1_800;
    scenario.apart = MINUTE / 1_800;
    scenario.workers = scenario.calls;
    let thinks = Duration::from_millis(300);
    scenario.plan.thinks = (thinks, thinks);
    scenario
}

/// Returns a provider that reports nothing.
fn silent(limit: Limit) -> Plan {
    Plan::new(limit, Headers::Never, Hint::None)
}
