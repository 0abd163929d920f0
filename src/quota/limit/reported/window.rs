//! The last report on one window of a limit. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    quota::{
        limit::{
            ProviderTraits,
            known::KnownLimit,
            remaining::ExhaustedWindow,
            reserve::{Lasts, Reserve},
            tokens::{Refill, ReportedReset},
        },
        timing::{ADMISSION_SLACK, MAX_COOLDOWN, SAME_WINDOW_SLACK, doublings},
    },
    rejection::{Bucket, Dimension, Window},
};

/// How many requests are sent after a window's end until it is known how the window refills.
const CAUTIOUS: u64 = 2;

/// The last report on one window.
#[derive(Clone, Debug)]
pub(super) struct ReportedWindow {
    pub(super) dimension: Dimension,
    pub(super) window: Option<Window>,
    pub(super) limit: Option<u64>,
    pub(super) remaining: u64,
    /// When there is more; `None` if that is not known.
    pub(super) resets: Option<Instant>,
    /// Whether the window has ended since the report.
    pub(super) has_ended: bool,
    /// Whether nothing is left, and more at no known time.
    pub(super) is_vague: bool,
    /// When the reporting request was sent, or when the window began. What was sent well before is counted
    /// in `remaining`.
    pub(super) sent: Instant,
    /// When the report came.
    pub(super) came: Instant,
    /// The longest time to a reset that was reported.
    pub(super) longest: Option<Duration>,
    /// The report with which later ones are compared.
    pub(super) first: Option<ReportedReset>,
    /// How many have passed since nothing is left, if that is being tested.
    pub(super) passed: Option<u64>,
}

// === impl ReportedWindow ===

impl ReportedWindow {
    /// Reads a report; `None` if it does not say how much is left.
    pub(super) fn new(bucket: &Bucket, (sent, now): (Instant, Instant)) -> Option<Self> {
        let remaining = bucket.remaining?;
        // A reset of zero is no end: that window is over.
        let reset = bucket.reset.filter(|reset| !reset.is_zero());
        let admitted = now.min(sent + ADMISSION_SLACK);
        let reset = reset.map(|reset| reset.min(MAX_COOLDOWN));
        let resets = reset.map(|reset| admitted + reset);
        let is_vague = remaining == 0 && resets.is_none();
        Some(Self {
            dimension: bucket.dimension,
            window: bucket.window,
            limit: bucket.limit,
            remaining: match is_vague {
                true => bucket.limit.unwrap_or(u64::MAX),
                false => remaining,
            },
            resets,
            has_ended: false,
            is_vague,
            sent: if is_vague { now } else { sent },
            came: now,
            longest: reset,
            first: ReportedReset::of(bucket, admitted),
            passed: None,
        })
    }

    pub(super) fn known(
        &self,
        traits: &ProviderTraits,
        out: impl Fn(Instant) -> u64,
        now: Instant,
    ) -> KnownLimit {
        let left = match self.is_uncertain(traits) {
            true => self.guess(now).0,
            false => self.remaining,
        };
        let reserved = match self.counts_requests() {
            true => out(self.sent),
            false => 0,
        };
        KnownLimit {
            dimension: self.dimension,
            window: self.window,
            limit: self.limit,
            remaining: left.saturating_sub(reserved),
            reserved,
            resets: self.resets,
            is_learned: false,
        }
    }

    pub(super) fn is_of(&self, bucket: &Bucket) -> bool {
        self.dimension == bucket.dimension && self.window == bucket.window
    }

    /// Returns whether the window, which has ended, did so at about that moment.
    #[cfg(feature = "share")]
    pub(super) fn is_near(&self, resets: Instant) -> bool {
        let slack = self.longest.map_or(SAME_WINDOW_SLACK, |length| length / 2);
        resets.saturating_duration_since(self.sent) < slack.min(SAME_WINDOW_SLACK)
    }

    pub(super) fn exhausted(&self, now: Instant) -> Option<ExhaustedWindow> {
        let until = self.resets.filter(|resets| *resets > now)?;
        (self.remaining == 0).then_some(ExhaustedWindow {
            dimension: self.dimension,
            since: self.came,
            until,
            passed: self.passed,
            limit: self.limit.unwrap_or_default(),
        })
    }

