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

/// How much of what is known is kept with each new fact.
const KEPT: f64 = 0.97;

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
}

/// What was counted, and what was estimated.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    counted: f64,
    estimated: f64,
    /// How far single estimates were off.
    spread: f64,
}

/// The sum of the estimated costs of all requests, by when they were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct SentCosts {
    sum: Cost,
    /// The sums after each moment, the oldest first.
    moments: VecDeque<(Instant, Cost)>,
    /// When the last request was sent of which the cost is not known.
    rough: Option<Instant>,
}

// === impl Calibration ===

impl Calibration {
    /// Returns whether limits on tokens refill steadily.
    pub(in crate::quota::limit) fn is_steady(&self) -> bool {
        self.refill == Refill::Steady
    }

    /// Returns how many tokens of one kind a provider is expected to count for a cost.
    pub(super) fn calibrated(&self, dimension: Dimension, cost: Cost) -> u64 {
        let estimated = tokens_of(cost, dimension).unwrap_or_default();
        let mut ratios = self.ratios.iter();
        let ratio = ratios.find(|(of, _)| *of == dimension);
        ratio.map_or(estimated, |(_, ratio)| {
            (estimated as f64 * ratio.factor()).ceil() as u64
        })
    }

    /// Returns by how much the provider may count more or less than expected, as a part of it.
    pub(super) fn spread(&self, dimension: Dimension) -> f64 {
        let mut ratios = self.ratios.iter();
        let ratio = ratios.find(|(of, _)| *of == dimension);
        ratio.map_or(SPREAD[0], |(_, ratio)| ratio.spread)
    }

    /// Notes that a provider has counted so many tokens for the estimate of one request, or of several.
    pub(super) fn count(
        &mut self,
        dimension: Dimension,
        counted: f64,
        (estimated, is_one): (u64, bool),
    ) {
        if estimated == 0 || counted < 0.0 {
            return;
        }
        let estimated = estimated as f64;
        let known = self.ratios.iter_mut().find(|(of, _)| *of == dimension);
        match known {
            Some((_, ratio)) => {
                ratio.add(counted, estimated);
                if is_one {
                    ratio.observe(counted, estimated);
                }
            }
            None => {
                // The estimate itself counts as much as the first fact.
                let mut ratio = Ratio {
                    counted: estimated,
                    estimated,
                    spread: SPREAD[0],
                };
                ratio.add(counted, estimated);
                self.ratios.push((dimension, ratio));
            }
        }
    }
}

// === impl Ratio ===

impl Ratio {
    fn add(&mut self, counted: f64, estimated: f64) {
        self.counted = self.counted * KEPT + counted;
        self.estimated = self.estimated * KEPT + estimated;
    }

    /// Notes how much one request was off.
    fn observe(&mut self, counted: f64, estimated: f64) {
        let off = (counted / (estimated * self.factor()) - 1.0).abs();
        // Others that were admitted in between are no error of the estimate.
        if off < SPREAD[1] {
            self.spread = (self.spread * KEPT).max(off).max(SPREAD[0]);
        }
    }

    fn factor(self) -> f64 {
        let factor = self.counted / self.estimated;
        match (factor - 1.0).abs() < EXACT {
            true => 1.0,
            false => factor.clamp(1.0 / MAX_FACTOR, MAX_FACTOR),
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

    /// Returns the sum up to the requests that were sent at that moment; `None` if that is too long ago.
    pub(super) fn until(&self, sent: Instant) -> Option<Cost> {
        if self.rough.is_some_and(|rough| sent <= rough) {
            return None;
        }
        let after = self.moments.partition_point(|(from, _)| *from <= sent);
        let (_, sum) = self.moments.get(after.checked_sub(1)?)?;
        Some(*sum)
    }
}
