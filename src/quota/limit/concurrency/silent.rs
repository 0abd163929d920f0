//! What the limits of one kind have shown of rejections that say nothing: whether they come of requests in
//! flight. Pure.
//!
//! A window stays closed until it ends; a slot is free as soon as a request ends. So after a rejection, the end
//! of a request in flight permits one probe. If two such probes in a row are not rejected, the kind limits
//! requests in flight.

use std::time::Duration;

use tokio::time::Instant;

use crate::quota::timing::REJECTION_LATENCY;

/// So many probes may be rejected.
const MOST_FAILED: u32 = 2;

/// So many probes in a row have to pass. One may pass by chance, or because a bucket has refilled.
const PASSES: u32 = 4;

/// So many rejections that no ceiling explains disprove it.
const MOST_AGAINST: u32 = 2;

/// After a disproof, so many requests of the kind have to pass before the next probe.
const REST: u32 = 65_536;

/// Shared by the limits of one kind.
#[derive(Clone, Debug, Default)]
pub(in crate::quota::limit) struct SilentCeilings {
    probe: Option<Probe>,
    is_shown: bool,
    /// How many probes have passed in a row.
    passed: u32,
    /// How many probes were rejected.
    failed: u32,
    /// How many rejections no ceiling explains.
    against: u32,
    /// How many requests have to pass before the next probe.
    rest: u32,
}

/// The request that finds out if the end of another has made room.
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// The limit that it runs on.
    number: u32,
    at: Instant,
    is_sent: bool,
}

// === impl SilentCeilings ===

impl SilentCeilings {
    pub(in crate::quota::limit) fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Returns whether a probe may be worth a request, now or once the last one has its result.
    pub(in crate::quota::limit) fn may_probe(&self) -> bool {
        !self.is_shown && self.rest == 0
    }

    /// Returns when the next probe may be sent.
    pub(in crate::quota::limit) fn next_probe(&self, latency: Duration, now: Instant) -> Instant {
        self.probe.map_or(now, |probe| match probe.is_sent {
            true => probe.at + latency,
            // It may be given up.
            false => probe.at + REJECTION_LATENCY,
        })
    }

    /// A probe gets a place on the limit of this number.
    pub(in crate::quota::limit) fn reserve(&mut self, number: u32, now: Instant) {
        self.probe = Some(Probe {
            number,
            at: now,
            is_sent: false,
        });
    }

    /// A request is sent on the limit of this number.
    pub(in crate::quota::limit) fn send(&mut self, number: u32, now: Instant) {
        if let Some(probe) = &mut self.probe {
            if probe.number == number && !probe.is_sent {
                (probe.at, probe.is_sent) = (now, true);
            }
        }
    }

    /// Takes a probe as passed that was not rejected in time.
    pub(in crate::quota::limit) fn settle(&mut self, latency: Duration, now: Instant) {
        if let Some(probe) = self.probe.filter(|it| it.is_sent && it.at + latency <= now) {
            self.pass_probe(probe.number, probe.at);
        }
    }

    /// A request has passed.
    pub(in crate::quota::limit) fn pass(&mut self, number: u32, sent: Instant) {
        self.rest = self.rest.saturating_sub(1);
        self.pass_probe(number, sent);
    }

    fn pass_probe(&mut self, number: u32, sent: Instant) {
        if self.is_probe(number, sent) {
            (self.probe, self.failed, self.against) = (None, 0, 0);
            self.passed += 1;
            self.is_shown |= self.passed >= PASSES;
        }
    }

    /// A request has ended, whatever became of it.
    pub(in crate::quota::limit) fn end(&mut self, number: u32, sent: Instant) {
        if self.is_probe(number, sent) {
            self.probe = None;
        }
    }

    /// A request was rejected. Returns whether it was the probe.
    pub(in crate::quota::limit) fn reject(&mut self, number: u32, sent: Instant) -> bool {
        let is_probe = self.is_probe(number, sent);
        if is_probe {
            self.probe = None;
            self.passed = 0;
            self.failed += 1;
            if self.failed >= MOST_FAILED {
                self.refute();
            }
        }
        is_probe
    }

    /// A ceiling has proved right.
    pub(super) fn agree(&mut self) {
        self.against = 0;
    }

    /// A rejection came that no ceiling explains. Returns whether that disproves ceilings.
    pub(super) fn contradict(&mut self) -> bool {
        self.against += 1;
        let is_refuted = self.against >= MOST_AGAINST;
        if is_refuted {
            self.refute();
        }
        is_refuted
    }

    /// Rejections come of something else. It is not tried again for long.
    pub(in crate::quota::limit) fn refute(&mut self) {
        *self = Self {
            rest: REST,
            ..Self::default()
        };
    }

    fn is_probe(&self, number: u32, sent: Instant) -> bool {
        let is_it = |probe: Probe| probe.is_sent && (probe.number, probe.at) == (number, sent);
        self.probe.is_some_and(is_it)
    }
}
