//! One process that shares through an engine, against the same process without: it must not be worse.

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
        if now > before * LONGER {
            worse.push(format!("{}: {now:.2} s, not {before:.2} s", scenario.name));
        }
        let wasted = |run: &Run| run.wasted(scenario) as f64;
        let (before, now) = (mean(&apart, wasted), mean(&shared, wasted));
        if now > before + MORE_WASTED {
            worse.push(format!("{}: {now:.1} 429s, not {before:.1}", scenario.name));
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(worse.join("\n").into()),
    }
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
