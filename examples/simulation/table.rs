//! The runs as a table: a row for each.

use std::fmt;

use crate::{run::Run, scenarios::Scenario};

pub(crate) const HEADING: &str = "                             time  over ideal  wasted 429s  dead keys  early  failed      p50      p99  longest";

/// A name, and what became of a run of the scenario.
pub(crate) struct Row<'a>(
    pub(crate) &'a str,
    pub(crate) &'a Scenario,
    pub(crate) &'a Run,
);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, scenario, run) = self;
        write!(
            f,
            "{name:<24} {:>6.2} s {:>11.3} {:>12} {:>10} {:>6} {:>7}",
            run.took.as_secs_f64(),
            run.over_ideal(scenario),
            run.wasted(scenario),
            run.dead(scenario),
            run.early(),
            run.failed,
        )?;
        for percent in [50, 99, 100] {
            write!(f, " {:>6.2} s", run.percentile(percent).as_secs_f64())?;
        }
        Ok(())
    }
}
