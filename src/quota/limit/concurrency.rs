//! Limits on requests in flight: room comes back when one ends, not when a window does. Pure.
//!
//! The ceiling is the number that a rejection names, or else what was in flight when it came. Now and then one
//! more is tried; a rejection below the ceiling lowers it. A rejection that says nothing is only suspected to
//! come of requests in flight, until [`silent`] finds out.

mod silent;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{Capacity, known::KnownLimit, reserve::Reserve};
use crate::rejection::Dimension;
pub(super) use silent::SilentCeilings;

/// After so many requests at a ceiling one more is tried; after each rejected try after twice as many.
const TEST_AFTER: u64 = 48;

/// The same if the provider has named the number.
const TEST_NAMED_AFTER: u64 = 512;

/// So many requests that have just ended are remembered.
const MOST_ENDED: usize = 64;

/// So many rejections at a ceiling that none of them has named confirm it.
const CONFIRMATIONS: u32 = 1;

/// How many requests may be in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct Concurrency {
    ceiling: Option<Ceiling>,
    suspicion: Option<Suspicion>,
    /// The most that are known to have been in flight together. No ceiling is lower.
    proven: u64,
    /// When the last requests have ended that were in flight together with those that are now.
    ended: VecDeque<Instant>,
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
    /// `None` if rejections say in words that requests in flight are limited.
    silent: Option<Silent>,
}

/// What is known of a ceiling that no rejection names.
#[derive(Clone, Copy, Debug)]
struct Silent {
    /// Whether one more than the ceiling was rejected.
    confirmed: u32,
    /// When the last rejection came.
    rejected: Option<Instant>,
}

/// The ceiling that explains the rejections since a moment.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    most: u64,
    began: Instant,
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

    /// Notes that a request has passed that was sent then, while so many others are in flight that would have
    /// been rejected within `latency`.
    pub(super) fn prove(
        &mut self,
        others: u64,
        (sent, now): (Instant, Instant),
        latency: Duration,
    ) {
        if !self.ended.is_empty() {
            // A response takes part of that time on its way back.
            let together = latency * 2 / 3;
            self.ended.retain(|end| *end + together > now);
        }
        if sent + latency <= now && self.ended.len() < MOST_ENDED {
            self.ended.push_back(now);
        }
        let ended = u64::try_from(self.ended.len()).unwrap_or(u64::MAX);
        self.proven = self.proven.max(others.saturating_add(ended));
    }

    /// Notes that a request has passed, while so many were in flight.
    pub(super) fn pass(&mut self, kind: &mut SilentCeilings, in_flight: u64, sent: Instant) {
        let Some(ceiling) = &mut self.ceiling else {
            return;
        };
        let is_unconfirmed = ceiling
            .silent
            .is_some_and(|it| it.confirmed < CONFIRMATIONS);
        if ceiling.test == Some(sent) || (is_unconfirmed && in_flight >= ceiling.most) {
            (ceiling.most, ceiling.is_named) = (ceiling.most.saturating_add(1), false);
            (ceiling.passed, ceiling.test) = (0, None);
        } else if in_flight >= ceiling.most {
            ceiling.passed = ceiling.passed.saturating_add(1);
            if ceiling.silent.is_some() && ceiling.passed == TEST_AFTER {
                kind.agree();
            }
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
            test_after,
            ..Ceiling::UNKNOWN
        });
        ceiling.silent = None;
        ceiling.lower(others, named, sent)
    }

    /// Records a rejection that says nothing, while so many others were in flight, if it comes of these. Returns
    /// the ceiling.
    pub(super) fn reject_silently(
        &mut self,
        kind: &mut SilentCeilings,
        others: u64,
        (sent, now): (Instant, Instant),
    ) -> Option<u64> {
        if !kind.is_shown() {
            return None;
        }
        let ceiling = self.ceiling.unwrap_or(Ceiling::UNKNOWN);
        let silent = ceiling.silent.unwrap_or(Silent::NEW);
        let is_of_burst = silent.rejected.is_some_and(|rejected| sent <= rejected);
        let is_first = self.ceiling.is_none();
        if others < self.proven.max(1) {
            if kind.contradict() {
                self.ceiling = None;
            }
            return None;
        }
        let ceiling = self.ceiling.insert(ceiling);
        ceiling.silent = Some(Silent {
            confirmed: silent.confirmed + u32::from(!(is_first || is_of_burst)),
            rejected: Some(now),
        });
        Some(ceiling.lower(others, None, sent))
    }

    /// Suspects that a rejection that says nothing came of so many others in flight.
    pub(super) fn suspect(&mut self, others: u64, (sent, now): (Instant, Instant)) {
        self.suspicion = match self.suspicion {
            _ if others < self.proven.max(1) => None,
            // The requests that were in flight together are one rejection.
            Some(it) if sent <= it.began => Some(Suspicion {
                most: it.most.min(others),
                ..it
            }),
            _ => Some(Suspicion {
                most: others,
                began: now,
            }),
        };
    }

    /// Returns whether a request has ended of those that a suspicion says are too many.
    pub(super) fn has_room(&self, in_flight: u64) -> bool {
        self.suspicion.is_some_and(|it| in_flight < it.most)
    }

    /// Forgets what is suspected, because a probe was rejected.
    pub(super) fn forget_suspicion(&mut self) {
        self.suspicion = None;
    }

    /// Takes what was suspected for the ceiling, because that has been shown. Returns whether it was.
    pub(super) fn adopt(&mut self) -> bool {
        let Some(Suspicion { most, began }) = self.suspicion.take() else {
            return false;
        };
        let ceiling = Ceiling {
            most,
            silent: Some(Silent {
                rejected: Some(began),
                ..Silent::NEW
            }),
            ..Ceiling::UNKNOWN
        };
        self.ceiling.get_or_insert(ceiling);
        true
    }

    /// Returns how many may be in flight, if that is known.
    #[cfg(feature = "share")]
    pub(super) fn ceiling(&self) -> Option<u64> {
        self.ceiling.map(|ceiling| ceiling.most)
    }

    /// Adopts how many may be in flight from another process.
    #[cfg(feature = "share")]
    pub(super) fn set_ceiling(&mut self, most: u64) {
        let ceiling = self.ceiling.get_or_insert(Ceiling::UNKNOWN);
        (ceiling.most, ceiling.passed, ceiling.test) = (most.max(1), 0, None);
    }

    /// Forgets a ceiling that no rejection has said.
    pub(super) fn forget_silent(&mut self) {
        self.ceiling = self.ceiling.filter(|ceiling| ceiling.silent.is_none());
    }
}

// === impl Ceiling ===

impl Ceiling {
    const UNKNOWN: Self = Self {
        most: u64::MAX,
        is_named: false,
        passed: 0,
        test_after: TEST_AFTER,
        test: None,
        silent: None,
    };

    fn lower(&mut self, others: u64, named: Option<u64>, sent: Instant) -> u64 {
        if self.test == Some(sent) {
            self.test_after = self.test_after.saturating_mul(2);
        }
        (self.test, self.passed) = (None, 0);
        let most = match named {
            Some(named) => named.min(self.most.max(others)),
            None => self.most.min(others),
        };
        self.most = most.max(1);
        self.is_named = named == Some(self.most);
        self.most
    }
}

// === impl Silent ===

impl Silent {
    const NEW: Self = Self {
        confirmed: 0,
        rejected: None,
    };
}

#[cfg(test)]
mod tests;
