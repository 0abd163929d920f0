//! The limits of one key for one model, each in its own unit. Pure: `now` is an argument.

use std::time::Duration;

use tower_429::Cost;

use super::limits::{Limit, Meter, Reading};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Requests,
    /// Prompt and response together.
    Tokens,
    InputTokens,
    /// Counted when they are generated, whatever the request reserves.
    OutputTokens,
}

/// The used parts of the limits of a key for a model.
#[derive(Debug)]
pub(super) struct Meters(Vec<(Unit, Meter)>);

/// How the limits judge a request.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) rejected: Option<Rejected>,
    pub(super) readings: Vec<(Unit, Reading)>,
}

/// The limit that rejects a request, and how long the request must wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rejected {
    pub(super) unit: Unit,
    pub(super) limit: Limit,
    pub(super) wait: Duration,
}

// === impl Unit ===

impl Unit {
    /// Returns what must be left so that a request passes.
    pub(crate) fn need(self, cost: Cost) -> u32 {
        match self {
            Self::OutputTokens => 1,
            _ => self.total(cost),
        }
    }

    /// Returns what a request takes in total, until its response has ended.
    pub(crate) fn total(self, cost: Cost) -> u32 {
        let tokens = match self {
            Self::Requests => 1,
            Self::Tokens => cost.total(),
            Self::InputTokens => cost.input(),
            Self::OutputTokens => cost.output(),
        };
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

// === impl Meters ===

impl Meters {
    pub(super) fn new(limits: &[(Unit, Limit)]) -> Self {
        let limits = limits.iter();
        Self(
            limits
                .map(|(unit, limit)| (*unit, Meter::new(*limit)))
                .collect(),
        )
    }

    /// Counts a request that arrives at `now` if every limit admits it.
    pub(super) fn judge(&mut self, now: Duration, cost: Cost) -> Judged {
        let waits = self.0.iter_mut().filter_map(|(unit, meter)| {
            let wait = meter.wait(now, unit.need(cost))?;
            Some(Rejected {
                unit: *unit,
                limit: meter.limit(),
                wait,
            })
        });
        let rejected = waits.max_by_key(|rejected| rejected.wait);
        if rejected.is_none() {
            for (unit, meter) in &mut self.0 {
                if *unit != Unit::OutputTokens {
                    meter.take(now, unit.total(cost));
                }
            }
        }
        let meters = self.0.iter_mut();
        let readings = meters.map(|(unit, meter)| (*unit, meter.reading(now)));
        Judged {
            rejected,
            readings: readings.collect(),
        }
    }

    /// Counts tokens of a response that are generated at `now`.
    pub(super) fn count_output(&mut self, now: Duration, tokens: u32) {
        for (unit, meter) in &mut self.0 {
            if *unit == Unit::OutputTokens {
                meter.take(now, tokens);
            }
        }
    }
}
