//! The runs as a table of aligned columns, at most 80 wide.

use std::fmt;

use mock_provider::Entry;

use crate::runs::{MODELS, PROJECTS, Run};

pub(crate) struct Table<'a>(pub(crate) &'a [Run]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let models = MODELS.map(|model| model.name);
        writeln!(
            f,
            "{:<13} {:>8} {:>8} {:>5} {:>7} {:>13} {:>18}",
            "",
            "answered",
            "rejected",
            "429s",
            "time",
            models.join("/"),
            PROJECTS.join("/"),
        )?;
        for run in self.0 {
            let limited = run.log.iter().filter(|entry| entry.limited).count();
            writeln!(
                f,
                "{:<13} {:>8} {:>8} {:>5} {:>5.1} s {:>13} {:>18}",
                run.name,
                run.answered,
                run.rejected,
                limited,
                run.took.as_secs_f64(),
                served(run, models, |entry| &entry.model),
                served(run, PROJECTS, |entry| &entry.project),
            )?;
        }
        Ok(())
    }
}

/// Returns how many requests each name served, as in `40/40/40`.
fn served<const N: usize>(run: &Run, names: [&str; N], by: impl Fn(&Entry) -> &str) -> String {
    let answered = || run.log.iter().filter(|entry| !entry.limited);
    let count = |name| answered().filter(|entry| by(entry) == name).count();
    names.map(|name| count(name).to_string()).join("/")
}
