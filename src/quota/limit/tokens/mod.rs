//! Limits on tokens: what the provider reports to be left, less what the requests in flight cost. Pure.
//!
//! [`window`] is one limit. [`refill`] says how it refills: all at once at the end of a window, or steadily.
//! [`calibration`] corrects the estimated costs, by what the provider counts. `DESIGN.md` gives the reasons ("How
//! is what is left in tokens known?").

mod calibration;
mod refill;
mod window;

use tokio::time::Instant;

use self::window::{Need, TokenWindow};
pub(super) use self::{
    calibration::Calibration,
    refill::{Refill, ReportedReset},
};
use super::{Capacity, ProviderTraits, in_flight::InFlight, known::KnownLimit, reserve::Reserve};
use crate::{
    quota::demand::{Demand, tokens_of},
    rejection::{Bucket, Rejection},
    request::Cost,
};
#[cfg(feature = "share")]
use crate::{rejection::Dimension, share::Unit};

/// What is known of the limits on tokens that the requests of one limit run on.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    windows: Vec<TokenWindow>,
    /// What all requests so far have cost, by the estimates.
    sent: calibration::SentCosts,
}

// === impl Tokens ===

impl Tokens {
    /// Returns whether the provider has reported such a limit.
    pub(super) fn are_reported(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Returns what these limits allow to a request.
    pub(super) fn capacity(
        &mut self,
        (demand, reserve): (Demand, Option<Reserve>),
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Capacity {
        let mut capacity = Capacity::UNLIMITED;
        for window in &mut self.windows {
            if !traits.trusts(window.dimension(), now) {
                continue;
            }
            window.roll(now);
            if window.is_exhausted(now) && !traits.tokens.is_steady() {
                // Whether that is true is verified as for requests.
                continue;
            }
            let counted = |cost| {
                let dimension = window.dimension();
                let calibrated = traits.tokens.calibrated(dimension, cost);
                match reserve {
                    // What others need is not taken because of a calibration that is not certain yet.
                    Some(_) => calibrated.max(tokens_of(cost, dimension).unwrap_or_default()),
                    None => calibrated,
                }
            };
            let need = Need {
                tokens: counted(demand.cost()),
                held: counted(in_flight.cost_since(window.sent())),
                spread: traits.tokens.spread(window.dimension()),
                replicas: demand.replicas(),
                reserved: reserve.map_or(0, |reserve| window.reserved(reserve, traits, now)),
                is_alone: in_flight.all() == 0,
            };
            if let Err(more_at) = window.fits(need, now) {
                // In a bucket, a smaller request that goes first delays this one.
                capacity = capacity.min(Capacity::Short {
                    more_at,
                    less_may_go: !traits.tokens.is_steady(),
                });
            }
        }
        capacity
    }

    /// Returns how many tokens of each kind are left beside the requests in flight, by the estimates of costs.
    #[cfg(feature = "share")]
    pub(super) fn left(
        &self,
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Vec<(Unit, u64)> {
        let mut left: Vec<(Unit, u64)> = Vec::new();
        for window in &self.windows {
            let dimension = window.dimension();
            let is_open = !window.is_exhausted(now) || traits.tokens.is_steady();
            let unit = match dimension {
                Dimension::Tokens => Unit::Tokens,
                Dimension::InputTokens => Unit::InputTokens,
                Dimension::OutputTokens => Unit::OutputTokens,
                _ => continue,
            };
            if !traits.trusts(dimension, now) || !is_open {
                continue;
            }
            let held = traits
                .tokens
                .calibrated(dimension, in_flight.cost_since(window.sent()));
            let spread = traits.tokens.spread(dimension);
            let Some(tokens) = window.left((held, spread), now) else {
                continue;
            };
            let tokens = traits.tokens.estimated(dimension, tokens);
            match left.iter_mut().find(|(of, _)| *of == unit) {
                Some((_, least)) => *least = tokens.min(*least),
                None => left.push((unit, tokens)),
            }
        }
        left
    }

    /// Returns what is known of each limit, less what the requests in flight cost.
    pub(super) fn known(
        &self,
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> impl Iterator<Item = KnownLimit> {
        let windows = self.windows.iter();
        let trusted = windows.filter(move |window| traits.trusts(window.dimension(), now));
        let known = trusted.map(move |window| {
            let held = |since| in_flight.cost_since(since);
            let held = |since| traits.tokens.calibrated(window.dimension(), held(since));
            window.known(held, now)
        });
        // After the end of a window without a known limit, nothing is known.
        known.filter(|known| known.limit.is_some() || known.resets.is_some())
    }

    /// Forgets what was reported. What is sent stays counted.
    pub(super) fn forget(&mut self) {
        self.windows.clear();
    }

    /// Counts the cost of a request that is sent.
    pub(super) fn send(&mut self, demand: Demand, now: Instant) {
        self.sent.add(demand, now);
    }

    /// Records what the response reports to a request that was sent at `sent`. A response without a report
    /// says that the request was counted.
    pub(super) fn update<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        buckets: impl Iterator<Item = &'a Bucket>,
        (cost, has_passed): (Cost, bool),
        (sent, now): (Instant, Instant),
    ) {
        let mut is_reported = false;
        let counted = match has_passed {
            true => cost,
            false => {
                self.sent.remove(cost, sent);
                Cost::default()
            }
        };
        for bucket in buckets {
            let of_bucket = tokens_of(cost, bucket.dimension);
            if of_bucket.is_none() || bucket.remaining.is_none() {
                continue;
            }
            is_reported = true;
            if let (Some(counted), Some(estimated)) = (bucket.cost, of_bucket) {
                let tokens = &mut traits.tokens;
                tokens.count_one(bucket.dimension, counted as f64, estimated);
            }
            let took = now.saturating_duration_since(sent);
            let before = sent.checked_sub(took).unwrap_or(sent);
            let total = (self.sent.until(sent), self.sent.until(before));
            match self.windows.iter_mut().find(|window| window.is_of(bucket)) {
                Some(window) => {
                    let total = (total, counted);
                    window.update(bucket, total, &mut traits.tokens, (sent, now));
                }
                None => {
                    let window = TokenWindow::new(bucket, total, (sent, now));
                    self.windows.extend(window);
                }
            }
        }
        if has_passed && !is_reported {
            self.count(traits, cost, (sent, now));
        }
    }

    /// Counts a request whose response reports nothing, or is not seen.
    pub(super) fn count(&mut self, traits: &ProviderTraits, cost: Cost, when: (Instant, Instant)) {
        for window in &mut self.windows {
            window.count(traits.tokens.calibrated(window.dimension(), cost), when);
        }
    }

    /// Notes that the limit that has rejected a request has less left than it costs.
    pub(super) fn reject(
        &mut self,
        traits: &mut ProviderTraits,
        rejection: &Rejection,
        cost: Cost,
        now: Instant,
    ) {
        let Some(dimension) = rejection.dimension else {
            return;
        };
        let estimated = tokens_of(cost, dimension).filter(|tokens| *tokens > 0);
        let Some(estimated) = estimated else {
            return;
        };
        let numbers = rejection.numbers;
        if let Some(requested) = numbers.requested {
            traits
                .tokens
                .count_one(dimension, requested as f64, estimated);
        }
        let need = traits.tokens.calibrated(dimension, cost) as f64;
        // It may cost less than it was taken to cost.
        let off = traits.tokens.spread(dimension).max(window::RISKED);
        let least = (need * (1.0 - off)) as u64;
        let left = numbers.limit.zip(numbers.used);
        let left = left.map(|(limit, used)| limit.saturating_sub(used));
        for window in &mut self.windows {
            if window.dimension() == dimension {
                if window.is_reported() && window.level(now) as f64 >= need {
                    traits.tokens.widen(dimension);
                }
                window.reject(left.unwrap_or(least.saturating_sub(1)), now);
            }
        }
    }
}
