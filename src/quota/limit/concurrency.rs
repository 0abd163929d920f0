//! Limits on requests in flight: room comes back when one ends, not when a window does. Pure.
//!
//! The ceiling is the number that a rejection names, or else what was in flight when it came. Now and then one
//! more is tried; a rejection below the ceiling lowers it.

use tokio::time::Instant;

use super::{Capacity, known::KnownLimit, reserve::Reserve};
use crate::rejection::Dimension;

/// After so many requests at a ceiling one more is tried; after each rejected try after twice as many.
const TEST_AFTER: u64 = 48;

/// The same if the provider has named the number.
const TEST_NAMED_AFTER: u64 = 512;

/// How many requests may be in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Concurrency {
    ceiling: Option<Ceiling>,
}

#[derive(Clone, Copy, Debug)]
struct Ceiling {
    most: u64,
    /// Whether the provider has named it.
    is_named: bool,
    /// How many have passed at the ceiling since the last try.
    passed: u64,
    test_after: u64,
    /// When the request was sent that is one more than the ceiling.
    test: Option<Instant>,
}

// === impl Concurrency ===

impl Concurrency {
    /// Returns what may be sent while so many are in flight, by what is known of this limit, or else of
    /// `typical` ones.
    pub(super) fn capacity(
        &self,
        in_flight: u64,
        typical: Option<u64>,
        reserve: Option<Reserve>,
    ) -> Capacity {
        let Some(most) = self.allowed().or(typical) else {
            return Capacity::UNLIMITED;
        };
        let reserved = reserve.map_or(0, |reserve| reserve.of_places(most));
        match most.saturating_sub(in_flight.saturating_add(reserved)) {
            0 => Capacity::Full(None),
            more => Capacity::Available(more),
        }
    }

    /// Returns how many may be in flight while so many are, as [`capacity`](Self::capacity) says.
    pub(super) fn known(&self, in_flight: u64, typical: Option<u64>) -> Option<KnownLimit> {
        let own = self.ceiling.as_ref();
        let most = own.map(|ceiling| ceiling.most).or(typical)?;
        Some(KnownLimit {
            dimension: Dimension::Concurrency,
            window: None,
            limit: Some(most),
            remaining: most.saturating_sub(in_flight),
            reserved: in_flight,
            resets: None,
            is_learned: own.is_none_or(|ceiling| !ceiling.is_named),
        })
    }

    fn allowed(&self) -> Option<u64> {
        let ceiling = self.ceiling?;
        let tests = ceiling.passed >= ceiling.test_after && ceiling.test.is_none();
        Some(ceiling.most.saturating_add(u64::from(tests)))
    }

    /// Notes that a request is sent, so that so many are in flight.
    pub(super) fn send(&mut self, in_flight: u64, now: Instant) {
        if let Some(ceiling) = self.ceiling.as_mut().filter(|it| in_flight > it.most) {
            ceiling.test.get_or_insert(now);
        }
    }

    /// Notes that a request has passed, while so many were in flight.
    pub(super) fn pass(&mut self, in_flight: u64, sent: Instant) {
        let Some(ceiling) = &mut self.ceiling else {
            return;
        };
        if ceiling.test == Some(sent) {
            (ceiling.most, ceiling.is_named) = (ceiling.most.saturating_add(1), false);
            (ceiling.passed, ceiling.test) = (0, None);
        } else if in_flight >= ceiling.most {
            ceiling.passed = ceiling.passed.saturating_add(1);
        }
    }

    /// Notes that a request has ended without a response that counts.
    pub(super) fn end(&mut self, sent: Instant) {
        if let Some(ceiling) = &mut self.ceiling {
            ceiling.test = ceiling.test.filter(|test| *test != sent);
        }
    }

    /// Records a rejection while so many others were in flight; `named` is the limit that it names. Returns the
    /// ceiling.
    pub(super) fn reject(&mut self, others: u64, named: Option<u64>, sent: Instant) -> u64 {
        let test_after = match named {
            Some(_) => TEST_NAMED_AFTER,
            None => TEST_AFTER,
        };
        let ceiling = self.ceiling.get_or_insert(Ceiling {
            most: u64::MAX,
            is_named: false,
            passed: 0,
            test_after,
            test: None,
        });
        if ceiling.test == Some(sent) {
            ceiling.test_after = ceiling.test_after.saturating_mul(2);
        }
        ceiling.test = None;
        ceiling.passed = 0;
        ceiling.most = match named {
            Some(named) => named.min(ceiling.most.max(others)),
            None => ceiling.most.min(others),
        };
        ceiling.most = ceiling.most.max(1);
        ceiling.is_named = named == Some(ceiling.most);
        ceiling.most
    }
}
