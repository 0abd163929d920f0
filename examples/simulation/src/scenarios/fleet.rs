//! Several processes with the same keys. Together they have as many callers as one process in the other scenarios.

use super::{
    Scenario,
    earlier::{FIXED, WINDOW, four_keys},
};
use crate::{
    fleet::{Fleet, Knows},
    provider::{limits::Limit, plan::Headers},
};

const BUCKET: Limit = Limit::Bucket(50, WINDOW);
const SLIDING: Limit = Limit::Sliding(50, WINDOW);

pub(super) fn all() -> Vec<Scenario> {
    let providers = [("fixed", FIXED), ("bucket", BUCKET), ("sliding", SLIDING)];
    // The most 429s if the processes know how many there are.
    let counted = [(4, [120, 150, 110]), (16, [240, 240, 260])];
    let mut scenarios = Vec::new();
    for (processes, wasted) in counted {
        for ((provider, limit), wasted) in providers.into_iter().zip(wasted) {
            scenarios.push(apart(provider, limit, processes));
            scenarios.push(with_count(provider, limit, processes, wasted));
        }
    }
    scenarios
}

/// Processes that know nothing of each other. It has no bar for 429s, and is the baseline of the others.
fn apart(provider: &str, limit: Limit, processes: u32) -> Scenario {
    let knows = Knows::Nothing;
    let name = format!("{provider}: P = {processes} apart");
    of_fleet(name, limit, Fleet { processes, knows })
}

/// Processes that know how many there are.
fn with_count(provider: &str, limit: Limit, processes: u32, wasted: usize) -> Scenario {
    let knows = Knows::Count;
    let name = format!("{provider}: replicas({processes})");
    let mut scenario = of_fleet(name, limit, Fleet { processes, knows });
    scenario.bar.wasted = wasted;
    scenario
}

fn of_fleet(name: String, limit: Limit, fleet: Fleet) -> Scenario {
    // If the last call needs another window, the ratio is 1.33.
    let mut scenario = four_keys(name, limit, Headers::Always, (1.36, usize::MAX));
    scenario.setup.fleet = fleet;
    scenario.by_hand = None;
    // No process knows the hints of another one, and 429s can use up the attempts of a call.
    (scenario.bar.early, scenario.bar.failed) = (usize::MAX, usize::MAX);
    scenario
}
