#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

mod chance;
mod dialogue;
mod known;
mod passing;
mod probes;
mod properties;
mod reported;
mod shared;
mod tokens;
mod windows;

use std::time::Duration;

use tokio::time::Instant;

use super::{Capacity, LimitState, ProviderTraits, SlowStart};
use crate::{
    quota::{
        demand::Demand,
        timing::{LONGEST_GUESS, MAX_COOLDOWN, REJECTION_LATENCY},
    },
    rejection::{Bucket, Dimension, Reason, Rejection, Window},
    request::Cost,
};

/// The cost of a request unless a test sets it.
const COST: Cost = Cost::new(100, 10);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn reported(limit: u64, remaining: u64, reset: Duration) -> Bucket {
    Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(limit),
        remaining: Some(remaining),
        reset: Some(reset),
        cost: None,
    }
}

fn demand(cost: Cost) -> Demand {
    Demand::new(cost)
}

/// One limit, and the traits of its model.
#[derive(Default)]
struct Limit {
    state: LimitState,
    traits: ProviderTraits,
}

impl Limit {
    fn capacity(&mut self, now: Instant) -> Capacity {
        self.state
            .capacity(&mut self.traits, (demand(COST), SlowStart::Careful), now)
    }

    fn take(&mut self, now: Instant) {
        self.state.reserve(&mut self.traits, COST, now);
        self.state.mark_sent(&mut self.traits, demand(COST), now);
    }

    fn succeeded(&mut self, reports: &[Bucket], sent: Instant, now: Instant) {
        let when = (sent, now);
        let reports = (COST, reports.iter());
        self.state.succeeded(&mut self.traits, reports, when);
        self.state.release(&mut self.traits, COST, Some(sent));
    }

    fn rejected(&mut self, rejection: &Rejection, reports: &[Bucket], sent: Instant, now: Instant) {
        let when = (sent, now);
        let reports = (COST, reports);
        self.state
            .rejected(&mut self.traits, rejection, reports, when, LONGEST_GUESS);
        self.state.release(&mut self.traits, COST, Some(sent));
    }
}
