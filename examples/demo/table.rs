//! The runs as a table of aligned columns.

use std::{collections::BTreeMap, fmt};

use crate::{provider::Entry, runs::Run};

pub(crate) struct Table<'a>(pub(crate) &'a [Run]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<14} {:>8} {:>8} {:>10} {:>8}   {:<20} keys that served",
            "", "answered", "rejected", "429s seen", "time", "models that served"
        )?;
        for run in self.0 {
            let limited = run.log.iter().filter(|entry| entry.limited).count();
            writeln!(
                f,
                "{:<14} {:>8} {:>8} {:>10} {:>6.1} s   {:<20} {}",
                run.name,
                run.answered,
                run.refused,
                limited,
                run.took.as_secs_f64(),
                served(run, |entry| &entry.model),
                served(run, |entry| &entry.project),
            )?;
        }
        Ok(())
    }
}

/// How many requests each served: `alpha 40, beta 40`.
fn served(run: &Run, by: impl Fn(&Entry) -> &str) -> String {
    let mut counts = BTreeMap::new();
    for entry in run.log.iter().filter(|entry| !entry.limited) {
        *counts.entry(by(entry)).or_insert(0) += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    counts.join(", ")
}
