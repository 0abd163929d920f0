//! The rows of the first seeds as a file, so that a change of behaviour is seen.

use std::{fmt::Write, ops::RangeInclusive, thread};

use crate::{
    Error,
    run::{Run, Stack, simulate},
    scenarios::{self, Scenario},
    table,
};

/// The seeds of the file.
const SEEDS: RangeInclusive<u64> = 1..=20;

/// Returns the rows of this crate's stacks for each seed, and the bars that they missed.
pub(crate) fn rows() -> Result<(String, Vec<String>), Error> {
    let mut rows = String::new();
    let mut misses = Vec::new();
    for scenario in &scenarios::all() {
        writeln!(rows, "{}", scenario.name)?;
        for run in &of_seeds(scenario, scenario.stack, SEEDS)? {
            let name = format!("  seed {}", run.seed);
            writeln!(rows, "{}", table::Row(&name, scenario, run))?;
            misses.extend(run.misses(scenario));
        }
    }
    Ok((rows, misses))
}

/// Runs a scenario with each seed, in two threads.
pub(crate) fn of_seeds(
    scenario: &Scenario,
    stack: Stack,
    seeds: RangeInclusive<u64>,
) -> Result<Vec<Run>, Error> {
    let (first, last) = seeds.into_inner();
    let half = first.midpoint(last);
    let run = |seeds: RangeInclusive<u64>| {
        let runs = seeds.map(|seed| simulate(scenario, stack, seed));
        runs.collect::<Result<Vec<_>, _>>()
    };
    // Each run seeds the random numbers of its own thread.
    let (first, last) = thread::scope(|scope| {
        let last = scope.spawn(|| run(half + 1..=last));
        let first = run(first..=half);
        (first, last.join())
    });
    let mut runs = first?;
    runs.extend(last.map_err(|_| "a run panicked")??);
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::rows;

    /// `cargo run --release --example simulation -- --golden` prints the file.
    #[test]
    fn every_row_is_as_recorded() {
        let recorded = include_str!("golden.txt");
        let (rows, misses) = rows().expect("no run ends with an error");
        assert!(misses.is_empty(), "{}", misses.join("\n"));
        for (row, recorded) in rows.lines().zip(recorded.lines()) {
            assert_eq!(row, recorded);
        }
        assert_eq!(rows.len(), recorded.len());
    }
}