    /// Returns whether it says anything: nothing left, and more at no known time, is no knowledge.
    pub(super) fn is_known(&self) -> bool {
        self.remaining > 0 || self.resets.is_some()
    }

    /// Returns whether less than the whole limit may be available.
    pub(super) fn is_uncertain(&self, traits: &ProviderTraits) -> bool {
        self.is_vague || (self.has_ended && traits.refills_at_once != Some(true))
    }

    /// Returns what may be left some time after the window's end, or after a report of nothing left without
    /// an end: little, and doubling, because a response that reports may take long. And when it doubles.
    pub(super) fn guess(&self, now: Instant) -> (u64, Instant) {
        let (doublings, next) = doublings(self.sent, now);
        (self.remaining.min(CAUTIOUS << doublings), next)
    }

    /// Returns how many a request leaves to others.
    pub(super) fn reserved(&self, reserve: Reserve, traits: &ProviderTraits, now: Instant) -> u64 {
        if self.dimension == Dimension::Concurrency {
            return self.limit.map_or(0, |limit| reserve.of_places(limit));
        }
        if let (Refill::Steady, Some(reset)) = (traits.requests_refill, self.first) {
            let fills_in = reset.fills_in(self.limit.unwrap_or_default());
            let since = now.saturating_duration_since(self.came).as_secs_f64();
            let refilled =
                since / fills_in.as_secs_f64().max(0.001) * self.limit.unwrap_or_default() as f64;
            // What has come back since the report is not counted as left.
            let reserved = reserve.of_requests(self.limit, Lasts::steady(fills_in));
            return reserved.saturating_sub(refilled as u64);
        }
        let next = self.longest.filter(|_| self.has_ended);
        let next = next.map(|length| self.sent + length);
        let lasts = match (self.resets.or(next), self.longest) {
            (Some(end), Some(length)) => Lasts::until(end, length, now),
            _ => Lasts::ALWAYS,
        };
        reserve.of_requests(self.limit, lasts)
    }

    /// Observes if the limit refills steadily, by an earlier report of this window.
    pub(super) fn observe_refill(&mut self, report: &Self, traits: &mut ProviderTraits) {
        let (Some(limit), Some(reset)) = (self.limit, report.first) else {
            return;
        };
        if let Some(refill) = self.first.and_then(|first| Refill::of(limit, first, reset)) {
            traits.requests_refill = refill;
            self.first = Some(reset);
        }
        self.first = self.first.or(Some(reset));
    }

    /// Returns whether so many are the whole limit, but for what has just been sent.
    pub(super) fn is_full(&self, remaining: u64) -> bool {
        let is_full = |limit| remaining.saturating_add(CAUTIOUS) >= limit;
        self.limit.is_some_and(is_full)
    }

    pub(super) fn counts_requests(&self) -> bool {
        matches!(self.dimension, Dimension::Requests | Dimension::Concurrency)
    }

    /// Merges a report. Responses may come in another order than the provider sent them: within one window,
    /// the least counts.
    pub(super) fn correct(&mut self, report: Self, now: Instant) {
        // A window's end is known to a second: a report of the next window may be of an earlier request.
        let is_next = self.has_ended && report.resets.is_some();
        let is_older = report.sent < self.sent && !is_next;
        let is_same_window = match (self.resets, report.resets) {
            (Some(known), Some(other)) => {
                known > now && known.max(other) - known.min(other) < SAME_WINDOW_SLACK
            }
            _ => false,
        };
        if is_same_window {
            if report.remaining < self.remaining {
                self.came = report.came;
            }
            self.remaining = self.remaining.min(report.remaining);
            self.resets = self.resets.max(report.resets);
            self.sent = self.sent.max(report.sent);
        } else if !is_older {
            *self = Self {
                longest: self.longest.max(report.longest),
                first: self.first.or(report.first),
                ..report
            };
        }
    }
}
