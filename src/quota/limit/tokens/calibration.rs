//! How many tokens a provider counts where this crate estimates one. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::refill::Refill;
use crate::{
    quota::demand::{Demand, tokens_of},
    rejection::Dimension,
    request::Cost,
};

/// An estimate is not off by more than this factor.
const MAX_FACTOR: f64 = 16.0;

/// Estimates that are off by less on average are not corrected.
const EXACT: f64 = 0.02;

/// How much of the spread is kept with each new fact.
const KEPT: f64 = 0.998;

/// The factor is known if what it is at most is less than so many times what it is at least.
const KNOWN: f64 = 1.1;

/// How much one request changes the factor.
const ONE: f64 = 0.1;

/// How much further estimates are taken to be off after a rejection that was not expected.
const WIDER: f64 = 2.0;

/// How far a single estimate may be off, at least and at most, as a part of it.
const SPREAD: [f64; 2] = [0.02, 0.5];

/// So many moments of sends are kept.
const MAX_MOMENTS: usize = 128;

/// What the limits of one kind show of costs, and of how they refill.
#[derive(Clone, Debug, Default)]
pub(in crate::quota::limit) struct Calibration {
    pub(super) refill: Refill,
    /// By what is counted.
    ratios: Vec<(Dimension, Ratio)>,
    /// Whether other processes have sent too. Which of their requests a report includes is known only roughly, so they
    /// seem to cost less than they do.
    has_others: bool,
}

/// What is counted for an estimate.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    /// How many times the estimate, on average.
    factor: f64,
    /// How far single estimates are off, as a part of them.
    spread: f64,
    /// Whether the factor is known so well that what is left is the error of single estimates.
    is_known: bool,
}

/// The sum of the estimated costs of all requests, by when they were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct SentCosts {
    sum: Cost,
    /// The sums after each moment, the oldest first.
    moments: VecDeque<(Instant, Cost)>,
    /// When the last request with an unknown cost was sent.
    rough: Option<Instant>,
}

// === impl Calibration ===

impl Calibration {
    /// Returns whether limits on tokens refill steadily.
    pub(in crate::quota::limit) fn is_steady(&self) -> bool {
        self.refill == Refill::Steady
    }

    /// Returns how many tokens of one kind a provider is expected to count for a cost.
    pub(in crate::quota::limit) fn calibrated(&self, dimension: Dimension, cost: Cost) -> u64 {
        let estimated = tokens_of(cost, dimension).unwrap_or_default();
        match self.factor(dimension) {
            1.0 => estimated,
            factor => (estimated as f64 * factor).ceil() as u64,
        }
    }

    /// Returns the estimate for which a provider is expected to count so many tokens.
    #[cfg(feature = "share")]
    pub(super) fn estimated(&self, dimension: Dimension, tokens: u64) -> u64 {
        match self.factor(dimension) {
            1.0 => tokens,
            factor => (tokens as f64 / factor) as u64,
        }
    }

    /// Returns by how much the provider may count more or less than expected, as a part of it.
    pub(super) fn spread(&self, dimension: Dimension) -> f64 {
        self.ratio(dimension).spread
    }

    #[cfg(feature = "share")]
    pub(in crate::quota::limit) fn refill(&self) -> Refill {
        self.refill
    }

    #[cfg(feature = "share")]
    pub(in crate::quota::limit) fn set_refill(&mut self, refill: Refill) {
        self.refill = refill;
    }

    /// Notes that other processes have sent too.
    #[cfg(feature = "share")]
    pub(in crate::quota::limit) fn add_others(&mut self) {
        self.has_others = true;
    }

    fn factor(&self, dimension: Dimension) -> f64 {
        let factor = self.ratio(dimension).factor();
        match self.has_others {
            true => factor.max(1.0),
            false => factor,
        }
    }

    fn ratio(&self, dimension: Dimension) -> Ratio {
        let mut ratios = self.ratios.iter();
        let ratio = ratios.find(|(of, _)| *of == dimension);
        ratio.map_or(Ratio::NEW, |(_, ratio)| *ratio)
    }

