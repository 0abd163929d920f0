//! One process that shares through an engine is compared with the same process without one. It must not be worse.

use std::ops::RangeInclusive;

use crate::{
    Error,
    fleet::{Fleet, Knows},
    parallel::run_all,
    run::{Run, Stack},
    scenarios::Scenario,
    table,
};

/// How much longer all calls may take, on average over the seeds.
const LONGER: f64 = 1.02;

/// How many more 429s are allowed, on average over the seeds.
const MORE_WASTED: f64 = 2.0;

/// The rows that are worse by more with seeds 1 to 4. The numbers are how many more 429s are allowed, and how much
/// longer all calls may take.
///
/// Calls that wait for a lease are sent together when it comes. If a limit is not reported, or reported wrongly, more
/// of them are then in flight when the first is rejected. The other rows differ by chance.
#[rustfmt::skip]
const WORSE: &[(&str, f64, f64)] = &[
    ("headers on 429s", 11.0, LONGER),
    ("lie: too little left", 26.0, LONGER),
    ("lie: nothing left", 26.0, LONGER),
    ("lie: nothing for 0.3 s", 7.0, LONGER),
    ("silent: 60 in 60 s, bucket", 15.0, LONGER),
    ("answers of 5 to 30 s, hints", 11.0, LONGER),
    ("one account, unnamed", 5.0, LONGER),
    ("20 % 429: K.w, least loaded", 5.0, LONGER),
    ("20 % 429: B > K.w, least loaded", 5.0, LONGER),
    ("20 a second: F > B > K", 16.0, LONGER),
    ("tokens: fixed, silent", 5.0, LONGER),
    ("tokens: bucket, silent", MORE_WASTED, 1.05),
    ("tokens: large, bucket", MORE_WASTED, 1.03),
    ("in flight: 1, in words", 3.0, LONGER),
];

/// Prints both rows of each scenario, and fails if one is worse.
pub(crate) fn compare(scenarios: &[Scenario], seeds: RangeInclusive<u64>) -> Result<(), Error> {
    let mut worse = Vec::new();
    let of_one = scenarios.iter().filter(|scenario| can_share(scenario));
    for scenario in of_one {
        println!("{}", table::spread_heading(scenario));
        let apart = runs(scenario, seeds.clone())?;
        println!("{}", table::Spread(&scenario.name, scenario, &apart));
        let mut sharing = scenario.clone();
        sharing.setup.fleet = Fleet::ONE_SHARED;
        let shared = runs(&sharing, seeds.clone())?;
        println!("{}", table::Spread("  shared", scenario, &shared));
        let took = |run: &Run| run.took.as_secs_f64();
        let (before, now) = (mean(&apart, took), mean(&shared, took));
        let (more, longer) = allowed(&scenario.name);
        if now > before * longer {
            worse.push(format!("{}: {now:.2} s, not {before:.2} s", scenario.name));
        }
        let wasted = |run: &Run| run.wasted(scenario) as f64;
        let (before, now) = (mean(&apart, wasted), mean(&shared, wasted));
        if now > before + more {
            worse.push(format!("{}: {now:.1} 429s, not {before:.1}", scenario.name));
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(worse.join("\n").into()),
    }
}

/// Returns how many more 429s a row may have, and how much longer it may take.
fn allowed(row: &str) -> (f64, f64) {
    let worse = WORSE.iter().find(|(name, ..)| *name == row);
    worse.map_or((MORE_WASTED, LONGER), |(_, more, longer)| (*more, *longer))
}

fn can_share(scenario: &Scenario) -> bool {
    let is_alone = matches!(scenario.setup.fleet.knows, Knows::Nothing);
    let has_pool = matches!(scenario.stack, Stack::Ours | Stack::Ordered(_));
    is_alone && has_pool && scenario.setup.fleet.processes == 1
}

fn runs(scenario: &Scenario, seeds: RangeInclusive<u64>) -> Result<Vec<Run>, Error> {
    let jobs = seeds.map(|seed| (scenario, scenario.stack, seed));
    run_all(&jobs.collect::<Vec<_>>())
}

fn mean(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(value).sum::<f64>() / runs.len().max(1) as f64
}
