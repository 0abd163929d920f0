//! The rows of the first seeds as a file, so that a change of behaviour is seen.

use std::fmt::Write;

use crate::{Error, run::simulate, scenarios, table};

/// How many seeds the file holds.
const SEEDS: u64 = 20;

/// Returns the rows of this crate's stacks for each seed.
pub(crate) fn rows() -> Result<String, Error> {
    let mut text = format!("{}\n", table::HEADING);
    for seed in 1..=SEEDS {
        writeln!(text, "seed {seed}")?;
        for scenario in &scenarios::all() {
            let run = simulate(scenario, scenario.stack, seed)?;
            writeln!(text, "{}", table::Row(scenario.name, scenario, &run))?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::rows;

    /// `cargo run --release --example simulation -- --golden` prints the file anew.
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