    fn ratio_mut(&mut self, dimension: Dimension) -> &mut Ratio {
        let known = self.ratios.iter().position(|(of, _)| *of == dimension);
        let at = known.unwrap_or_else(|| {
            self.ratios.push((dimension, Ratio::NEW));
            self.ratios.len() - 1
        });
        &mut self.ratios[at].1
    }

    /// Notes that a provider has counted so many tokens for one request.
    pub(super) fn count_one(&mut self, dimension: Dimension, counted: f64, estimated: u64) {
        if estimated == 0 || counted <= 0.0 {
            return;
        }
        let ratio = self.ratio_mut(dimension);
        let of_one = counted / estimated as f64;
        ratio.observe(of_one);
        ratio.factor += (of_one - ratio.factor) * ONE;
    }

    /// Notes how far the cost of one request was off. If other requests were admitted in between, that is no
    /// error of the estimate.
    pub(super) fn observe_one(&mut self, dimension: Dimension, counted: f64, estimated: u64) {
        let ratio = self.ratio_mut(dimension);
        if ratio.is_known && estimated > 0 && counted > 0.0 {
            ratio.observe(counted / estimated as f64);
        }
    }

    /// Notes that a request was rejected that was expected to fit, so that estimates are further off than known.
    pub(super) fn widen(&mut self, dimension: Dimension) {
        let ratio = self.ratio_mut(dimension);
        ratio.spread = (ratio.spread * WIDER).min(SPREAD[1]);
    }

    /// Bounds what a provider counts. It has counted no more than the requests that were sent by then, and no
    /// less than those whose responses have come.
    pub(super) fn bound(
        &mut self,
        dimension: Dimension,
        (counted, sent): (f64, u64),
        (most_counted, completed): (f64, u64),
    ) {
        if completed == 0 || counted <= 0.0 {
            return;
        }
        let least = counted / sent.max(completed) as f64;
        let most = most_counted / completed as f64;
        let ratio = self.ratio_mut(dimension);
        ratio.factor = ratio.factor.clamp(least, most.max(least));
        ratio.is_known |= most < least * KNOWN;
    }
}

// === impl Ratio ===

impl Ratio {
    const NEW: Self = Self {
        factor: 1.0,
        spread: SPREAD[0],
        is_known: false,
    };

    fn observe(&mut self, of_one: f64) {
        let off = (of_one / self.factor - 1.0).abs();
        if off < SPREAD[1] {
            self.spread = (self.spread * KEPT).max(off).max(SPREAD[0]);
        }
    }

    fn factor(self) -> f64 {
        match (self.factor - 1.0).abs() < EXACT {
            true => 1.0,
            false => self.factor.clamp(1.0 / MAX_FACTOR, MAX_FACTOR),
        }
    }
}

// === impl SentCosts ===

impl SentCosts {
    /// Adds a request that is sent now.
    pub(super) fn add(&mut self, demand: Demand, now: Instant) {
        let cost = demand.cost();
        if demand.is_rough() {
            self.rough = Some(now);
        }
        if cost == Cost::default() {
            return;
        }
        self.sum = self.sum.saturating_add(cost);
        match self.moments.back_mut() {
            Some((from, sum)) if now <= *from => *sum = self.sum,
            _ => {
                if self.moments.len() >= MAX_MOMENTS {
                    self.moments.pop_front();
                }
                self.moments.push_back((now, self.sum));
            }
        }
    }

    /// Takes a request back that was rejected, and so was not counted.
    pub(super) fn remove(&mut self, cost: Cost, sent: Instant) {
        self.sum = self.sum.saturating_sub(cost);
        let since = self.moments.iter_mut().rev();
        for (_, sum) in since.take_while(|(from, _)| *from >= sent) {
            *sum = sum.saturating_sub(cost);
        }
    }

    /// Returns the sum up to the requests that were sent at that moment; `None` if that is too long ago.
    pub(super) fn until(&self, sent: Instant) -> Option<Cost> {
        if self.rough.is_some_and(|rough| sent <= rough) {
            return None;
        }
        let after = self.moments.partition_point(|(from, _)| *from <= sent);
        match after.checked_sub(1) {
            Some(at) => self.moments.get(at).map(|(_, sum)| *sum),
            // Nothing was sent before.
            None => (self.moments.len() < MAX_MOMENTS).then(Cost::default),
        }
    }
}
