//! How the runs compare with their bars.

use std::{fmt, ptr};

use crate::{
    Error,
    bar::Compared,
    run::Run,
    scenarios::Scenario,
    shortfalls::{self, Shortfall},
};

#[derive(Default)]
pub(crate) struct Verdict {
    misses: Vec<String>,
    /// Each shortfall of the rows that ran, and the worst run.
    short: Vec<(&'static Shortfall, Compared)>,
}

impl Verdict {
    pub(crate) fn add(&mut self, run: &Run, scenario: &Scenario) {
        let named = |wrong| format!("{}, seed {}: {wrong}", scenario.name, run.seed);
        self.misses
            .extend(run.wrong(scenario).into_iter().map(named));
        for compared in run.compared(scenario) {
            let shortfall = shortfalls::find(&scenario.name, compared.measure);
            let most = shortfall.map_or(compared.wanted, |shortfall| shortfall.most);
            if compared.is_over(most) {
                let (measure, reached) = (compared.measure, compared.reached);
                self.misses
                    .push(named(format!("{measure} {reached:.3} > {most:.3}")));
            }
            if let Some(shortfall) = shortfall {
                self.note(shortfall, compared);
            }
        }
    }

    /// Keeps the worst run of a shortfall.
    fn note(&mut self, shortfall: &'static Shortfall, compared: Compared) {
        let mut noted = self.short.iter_mut();
        match noted.find(|(noted, _)| ptr::eq(*noted, shortfall)) {
            Some((_, worst)) => worst.reached = worst.reached.max(compared.reached),
            None => self.short.push((shortfall, compared)),
        }
    }

    /// Fails if a run was worse than its bar, or than the shortfall that replaces the bar.
    pub(crate) fn result(&self) -> Result<(), Error> {
        match self.misses.is_empty() {
            true => Ok(()),
            false => Err(self.misses.join("\n").into()),
        }
    }
}

/// The shortfalls of the rows that ran.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.short.is_empty() {
            writeln!(f, "\nShortfalls, with the worst of these runs:")?;
        }
        for (shortfall, worst) in &self.short {
            let Shortfall { row, measure, .. } = shortfall;
            let Compared {
                wanted, reached, ..
            } = worst;
            let because = match worst.is_over(*wanted) {
                true => shortfall.because,
                false => "met in these runs",
            };
            write!(
                f,
                "{row}: {measure} wanted {wanted:.3}, reached {reached:.3}"
            )?;
            writeln!(f, " of at most {:.3}: {because}", shortfall.most)?;
        }
        Ok(())
    }
}
