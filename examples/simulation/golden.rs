//! The rows of the first seeds as a file, so that a change of behaviour is seen.

use std::{fmt::Write, ops::RangeInclusive, thread};

use crate::{Error, run::simulate, scenarios, table};

/// How many seeds the file holds.
const SEEDS: u64 = 20;

/// Returns the rows of this crate's stacks for each seed, or the bars that a run missed.
pub(crate) fn rows() -> Result<String, Error> {
    let half = SEEDS / 2;
    let mut text = format!("{}\n", table::HEADING);
    // Each run seeds the random numbers of its own thread.
    let halves = thread::scope(|scope| {
        let halves = [1..=half, half + 1..=SEEDS].map(|seeds| scope.spawn(|| of_seeds(seeds)));
        halves.map(|half| half.join().unwrap_or_else(|_| Err("a run panicked".into())))
    });
    for half in halves {
        text.push_str(&half?);
    }
    Ok(text)
}

fn of_seeds(seeds: RangeInclusive<u64>) -> Result<String, Error> {
    let mut text = String::new();
    for seed in seeds {
        writeln!(text, "seed {seed}")?;
        for scenario in &scenarios::all() {
            let run = simulate(scenario, scenario.stack, seed)?;
            if let [miss, ..] = &*run.misses(scenario) {
                return Err(format!("seed {seed}, {}: {miss}", scenario.name).into());
            }
            writeln!(text, "{}", table::Row(scenario.name, scenario, &run))?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::rows;

    /// `cargo run --release --example simulation -- --golden` prints the file.
    #[test]
    fn every_row_is_as_recorded() {
        let recorded = include_str!("golden.txt");
        let rows = rows().expect("no run fails");
        for (row, recorded) in rows.lines().zip(recorded.lines()) {
            assert_eq!(row, recorded);
        }
        assert_eq!(rows.len(), recorded.len());
    }
}
