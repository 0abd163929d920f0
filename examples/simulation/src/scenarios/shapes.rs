//! Slow responses, keys of one account, and thousands of workers.

use std::time::Duration;

use super::{MINUTE, Scenario, four_keys, silent};
use crate::provider::{
    limits::Limit,
    plan::{Account, Headers, Hint, Plan},
};

const LIMIT: Limit = Limit::Fixed(60, MINUTE);

pub(super) fn all() -> Vec<Scenario> {
    let hinted = Plan::new(LIMIT, Headers::OnRejections, Hint::Exact);
    vec![
        slow_answers("answers of 5 to 30 s, hints", hinted),
        slow_answers("answers of 5 to 30 s, silent", silent(LIMIT)),
        one_account("one account, named", Account::Named, 20),
        one_account("one account, unnamed", Account::Unnamed, 60),
        thousands(),
    ]
}

/// Responses that take as long as those of reasoning models.
fn slow_answers(name: &str, plan: Plan) -> Scenario {
    let mut scenario = four_keys(name, plan, 960, (1.05, 80));
    scenario.plan.thinks = (Duration::from_secs(5), Duration::from_secs(30));
    scenario.workers = 256;
    scenario
}

/// Four keys with the limit of one, which the caller has not grouped.
fn one_account(name: &str, account: Account, wasted: usize) -> Scenario {
    let plan = Plan::new(LIMIT, Headers::Always, Hint::Exact);
    let mut scenario = four_keys(name, plan, 240, (1.05, wasted));
    scenario.plan.account = Some(account);
    scenario
}

fn thousands() -> Scenario {
    let limit = Limit::Fixed(5_000, MINUTE);
    let plan = Plan::new(limit, Headers::Always, Hint::Exact);
    let mut scenario = four_keys("3,000 workers, 5,000 a minute", plan, 40_000, (1.03, 10));
    scenario.workers = 3_000;
    scenario
}
