//! The runs as a table: a row for each.

use std::fmt;

use crate::{run::Run, scenarios::Scenario};

pub(crate) const HEADING: &str = "                                     time over ideal  wasted  dead  early  failed      p50      p99  longest";

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
            "{name:<30} {:>8.2} s {:>10.3} {:>7} {:>5} {:>6} {:>7}",
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

pub(crate) const SPREAD_HEADING: &str = "                                  over ideal       wasted       failed              p50              p99";

/// A name, and the least and the most of the runs of several seeds.
pub(crate) struct Spread<'a>(
    pub(crate) &'a str,
    pub(crate) &'a Scenario,
    pub(crate) &'a [Run],
);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, scenario, runs) = self;
        let (least, most) = spread(runs, |run| run.over_ideal(scenario));
        write!(f, "{name:<30} {least:>6.3}..{most:<6.3}")?;
        let (least, most) = spread(runs, |run| run.wasted(scenario) as f64);
        write!(f, " {least:>5}..{most:<5}")?;
        let (least, most) = spread(runs, |run| run.failed as f64);
        write!(f, " {least:>5}..{most:<5}")?;
        for percent in [50, 99] {
            let (least, most) = spread(runs, |run| run.percentile(percent).as_secs_f64());
            write!(f, " {least:>7.2}..{most:<7.2}")?;
        }
        Ok(())
    }
}

fn spread(runs: &[Run], value: impl Fn(&Run) -> f64) -> (f64, f64) {
    let values = runs.iter().map(value);
    let range = (f64::INFINITY, f64::NEG_INFINITY);
    values.fold(range, |(least, most), value| {
        (least.min(value), most.max(value))
    })
}
