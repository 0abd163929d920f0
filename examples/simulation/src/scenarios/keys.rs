//! Keys that fail at random, have unequal limits or are revoked, for calls that begin at a fixed rate of 10 or 30 per
//! second.

use std::time::Duration;

use super::{MINUTE, Scenario, four_keys, silent, steady};
use crate::{
    orders::{
        Order,
        Part::{Backoff, KeyRotation},
        Waits,
    },
    provider::{
        limits::Limit,
        plan::{Accidents, Headers, Hint, Plan},
    },
    run::Stack,
    stacks::Choice,
};

const CHOICES: [(&str, Choice); 3] = [
    ("fill first", Choice::FillFirst),
    ("round robin", Choice::RoundRobin),
    ("least loaded", Choice::LeastLoaded),
];

const STACKS: [(&str, Order); 3] = [("K", ALONE), ("K.w", WAITING), ("B > K.w", INSIDE_BACKOFF)];
const ALONE: Order = Order(&[KeyRotation], Waits::Neither);
const WAITING: Order = Order(&[KeyRotation], Waits::Keys);
const INSIDE_BACKOFF: Order = Order(&[Backoff, KeyRotation], Waits::Keys);

/// More than any scenario needs.
const AMPLE: Limit = Limit::Bucket(100_000, MINUTE);
const UNBOUNDED: (f64, usize) = (f64::INFINITY, usize::MAX);

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for percent in [5, 20] {
        for (stack, order) in STACKS {
            scenarios.extend(of_choices(|choice| {
                let name = format!("{percent} % 429: {stack}, {choice}");
                accidents(name, percent, order)
            }));
        }
    }
    for (reports, headers) in [("told", Headers::Always), ("untold", Headers::Never)] {
        let hint = match headers {
            Headers::Always => Hint::Exact,
            _ => Hint::None,
        };
        scenarios.extend(of_choices(|choice| {
            let name = format!("unequal, {reports}, {choice}");
            unequal(name, headers, hint)
        }));
    }
    scenarios.extend(of_choices(|choice| {
        revoked(format!("revoked key, {choice}"))
    }));
    scenarios
}

/// Builds a scenario with each choice of keys. The policy by hand has no such choice, so it runs once.
fn of_choices(scenario: impl Fn(&str) -> Scenario) -> [Scenario; 3] {
    CHOICES.map(|(name, choice)| {
        let mut scenario = scenario(name);
        scenario.setup.choice = choice;
        if choice != Choice::FillFirst {
            scenario.by_hand = None;
        }
        scenario
    })
}

/// Some requests are rejected at random, without a hint.
fn accidents(name: String, percent: u32, order: Order) -> Scenario {
    let mut scenario = steady(four_keys(name, silent(AMPLE), 0, UNBOUNDED));
    scenario.plan.accidents = Some(Accidents {
        percent,
        status: 429,
    });
    scenario.stack = Stack::Ordered(order);
    if order != ALONE {
        scenario.by_hand = None;
    }
    scenario.bar.p50 = Duration::from_millis(400);
    scenario.bar.p99 = Duration::from_millis(1_500);
    scenario.bar.failed = match (order == ALONE, percent) {
        (false, _) => 0,
        // Two of a thousand.
        (true, 5) => scenario.calls / 500,
        (true, _) => usize::MAX,
    };
    scenario
}

/// Four keys with 20, 60, 60 and 600 requests per minute get 10 calls per second, which is 81 % of the quota.
fn unequal(name: String, headers: Headers, hint: Hint) -> Scenario {
    let plan = Plan::new(Limit::Fixed(600, MINUTE), headers, hint);
    let mut scenario = ten_a_second(name, plan);
    scenario.plan.sizes = vec![("a", 20), ("b", 60), ("c", 60)];
    scenario
}

/// One of four keys is rejected from second 20 on.
fn revoked(name: String) -> Scenario {
    let mut scenario = ten_a_second(name, silent(AMPLE));
    scenario.plan.revoked = Some(("a", Duration::from_secs(20)));
    scenario.bar.dead = REVOKED;
    scenario
}

fn ten_a_second(name: String, plan: Plan) -> Scenario {
    let mut scenario = steady(four_keys(name, plan, 0, UNBOUNDED));
    scenario.calls = 600;
    scenario.apart = MINUTE / 600;
    scenario.stack = Stack::Ordered(INSIDE_BACKOFF);
    scenario.bar.p99 = Duration::from_secs(1);
    scenario
}

/// The most requests with a revoked key: those in flight, and a few probes.
const REVOKED: usize = 4;
