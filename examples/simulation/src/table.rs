//! The runs as rows of a table.

use std::fmt;

use crate::{preferred::Preferred, run::Run, scenarios::Scenario};

/// The heading of the rows of a scenario.
pub(crate) fn heading(scenario: &Scenario) -> &'static str {
    match scenario.bar.preferred {
        None => {
            "                                     time over ideal  wasted  dead  early  failed      p50      p99  longest"
        }
        Some(_) => {
            "                               preferred  refused/s  in outage      back  failed      p50      p99  longest"
        }
    }
}

/// The heading of the spreads of a scenario.
pub(crate) fn spread_heading(scenario: &Scenario) -> &'static str {
    match scenario.bar.preferred {
        None => {
            "                                  over ideal        wasted      failed               p50              p99"
        }
        Some(_) => {
            "                                   preferred     refused/s   in outage          back    failed          p99"
        }
    }
}

/// The row of a name and a run of the scenario.
pub(crate) struct Row<'a>(
    pub(crate) &'a str,
    pub(crate) &'a Scenario,
    pub(crate) &'a Run,
);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, scenario, run) = self;
        if scenario.bar.preferred.is_some() {
            let preferred = Preferred::of(run, scenario);
            let percent = preferred.share * 100.0;
            write!(
                f,
                "{name:<30} {percent:>7.1} % {:>10.2}",
                preferred.rejected
            )?;
            write!(
                f,
                " {:>10} {:>7.2} s",
                preferred.into_outage, preferred.back
            )?;
        } else {
            let took = run.took.as_secs_f64();
            let (over, wasted) = (run.over_ideal(scenario), run.wasted(scenario));
            write!(f, "{name:<30} {took:>8.2} s {over:>10.3} {wasted:>7}")?;
            write!(f, " {:>5} {:>6}", run.dead(scenario), run.early())?;
        }
        write!(f, " {:>7}", run.failed)?;
        for percent in [50, 99, 100] {
            write!(f, " {:>6.2} s", run.percentile(percent).as_secs_f64())?;
        }
        Ok(())
    }
}

/// The row of a name, and the least and the most of the runs of several seeds.
pub(crate) struct Spread<'a>(
    pub(crate) &'a str,
    pub(crate) &'a Scenario,
    pub(crate) &'a [Run],
);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, scenario, runs) = self;
        write!(f, "{name:<30}")?;
        let percentile = |percent| spread(runs, move |run| run.percentile(percent).as_secs_f64());
        let failed = spread(runs, |run| run.failed as f64);
        if scenario.bar.preferred.is_some() {
            let of = |value: fn(Preferred) -> f64| {
                spread(runs, |run| value(Preferred::of(run, scenario)))
            };
            let (least, most) = of(|run| run.share * 100.0);
            write!(f, " {least:>5.1}..{most:<5.1}%")?;
            let (least, most) = of(|run| run.rejected);
            write!(f, " {least:>5.2}..{most:<5.2}")?;
            let (least, most) = of(|run| run.into_outage as f64);
            write!(f, " {least:>4}..{most:<4}")?;
            let (least, most) = of(|run| run.back);
            write!(f, " {least:>5.2}..{most:<5.2}")?;
            write!(f, " {:>3}..{:<4}", failed.0, failed.1)?;
            let (least, most) = percentile(99);
            return write!(f, " {least:>5.2}..{most:<5.2}");
        }
        let (least, most) = spread(runs, |run| run.over_ideal(scenario));
        write!(f, " {least:>6.3}..{most:<6.3}")?;
        let (least, most) = spread(runs, |run| run.wasted(scenario) as f64);
        write!(f, " {least:>5}..{most:<5}")?;
        write!(f, " {:>4}..{:<4}", failed.0, failed.1)?;
        for percent in [50, 99] {
            let (least, most) = percentile(percent);
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
