//! Bars, which bound the measures of a run.

use std::{fmt, time::Duration};

use crate::{preferred::Preferred, run::Run, scenarios::Scenario, usage};

/// What a bar bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    OverIdeal,
    Wasted,
    DeadKeys,
    Early,
    Failed,
    P50,
    P99,
    /// The share of the calls that the preferred model does not serve.
    NotPreferred,
    Rejected,
    IntoOutage,
    Back,
    Unused,
    LongestOfLarge,
    UnusedByBackground,
    Exchanges,
}

/// A measure of a run, and its bar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    pub(crate) measure: Measure,
    pub(crate) reached: f64,
    pub(crate) wanted: f64,
}

/// A further condition of a run. The error says what is wrong.
pub(crate) type Check = fn(&Run) -> Result<(), String>;

/// The largest values of the measures that pass.
#[derive(Clone, Copy)]
pub(crate) struct Bar {
    /// The time that all calls take, relative to the least time that the limits allow.
    pub(crate) over_ideal: f64,
    /// The 429s because of limits.
    pub(crate) wasted: usize,
    /// Requests with keys that do not work.
    pub(crate) dead: usize,
    pub(crate) failed: usize,
    /// Requests that were sent before the end of a hint. Another process may have got the hint.
    pub(crate) early: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The unused share of a full window, relative to what the oracle uses.
    pub(crate) unused: f64,
    /// The longest time of a call that needs half of a window or more.
    pub(crate) longest_of_large: Duration,
    /// The share of the quota that background calls do not use.
    pub(crate) unused_by_background: f64,
    /// The exchanges with the engine for each call.
    pub(crate) exchanges: f64,
    /// The milliseconds that the calls of seed 1, 2, and so on take, to the millisecond.
    pub(crate) exact: &'static [u64],
    pub(crate) preferred: Option<PreferredBar>,
    pub(crate) also: Option<Check>,
}

/// The bars for the use of the preferred model.
#[derive(Clone, Copy)]
pub(crate) struct PreferredBar {
    /// The least share of the calls that it serves.
    pub(crate) share: f64,
    /// Its errors per second.
    pub(crate) rejected: f64,
    /// Requests that it gets during its outage.
    pub(crate) into_outage: usize,
    /// The time from the end of its outage until it serves again.
    pub(crate) back: Duration,
}

// === impl Bar ===

impl Bar {
    /// A bar that every run passes if no call fails.
    pub(crate) const NONE: Self = Self {
        over_ideal: f64::INFINITY,
        wasted: usize::MAX,
        dead: 0,
        failed: 0,
        early: 0,
        p50: Duration::MAX,
        p99: Duration::MAX,
        unused: f64::INFINITY,
        longest_of_large: Duration::MAX,
        unused_by_background: f64::INFINITY,
        exchanges: f64::INFINITY,
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
        rejected: f64::INFINITY,
        into_outage: usize::MAX,
        back: Duration::MAX,
    };
}

// === impl Run ===

impl Run {
    /// Returns the measures that have a bar.
    pub(crate) fn compared(&self, scenario: &Scenario) -> Vec<Compared> {
        let bar = scenario.bar;
        let wasted = self.wasted(scenario) as f64;
        let dead = self.dead(scenario) as f64;
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        let mut compared = vec![
            (
                Measure::OverIdeal,
                self.over_ideal(scenario),
                bar.over_ideal,
            ),
            (Measure::Wasted, wasted, bar.wasted as f64),
            (Measure::DeadKeys, dead, bar.dead as f64),
            (Measure::Early, self.early() as f64, bar.early as f64),
            (Measure::Failed, self.failed as f64, bar.failed as f64),
            (Measure::P50, p50.as_secs_f64(), bar.p50.as_secs_f64()),
            (Measure::P99, p99.as_secs_f64(), bar.p99.as_secs_f64()),
        ];
        if let Some(bar) = bar.preferred {
            compared.extend(bar.compared(&Preferred::of(self, scenario)));
        }
        compared.extend(self.compared_use(scenario));
        let compared = compared.into_iter();
        compared
            .map(|(measure, reached, wanted)| Compared {
                measure,
                reached,
                wanted,
            })
            .collect()
    }

    /// Returns the measures that have a bar only in some scenarios.
    fn compared_use(&self, scenario: &Scenario) -> Vec<(Measure, f64, f64)> {
        let bar = scenario.bar;
        let mut compared = Vec::new();
        if bar.unused.is_finite() {
            let unused = usage::unused(self, scenario);
            compared.push((Measure::Unused, unused, bar.unused));
        }
        if bar.longest_of_large < Duration::MAX {
            let longest = usage::longest_of_large(self, scenario).as_secs_f64();
            let wanted = bar.longest_of_large.as_secs_f64();
            compared.push((Measure::LongestOfLarge, longest, wanted));
        }
        if bar.exchanges.is_finite() {
            let exchanges = self.exchanges as f64 / scenario.calls as f64;
            compared.push((Measure::Exchanges, exchanges, bar.exchanges));
        }
        if bar.unused_by_background.is_finite() {
            let unused = usage::unused_by_background(self, scenario);
            let wanted = bar.unused_by_background;
            compared.push((Measure::UnusedByBackground, unused, wanted));
        }
        compared
    }

    /// Returns what is wrong with the run besides its measures.
    pub(crate) fn wrong(&self, scenario: &Scenario) -> Vec<String> {
        let bar = scenario.bar;
        let mut wrong = Vec::new();
        let number = usize::try_from(self.seed).unwrap_or(usize::MAX);
        if let Some(exact) = bar.exact.get(number.wrapping_sub(1)) {
            let took = self.took.as_millis();
            if took != u128::from(*exact) {
                wrong.push(format!("took {took} ms, not {exact} ms"));
            }
        }
        wrong.extend(bar.also.and_then(|also| also(self).err()));
        wrong
    }
}

impl PreferredBar {
    fn compared(&self, run: &Preferred) -> [(Measure, f64, f64); 4] {
        let (into, most_into) = (run.into_outage as f64, self.into_outage as f64);
        [
            (Measure::NotPreferred, 1.0 - run.share, 1.0 - self.share),
            (Measure::Rejected, run.rejected, self.rejected),
            (Measure::IntoOutage, into, most_into),
            (Measure::Back, run.back, self.back.as_secs_f64()),
        ]
    }
}

// === impl Compared ===

impl Compared {
    /// Returns whether the run is worse than `most`, which is the bar or a known shortfall.
    pub(crate) fn is_over(&self, most: f64) -> bool {
        // A sum of shares has a rounding error.
        self.reached > most + 1e-9
    }
}

// === impl Measure ===

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OverIdeal => "time over ideal",
            Self::Wasted => "wasted",
            Self::DeadKeys => "dead keys",
            Self::Early => "early",
            Self::Failed => "failed",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::NotPreferred => "share not by the preferred model",
            Self::Rejected => "its errors a second",
            Self::IntoOutage => "sent into the outage",
            Self::Back => "seconds until it is back",
            Self::Unused => "share of a window not used",
            Self::LongestOfLarge => "longest of the large calls",
            Self::UnusedByBackground => "share not used by background calls",
            Self::Exchanges => "exchanges a call",
        })
    }
}
