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
    /// Counted as they come, whatever the request reserves.
    OutputTokens,
}

/// What is used up of the limits of a key for a model.
#[derive(Debug)]
pub(super) struct Meters(Vec<(Unit, Meter)>);

/// What the limits make of a request.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) refused: Option<Refused>,
    pub(super) readings: Vec<(Unit, Reading)>,
}

/// The limit that a request came to, and how long it takes until it would pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) unit: Unit,
    pub(super) limit: Limit,
    pub(super) wait: Duration,
}

// === impl Unit ===

impl Unit {
    /// What must be left for a request to pass.
    pub(crate) fn need(self, cost: Cost) -> u32 {
        match self {
            Self::OutputTokens => 1,
            _ => self.whole(cost),
        }
    }

    /// What a request takes until its response has ended.
    pub(crate) fn whole(self, cost: Cost) -> u32 {
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

    /// Counts a request that comes at `now` if every limit lets it pass.
    pub(super) fn ask(&mut self, now: Duration, cost: Cost) -> Judged {
        let waits = self.0.iter_mut().filter_map(|(unit, meter)| {
            let wait = meter.wait(now, unit.need(cost))?;
            Some(Refused {
                unit: *unit,
                limit: meter.limit(),
                wait,
            })
        });
        let refused = waits.max_by_key(|refused| refused.wait);
        if refused.is_none() {
            for (unit, meter) in &mut self.0 {
                if *unit != Unit::OutputTokens {
                    meter.take(now, unit.whole(cost));
                }
            }
        }
        let meters = self.0.iter_mut();
        let readings = meters.map(|(unit, meter)| (*unit, meter.reading(now)));
        Judged {
            refused,
            readings: readings.collect(),
        }
    }

    /// Counts tokens of a response that come at `now`.
    pub(super) fn count_output(&mut self, now: Duration, tokens: u32) {
        for (unit, meter) in &mut self.0 {
            if *unit == Unit::OutputTokens {
                meter.take(now, tokens);
            }
        }
    }
}
