//! Several processes with the same keys. Together they have as many callers as one process in the other scenarios.

use std::time::Duration;

use super::{
    MINUTE, Scenario,
    earlier::{FIXED, WINDOW, four_keys},
    tokens,
};
use crate::{
    fleet::{Fleet, Knows, Trouble},
    provider::{
        limits::Limit,
        plan::{Account, Headers},
    },
    run::Run,
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
    scenarios.extend(through_an_engine());
    scenarios.extend(in_trouble());
    scenarios.extend(in_tokens());
    scenarios.push(in_minutes());
    scenarios
}

/// Processes that share through an engine so many milliseconds away.
fn through_an_engine() -> Vec<Scenario> {
    let bar = |over_ideal, wasted| (over_ideal, wasted, 0);
    vec![
        shared("fixed", FIXED, (1, 1), bar(1.02, 2)),
        shared("fixed", FIXED, (16, 1), bar(1.05, 4)),
        in_time(shared("fixed", FIXED, (16, 1), bar(1.05, 4))),
        in_time(shared("fixed", FIXED, (16, 50), bar(1.05, 4))),
        in_time(shared("bucket", BUCKET, (16, 1), bar(1.10, 24))),
        in_time(shared("bucket", BUCKET, (16, 50), bar(1.10, 24))),
        in_time(shared("sliding", SLIDING, (16, 1), bar(1.10, 24))),
        in_time(shared("sliding", SLIDING, (16, 50), bar(1.10, 24))),
        untold("untold", Headers::Never, bar(1.36, 148)),
        untold("on 429s", Headers::OnRejections, bar(1.36, 148)),
    ]
}

/// Heavy load, dead keys, processes that come and go, and an engine that is away.
fn in_trouble() -> Vec<Scenario> {
    let mut heavy = shared("heavy", FIXED, (16, 50), (1.36, 8, 0));
    (heavy.calls, heavy.workers) = (1_600, 64 * 16);
    let two_dead = dead(shared("two dead", FIXED, (16, 50), (1.36, 8, 0)), 6);
    let mut replaced = dead(shared("replaced", FIXED, (4, 50), (1.36, 12, 0)), 8);
    replaced.setup.fleet.trouble = Trouble::Replaced;
    replaced.calls = 800;
    let mut outage = shared("outage", FIXED, (16, 1), (1.36, 120, 0));
    outage.setup.fleet.trouble = Trouble::Outage;
    outage.bar.also = Some(in_windows_of_outage);
    vec![heavy, two_dead, replaced, outage, one_account()]
}

/// A load as in production, with few exchanges for each call.
fn in_minutes() -> Scenario {
    let mut scenario = shared(
        "minutes",
        Limit::Fixed(500, MINUTE),
        (16, 10),
        (1.05, 16, 0),
    );
    (scenario.calls, scenario.workers) = (3_800, 256);
    scenario.bar.exchanges = 0.7;
    scenario
}

/// Keys of one account, which responses name while requests of each process are in flight. The calls are for whole
/// windows, so that a place that is lost costs a window.
fn one_account() -> Scenario {
    let mut scenario = shared("account", Limit::Fixed(60, MINUTE), (4, 1), (1.05, 125, 0));
    scenario.plan.account = Some(Account::Named);
    (scenario.calls, scenario.workers) = (240, 64);
    scenario
}

/// Checks the 429s of each window. The engine is away in parts of the second and third. In a window of `replicas(16)`,
/// there are at least 60.
fn in_windows_of_outage(run: &Run) -> Result<(), String> {
    let length = WINDOW.as_secs();
    let mut wasted = [0_usize; 4];
    for entry in run.log.iter().filter(|entry| entry.status == 429) {
        let window = usize::try_from(entry.at.as_secs() / length).unwrap_or(usize::MAX);
        wasted[window.min(wasted.len() - 1)] += 1;
    }
    match wasted {
        [_, ..=66, ..=66, ..=8] => Ok(()),
        _ => Err(format!("{wasted:?} 429s by window")),
    }
}

/// Limits in tokens.
fn in_tokens() -> Vec<Scenario> {
    let (fixed, bucket) = (tokens::FIXED, tokens::BUCKET);
    vec![
        of_tokens("fixed", fixed, (16, 1), (1.05, 16)),
        of_tokens("fixed", fixed, (16, 50), (1.05, 16)),
        of_tokens("bucket", bucket, (4, 1), (1.10, 16)),
        of_tokens("bucket", bucket, (16, 1), (1.10, 16)),
        of_tokens("bucket", bucket, (16, 50), (1.10, 16)),
    ]
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

/// So many processes, and how many milliseconds the engine is away.
fn shared(
    provider: &str,
    limit: Limit,
    (processes, delay): (u32, u64),
    (over_ideal, wasted, failed): (f64, usize, usize),
) -> Scenario {
    let knows = Knows::Shared(Duration::from_millis(delay));
    let name = format!("{provider}: {processes} shared, {delay} ms");
    let mut scenario = of_fleet(name, limit, (processes, knows));
    let bar = &mut scenario.bar;
    (bar.over_ideal, bar.wasted, bar.failed) = (over_ideal, wasted, failed);
    scenario
}

/// Most or all responses report nothing.
fn untold(name: &str, headers: Headers, bar: (f64, usize, usize)) -> Scenario {
    let mut scenario = shared(name, FIXED, (16, 50), bar);
    scenario.plan.headers = headers;
    scenario
}

/// The same with calls for less than whole windows, so that no call needs another window.
fn in_time(mut scenario: Scenario) -> Scenario {
    scenario.name += ", 780";
    scenario.calls = 780;
    scenario
}

fn of_tokens(
    kind: &str,
    limit: Limit,
    (processes, delay): (u32, u64),
    bar: (f64, usize),
) -> Scenario {
    let plan = tokens::plan(limit, Headers::Always);
    let name = format!("{kind}: {processes}, {delay} ms");
    let mut scenario = tokens::mixed(&name, plan, bar);
    scenario.setup.fleet = Fleet {
        processes,
        knows: Knows::Shared(Duration::from_millis(delay)),
        trouble: Trouble::None,
    };
    scenario.by_hand = None;
    scenario.bar.early = usize::MAX;
    scenario
}

/// Two of the four keys do not work, and get so many requests at most.
fn dead(mut scenario: Scenario, requests: usize) -> Scenario {
    (scenario.plan.rejected, scenario.plan.out_of_quota) = (Some("a"), Some("c"));
    scenario.calls = 400;
    scenario.bar.dead = requests;
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
