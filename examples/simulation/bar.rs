//! The worst run of a scenario that passes.

use std::time::Duration;

use crate::{preferred::Preferred, run::Run, scenarios::Scenario};

/// What else must be true of a run, and what is wrong if it is not.
pub(crate) type Check = fn(&Run) -> Result<(), String>;

/// The most of each that passes.
#[derive(Clone, Copy)]
pub(crate) struct Bar {
    /// The time that all calls take, over the least that the limits allow.
    pub(crate) over_ideal: f64,
    /// 429s of limits.
    pub(crate) wasted: usize,
    /// Requests with keys that do not work.
    pub(crate) dead: usize,
    pub(crate) failed: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The milliseconds that the calls of seed 1, 2, and so on take, to the millisecond.
    pub(crate) exact: &'static [u64],
    pub(crate) preferred: Option<PreferredBar>,
    pub(crate) also: Option<Check>,
}

/// What the preferred model must do.
#[derive(Clone, Copy)]
pub(crate) struct PreferredBar {
    /// The least share of the calls that it answers.
    pub(crate) share: f64,
    /// Its errors for each second of the calls.
    pub(crate) refused: f64,
    /// Requests that it gets during its outage.
    pub(crate) into_outage: usize,
    /// The time from the end of its outage until it answers again.
    pub(crate) back: Duration,
}

// === impl Bar ===

impl Bar {
    /// A bar that every run passes in which no call fails.
    pub(crate) const NONE: Self = Self {
        over_ideal: f64::INFINITY,
        wasted: usize::MAX,
        dead: 0,
        failed: 0,
        p50: Duration::MAX,
        p99: Duration::MAX,
        exact: &[],
        preferred: None,
        also: None,
    };
}

// === impl PreferredBar ===

impl PreferredBar {
    /// A bar that every run passes.
    pub(crate) const NONE: Self = Self {
        share: 0.0,
        refused: f64::INFINITY,
        into_outage: usize::MAX,
        back: Duration::MAX,
    };
}

// === impl Run ===

impl Run {
    /// In what the run is worse than it may be.
    pub(crate) fn misses(&self, scenario: &Scenario) -> Vec<String> {
        let bar = scenario.bar;
        let at_most = [
            ("time over ideal", self.over_ideal(scenario), bar.over_ideal),
            ("wasted", self.wasted(scenario) as f64, bar.wasted as f64),
            ("dead keys", self.dead(scenario) as f64, bar.dead as f64),
            ("early", self.early() as f64, 0.0),
            ("failed", self.failed as f64, bar.failed as f64),
            ("p50", seconds(self.percentile(50)), seconds(bar.p50)),
            ("p99", seconds(self.percentile(99)), seconds(bar.p99)),
        ];
        let mut misses: Vec<_> = at_most.into_iter().filter_map(over).collect();
        let number = usize::try_from(self.seed).unwrap_or(usize::MAX);
        if let Some(exact) = bar.exact.get(number.wrapping_sub(1)) {
            let took = self.took.as_millis();
            if took != u128::from(*exact) {
                misses.push(format!("took {took} ms, not {exact} ms"));
            }
        }
        if let Some(bar) = bar.preferred {
            misses.extend(bar.misses(&Preferred::of(self, scenario)));
        }
        misses.extend(bar.also.and_then(|also| also(self).err()));
        let named = |miss| format!("{}, seed {}: {miss}", scenario.name, self.seed);
        misses.into_iter().map(named).collect()
    }
}

impl PreferredBar {
    fn misses(&self, run: &Preferred) -> Vec<String> {
        let into_outage = (run.into_outage as f64, self.into_outage as f64);
        let at_most = [
            (
                "not by the preferred model",
                1.0 - run.share,
                1.0 - self.share,
            ),
            ("its errors a second", run.refused, self.refused),
            ("sent into the outage", into_outage.0, into_outage.1),
            ("seconds until it is back", run.back, seconds(self.back)),
        ];
        at_most.into_iter().filter_map(over).collect()
    }
}

fn over((what, is, most): (&str, f64, f64)) -> Option<String> {
    // A sum of shares is off by a rounding error.
    (is > most + 1e-9).then(|| format!("{what} {is:.2} > {most:.2}"))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
