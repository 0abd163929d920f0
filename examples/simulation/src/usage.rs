//! How much of the quota is used, and how long large calls wait.

use std::time::Duration;

use tower_429::Cost;

use crate::{
    provider::{Entry, limits::Limit, meters::Unit},
    run::Run,
    scenarios::Scenario,
    work::Work,
};

/// Returns the unit that a scenario tests, and its limit for each key.
fn binding(scenario: &Scenario) -> Option<(Unit, Limit)> {
    let plan = &scenario.plan;
    let requests = plan
        .models
        .first()
        .map(|(_, limit)| (Unit::Requests, *limit));
    plan.tokens.first().copied().or(requests)
}

/// Returns the largest unused share of a full window, relative to what the oracle uses of it.
pub(crate) fn unused(run: &Run, scenario: &Scenario) -> f64 {
    let Some((unit, limit)) = binding(scenario) else {
        return 0.0;
    };
    let (Some(draw), window) = (scenario.draw, limit.window()) else {
        return 0.0;
    };
    let number = |at: Duration| (at.as_nanos() / window.as_nanos()) as usize;
    let sums = |uses: &mut dyn Iterator<Item = (Duration, Cost)>| {
        let mut sums = Vec::new();
        for (at, cost) in uses {
            let number = number(at);
            sums.resize(sums.len().max(number + 1), 0.0);
            sums[number] += f64::from(unit.total(cost));
        }
        sums
    };
    let served = scenario.served(run.seed);
    let costs = (0..).map(|number| Work::of(draw, run.seed, number).cost);
    let by_oracle = sums(&mut served.iter().map(|served| served.at).zip(costs));
    let answered = run.log.iter().filter(|entry| entry.status == 200);
    let by_run = sums(&mut answered.map(|entry| (entry.at, entry.cost)));
    // The last window is left out, because it is not full.
    let full = by_oracle.len().saturating_sub(1);
    let windows = by_oracle.iter().take(full).enumerate();
    let shares = windows.map(|(number, most)| by_run.get(number).unwrap_or(&0.0) / most);
    1.0 - shares.fold(1.0, f64::min)
}

/// Returns the longest time of a call that needs half of a window or more.
pub(crate) fn longest_of_large(run: &Run, scenario: &Scenario) -> Duration {
    let (Some((unit, limit)), Some(draw)) = (binding(scenario), scenario.draw) else {
        return Duration::ZERO;
    };
    let is_large = |number| {
        let cost = Work::of(draw, run.seed, number).cost;
        unit.total(cost) >= limit.size() / 2
    };
    let calls = run.by_number.iter().enumerate();
    let large = calls.filter(|(number, _)| is_large(*number));
    large.map(|(_, took)| *took).max().unwrap_or_default()
}

/// Returns the share of the quota that the background calls leave unused.
pub(crate) fn unused_by_background(run: &Run, scenario: &Scenario) -> f64 {
    let (Some((unit, limit)), Some(background)) = (binding(scenario), scenario.background) else {
        return 0.0;
    };
    let is_answered = |entry: &&Entry| entry.is_background && entry.status == 200;
    let answered = run.log.iter().filter(is_answered);
    let used: f64 = answered
        .map(|entry| f64::from(unit.total(entry.cost)))
        .sum();
    1.0 - used / (limit.most_in(background.lasts) * scenario.setup.keys.len() as f64)
}
