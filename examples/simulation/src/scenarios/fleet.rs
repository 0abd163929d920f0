//! Several processes with the same keys. Together they have as many callers as one process in the other scenarios.

use std::time::Duration;

use super::{
    Scenario,
    earlier::{FIXED, WINDOW, four_keys},
    tokens,
};
use crate::{
    fleet::{Fleet, Knows, Trouble},
    provider::{limits::Limit, plan::Headers},
};

const BUCKET: Limit = Limit::Bucket(50, WINDOW);
const SLIDING: Limit = Limit::Sliding(50, WINDOW);

/// How far away the engine is, in milliseconds.
const DELAYS: [u64; 2] = [1, 50];

pub(super) fn all() -> Vec<Scenario> {
    let providers = [("fixed", FIXED), ("bucket", BUCKET), ("sliding", SLIDING)];
    // The most 429s if the processes know how many there are.
    let counted = [(4, [120, 150, 110]), (16, [240, 240, 260])];
    let mut scenarios = Vec::new();
    for (processes, wasted) in counted {
        for ((provider, limit), wasted) in providers.into_iter().zip(wasted) {
            scenarios.push(apart(provider, limit, processes));
            scenarios.push(with_count(provider, limit, processes, wasted));
            for delay in DELAYS {
                let scenario = shared(provider, limit, processes, delay);
                scenarios.push(in_time(shared(provider, limit, processes, delay)));
                scenarios.push(scenario);
            }
        }
        for delay in DELAYS {
            for (headers, name) in [
                (Headers::Never, "untold"),
                (Headers::OnRejections, "on 429s"),
            ] {
                let mut scenario = shared(name, FIXED, processes, delay);
                scenario.plan.headers = headers;
                scenarios.push(scenario);
            }
        }
    }
    for (kind, limit) in [("fixed", tokens::FIXED), ("bucket", tokens::BUCKET)] {
        scenarios.push(in_tokens(kind, limit, (16, Knows::Nothing)));
        scenarios.push(in_tokens(kind, limit, (16, Knows::Count)));
        for processes in [1, 4, 16] {
            for delay in DELAYS {
                let knows = Knows::Shared(Duration::from_millis(delay));
                scenarios.push(in_tokens(kind, limit, (processes, knows)));
            }
        }
    }
    for delay in DELAYS {
        let mut heavy = shared("heavy", FIXED, 16, delay);
        (heavy.calls, heavy.workers) = (1_600, 64 * 16);
        scenarios.push(heavy);
        scenarios.push(dead(shared("two dead", FIXED, 16, delay)));
        let mut replaced = dead(shared("replaced", FIXED, 4, delay));
        replaced.setup.fleet.trouble = Trouble::Replaced;
        replaced.calls = 800;
        scenarios.push(replaced);
        let mut outage = shared("outage", FIXED, 16, delay);
        outage.setup.fleet.trouble = Trouble::Outage;
        scenarios.push(outage);
    }
    scenarios
}

/// Processes that know nothing of each other. It has no bar for 429s, and is the baseline of the others.
fn apart(provider: &str, limit: Limit, processes: u32) -> Scenario {
    let name = format!("{provider}: P = {processes} apart");
    of_fleet(name, limit, (processes, Knows::Nothing))
}

/// Processes that know how many there are.
fn with_count(provider: &str, limit: Limit, processes: u32, wasted: usize) -> Scenario {
    let name = format!("{provider}: replicas({processes})");
    let mut scenario = of_fleet(name, limit, (processes, Knows::Count));
    scenario.bar.wasted = wasted;
    scenario
}

/// Processes that share through an engine.
fn shared(provider: &str, limit: Limit, processes: u32, delay: u64) -> Scenario {
    let knows = Knows::Shared(Duration::from_millis(delay));
    let name = format!("{provider}: {processes} shared, {delay} ms");
    of_fleet(name, limit, (processes, knows))
}

/// The same with calls for less than whole windows, so that no call needs another window.
fn in_time(mut scenario: Scenario) -> Scenario {
    scenario.name += ", 780";
    scenario.calls = 780;
    scenario
}

/// Limits in tokens.
fn in_tokens(kind: &str, limit: Limit, (processes, knows): (u32, Knows)) -> Scenario {
    let plan = tokens::plan(limit, Headers::Always);
    let name = match knows {
        Knows::Nothing => format!("{kind}: {processes} apart"),
        Knows::Count => format!("{kind}: replicas({processes})"),
        Knows::Shared(delay) => format!("{kind}: {processes} shared, {} ms", delay.as_millis()),
    };
    let mut scenario = tokens::mixed(&name, plan, (1.36, usize::MAX));
    scenario.setup.fleet = Fleet {
        processes,
        knows,
        trouble: Trouble::None,
    };
    scenario.by_hand = None;
    (scenario.bar.early, scenario.bar.failed) = (usize::MAX, usize::MAX);
    scenario
}

/// Two of the four keys do not work.
fn dead(mut scenario: Scenario) -> Scenario {
    (scenario.plan.rejected, scenario.plan.out_of_quota) = (Some("a"), Some("c"));
    scenario.calls = 400;
    scenario.bar.dead = usize::MAX;
    scenario
}

fn of_fleet(name: String, limit: Limit, (processes, knows): (u32, Knows)) -> Scenario {
    // If the last call needs another window, the ratio is 1.33.
    let mut scenario = four_keys(name, limit, Headers::Always, (1.36, usize::MAX));
    scenario.setup.fleet = Fleet {
        processes,
        knows,
        trouble: Trouble::None,
    };
    scenario.by_hand = None;
    // No process knows the hints of another one, and 429s can use up the attempts of a call.
    (scenario.bar.early, scenario.bar.failed) = (usize::MAX, usize::MAX);
    scenario
}
