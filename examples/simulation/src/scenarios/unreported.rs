//! Providers that do not report their limits in headers. They report nothing, only a message, or whole seconds.

use std::time::Duration;

use super::{MINUTE, Scenario, four_keys, silent};
use crate::provider::{
    limits::Limit,
    plan::{Headers, Hint, Plan},
};

const SECOND: Duration = Duration::from_secs(1);
const TEN: Duration = Duration::from_secs(10);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

pub(super) fn all() -> Vec<Scenario> {
    let mut scenarios: Vec<_> = nothing().collect();
    scenarios.extend(words());
    scenarios.extend(whole_seconds());
    scenarios
}

fn nothing() -> impl Iterator<Item = Scenario> {
    let windows = [
        (5, SECOND, 400, (1.25, 80)),
        (1, SECOND, 100, (1.35, 80)),
        (20, TEN, 400, (1.25, 80)),
        (60, MINUTE, 960, (1.10, 70)),
        (100, FIVE_MINUTES, 800, (1.10, 70)),
    ];
    windows.into_iter().flat_map(|(size, window, calls, bar)| {
        let limits = [
            ("fixed", Limit::Fixed(size, window)),
            ("bucket", Limit::Bucket(size, window)),
        ];
        limits.map(|(kind, limit)| {
            let name = format!("silent: {size} in {} s, {kind}", window.as_secs());
            four_keys(name, silent(limit), calls, bar)
        })
    })
}

/// Builds scenarios in which the body of a rejection names the limit and its window.
fn words() -> impl Iterator<Item = Scenario> {
    let windows = [
        (5, SECOND, 400, "words: requests per second"),
        (60, MINUTE, 960, "words: requests per minute"),
    ];
    windows.into_iter().map(|(size, window, calls, name)| {
        let mut plan = silent(Limit::Fixed(size, window));
        plan.names_window = true;
        four_keys(name, plan, calls, (1.10, 40))
    })
}

/// Builds scenarios in which rejections have `retry-after` in whole seconds, and successes report nothing.
fn whole_seconds() -> impl Iterator<Item = Scenario> {
    let buckets = [(60, MINUTE, 960, 120), (5, SECOND, 400, 40)];
    buckets.into_iter().map(|(size, window, calls, wasted)| {
        let limit = Limit::Bucket(size, window);
        let plan = Plan::new(limit, Headers::Never, Hint::WholeSeconds);
        let name = format!("whole seconds: {size} in {} s", window.as_secs());
        four_keys(name, plan, calls, (1.05, wasted))
    })
}
