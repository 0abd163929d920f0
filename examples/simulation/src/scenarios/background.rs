//! A background batch that uses all the capacity it gets, and one user's call every quarter of a second.

use std::time::Duration;

use super::{Background, MINUTE, Scenario, WINDOW, four_keys};
use crate::{
    provider::{
        ROUND_TRIP,
        limits::Limit,
        meters::Unit,
        plan::{Headers, Hint, Plan},
    },
    work::{Draw, Work, log_uniform},
};

/// A limit in requests that no scenario reaches.
const AMPLE: Limit = Limit::Bucket(100_000, MINUTE);

/// Five windows.
const LASTS: Duration = Duration::from_secs(30);
const APART: Duration = Duration::from_millis(250);
const ANSWER: Duration = Duration::from_millis(300);

pub(super) fn all() -> Vec<Scenario> {
    let plan = |requests, tokens: &[Limit]| {
        let mut plan = Plan::new(requests, Headers::Always, Hint::Exact);
        plan.tokens = tokens.iter().map(|limit| (Unit::Tokens, *limit)).collect();
        plan
    };
    let tokens = |limit| plan(AMPLE, &[limit]);
    vec![
        scenario("requests, fixed", plan(Limit::Fixed(100, WINDOW), &[]), 4),
        scenario("requests, bucket", plan(Limit::Bucket(100, WINDOW), &[]), 8),
        scenario("tokens, fixed", tokens(Limit::Fixed(100_000, WINDOW)), 4),
        scenario("tokens, bucket", tokens(Limit::Bucket(100_000, WINDOW)), 16),
    ]
}

/// Builds a scenario in which the calls of users take 6 % of the quota.
fn scenario(name: &str, plan: Plan, wasted: usize) -> Scenario {
    let bar = (f64::INFINITY, wasted);
    let mut scenario = four_keys(format!("background: {name}"), plan, 0, bar);
    let user: Draw = |random, _| Work {
        answer: ANSWER,
        ..Work::reserving(random, 1_000)
    };
    let batch: Draw = |random, _| {
        let total = log_uniform(random, (200.0, 20_000.0));
        Work {
            answer: ANSWER,
            is_background: true,
            ..Work::reserving(random, total as u64)
        }
    };
    scenario.calls = 120;
    (scenario.workers, scenario.apart) = (scenario.calls, APART);
    scenario.draw = Some(user);
    scenario.background = Some(Background {
        draw: batch,
        workers: 64,
        lasts: LASTS,
    });
    scenario.bar.p99 = ROUND_TRIP + ANSWER + Duration::from_millis(600);
    scenario.bar.unused_by_background = 0.15;
    scenario
}
