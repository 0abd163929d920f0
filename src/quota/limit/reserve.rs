//! What background calls leave of a limit to interactive ones: a part of it, or more if interactive calls are
//! expected to take more. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{Capacity, ProviderTraits};
use crate::{
    quota::{background::Share, demand::Demand},
    rejection::Dimension,
    request::Cost,
};

/// What interactive calls have taken within this time says what they take next.
const AVERAGED_OVER: Duration = Duration::from_secs(10);

/// So much more than expected is left, because calls do not come evenly.
const MARGIN: f64 = 1.3;

/// How soon a background call looks again. It is later than a call waits for a preferred target, so that the
/// call goes to another one.
const LOOKS_AGAIN: Duration = Duration::from_millis(300);

/// What interactive calls have taken of a limit lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InteractiveUse {
    /// Sums in which older requests count less.
    requests: f64,
    input: f64,
    output: f64,
    /// When the last was sent.
    at: Option<Instant>,
}

/// What one request leaves to others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserve {
    share: Share,
    /// How many interactive calls are sent in a second.
    requests: f64,
    /// What these cost in a minute, so that little is lost by rounding.
    cost: Cost,
}

/// The time in which what is left of a limit has to last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lasts {
    /// How long it is until there is more.
    left: Duration,
    /// How large a part that is of the whole time.
    part: f64,
}

// === impl InteractiveUse ===

impl InteractiveUse {
    /// Counts a request that is sent now.
    pub(super) fn send(&mut self, demand: Demand, now: Instant) {
        if demand.is_background() {
            return;
        }
        let kept = self.kept(now);
        let (input, output) = (demand.cost().input(), demand.cost().output());
        self.requests = self.requests * kept + 1.0;
        self.input = self.input * kept + input as f64;
        self.output = self.output * kept + output as f64;
        self.at = self.at.max(Some(now));
    }

    /// Returns how much of the sums still counts.
    fn kept(&self, now: Instant) -> f64 {
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (-passed.as_secs_f64() / AVERAGED_OVER.as_secs_f64()).exp()
    }

    /// Returns what a request leaves to others; `None` if it leaves nothing.
    pub(super) fn reserve(&self, demand: Demand, now: Instant) -> Option<Reserve> {
        let share = demand.reserve()?;
        let a_second = self.kept(now) / AVERAGED_OVER.as_secs_f64();
        Some(Reserve {
            share,
            requests: self.requests * a_second,
            cost: Cost::new(
                (self.input * a_second * 60.0) as u64,
                (self.output * a_second * 60.0) as u64,
            ),
        })
    }
}

// === impl Reserve ===

impl Reserve {
    /// Returns how many requests are left of a limit.
    pub(super) fn of_requests(self, limit: Option<u64>, lasts: Lasts) -> u64 {
        self.of(limit, lasts, self.requests)
    }

    /// Returns how many tokens are left of a limit, as the provider counts them.
    pub(super) fn of_tokens(
        self,
        dimension: Dimension,
        limit: Option<u64>,
        lasts: Lasts,
        traits: &ProviderTraits,
    ) -> u64 {
        let a_minute = traits.tokens.calibrated(dimension, self.cost);
        self.of(limit, lasts, a_minute as f64 / 60.0)
    }

    /// Returns how many requests in flight are left of a limit on them.
    pub(super) fn of_places(self, limit: u64) -> u64 {
        self.of(Some(limit), Lasts::ALWAYS, 0.0)
    }

    fn of(self, limit: Option<u64>, lasts: Lasts, a_second: f64) -> u64 {
        let share = limit.map_or(0.0, |limit| self.share.of(limit)) * lasts.part;
        let expected = a_second * lasts.left.as_secs_f64() * MARGIN;
        // If nothing is used, one request may always go.
        let most = limit.map_or(u64::MAX, |limit| limit.saturating_sub(1));
        (share.max(expected).round() as u64).min(most)
    }
}

// === impl Lasts ===

impl Lasts {
    /// What is left comes back when requests end.
    pub(super) const ALWAYS: Self = Self {
        left: Duration::ZERO,
        part: 1.0,
    };

    /// A window ends then; all of it takes `length`.
    pub(super) fn until(end: Instant, length: Duration, now: Instant) -> Self {
        let left = end.saturating_duration_since(now);
        let part = left.as_secs_f64() / length.as_secs_f64().max(0.001);
        Self {
            left,
            part: part.min(1.0),
        }
    }

    /// A bucket refills all the time, and takes so long to be full. What is used meanwhile comes back, so the
    /// calls of half of that time are enough.
    pub(super) fn steady(fills_in: Duration) -> Self {
        Self {
            left: fills_in / 2,
            part: 1.0,
        }
    }
}

/// Returns what a request is allowed that leaves a part to others: it looks again soon, because that part
/// shrinks with time.
pub(super) fn look_again(capacity: Capacity, now: Instant) -> Capacity {
    let soon = |at: Option<Instant>| {
        let soon = now + LOOKS_AGAIN;
        Some(at.map_or(soon, |at| at.min(soon)))
    };
    match capacity {
        Capacity::Short {
            more_at,
            less_may_go,
        } => Capacity::Short {
            more_at: soon(more_at),
            less_may_go,
        },
        Capacity::Probing(at) => Capacity::Probing(soon(at)),
        Capacity::Full(at) => Capacity::Full(soon(at)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
