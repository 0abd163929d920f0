//! The rows of one seed as a file, so that a change of behaviour shows in a diff.

use std::fmt::Write;

use crate::{Error, parallel::run_all, scenarios, table, verdict::Verdict};

/// The only seed of the file, because the test is not optimized, and takes 40 s of CPU time for one seed.
const SEED: u64 = 1;

/// Returns the rows of this crate's stacks, and how they compare with their bars.
pub(crate) fn rows() -> Result<(String, Verdict), Error> {
    let scenarios = scenarios::all();
    let jobs: Vec<_> = scenarios
        .iter()
        .map(|scenario| (scenario, scenario.stack, SEED))
        .collect();
    let (mut rows, mut verdict) = (String::new(), Verdict::default());
    let mut last = "";
    for (run, (scenario, ..)) in run_all(&jobs)?.iter().zip(&jobs) {
        let heading = table::heading(scenario);
        if heading != last {
            writeln!(rows, "{heading}")?;
            last = heading;
        }
        writeln!(rows, "{}", table::Row(&scenario.name, scenario, run))?;
        verdict.add(run, scenario);
    }
    Ok((rows, verdict))
}

#[cfg(test)]
mod tests {
    use super::rows;

    /// `cargo run --release -p simulation -- --golden` prints the file. With `--seeds 1..20` instead, the simulation
    /// compares more seeds with their bars.
    #[test]
    fn every_row_is_as_recorded() {
        let recorded = include_str!("../golden.txt");
        let (rows, verdict) = rows().expect("no run ends with an error");
        verdict.result().expect("no row misses its bar");
        for (row, recorded) in rows.lines().zip(recorded.lines()) {
            assert_eq!(row, recorded);
        }
        assert_eq!(rows.len(), recorded.len());
    }
}
