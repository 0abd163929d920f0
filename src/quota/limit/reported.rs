//! How many requests the provider reports to be left, whether nothing is left of anything, and when there is
//! more. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    ProviderTraits,
    known::KnownLimit,
    remaining::{ExhaustedWindow, Remaining},
    reserve::{Lasts, Reserve},
    tokens::{Refill, ReportedReset},
};
use crate::{
    quota::timing::{ADMISSION_SLACK, MAX_COOLDOWN, SAME_WINDOW_SLACK, doublings},
    rejection::{Bucket, Dimension, Window},
};

/// How many requests are sent after a window's end until it is known how the window refills.
const CAUTIOUS: u64 = 2;

/// The last report on each window of a limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported {
    windows: Vec<ReportedWindow>,
    /// When the last trusted window ended.
    ended: Option<Instant>,
}

#[derive(Clone, Debug)]
struct ReportedWindow {
    dimension: Dimension,
    window: Option<Window>,
    limit: Option<u64>,
    remaining: u64,
    /// When there is more; `None` if that is not known.
    resets: Option<Instant>,
    /// Whether the window has ended since the report.
    has_ended: bool,
    /// Whether nothing is left, and more at no known time.
    is_vague: bool,
    /// When the reporting request was sent, or when the window began. What was sent well before is counted
    /// in `remaining`.
    sent: Instant,
    /// When the report came.
    came: Instant,
    /// The longest time to a reset that was reported.
    longest: Option<Duration>,
    /// The report with which later ones are compared.
    first: Option<ReportedReset>,
    /// How many have passed since nothing is left, if that is being tested.
    passed: Option<u64>,
}

// === impl Reported ===

impl Reported {
    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Records what the response reports to a request that was sent at `sent`.
    pub(super) fn update<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        buckets: impl Iterator<Item = &'a Bucket>,
        (sent, now): (Instant, Instant),
    ) {
        if traits.tokens.is_steady() {
            // A limit on tokens that refills steadily is known better by [`Tokens`](super::Tokens).
            self.windows
                .retain(|window| !window.dimension.is_of_tokens());
        }
        for bucket in buckets {
            if traits.tokens.is_steady() && bucket.dimension.is_of_tokens() {
                continue;
            }
            let known = self.windows.iter_mut().find(|known| known.is_of(bucket));
            let Some(report) = ReportedWindow::new(bucket, (sent, now)) else {
                continue;
            };
            let Some(known) = known else {
                self.windows.push(report);
                continue;
            };
            let is_over = report.resets.is_some_and(|resets| resets <= now);
            if is_over || (report.is_vague && known.is_vague) {
                continue;
            }
            if known.has_ended && known.sent <= sent {
                // The first report after a window's end shows whether the whole limit is available again.
                traits.refills_at_once = Some(known.is_full(report.remaining));
            }
            known.observe_refill(&report, traits);
            known.correct(report, now);
        }
    }

    /// Counts a success whose response does not report what is left.
    pub(super) fn count_one(&mut self) {
        self.count_if(|_| true);
        // Nothing is known of an ended window without a report.
        self.windows
            .retain(|window| !window.has_ended && window.is_known());
    }

    /// Counts a request that was sent at `sent`, and whose response is not seen.
    pub(super) fn count_abandoned(&mut self, sent: Instant) {
        self.count_if(|window| !window.has_ended && window.sent <= sent);
        self.windows.retain(ReportedWindow::is_known);
    }

    fn count_if(&mut self, counts: impl Fn(&ReportedWindow) -> bool) {
        for window in &mut self.windows {
            if window.counts_requests() && counts(window) {
                window.remaining = window.remaining.saturating_sub(1);
            }
        }
    }

    /// Returns how many may be sent, less what is `out` since each moment and what is left to others.
    pub(super) fn remaining(
        &mut self,
        (traits, reserve): (&ProviderTraits, Option<Reserve>),
        out: impl Fn(Instant) -> u64,
        now: Instant,
    ) -> Remaining {
        // Most limits are not reported.
        if self.windows.is_empty() {
            return Remaining::Unknown;
        }
        self.roll(traits, now);
        let mut least = Remaining::Unknown;
        for window in self.trusted(traits, now) {
            let reserved = || reserve.map_or(0, |reserve| window.reserved(reserve, traits, now));
            let out = || out(window.sent).saturating_add(reserved());
            least = least.min(match window.exhausted(now) {
                Some(exhausted) => Remaining::None(exhausted),
                None if !window.counts_requests() => continue,
                None if window.is_uncertain(traits) => {
                    let (left, more_at) = window.guess(now);
                    Remaining::Guessed(left.saturating_sub(out()), more_at)
                }
                None => Remaining::Requests(window.remaining.saturating_sub(out()), window.resets),
            });
        }
        least
    }

    /// Returns what is known now of each window that counts no tokens, less what is `out` since each moment.
    pub(super) fn known(
        &self,
        traits: &ProviderTraits,
        out: impl Fn(Instant) -> u64,
        now: Instant,
    ) -> Vec<KnownLimit> {
        let mut rolled = self.clone();
        rolled.roll(traits, now);
        let windows = rolled.trusted(traits, now);
        let windows = windows.filter(|window| !window.dimension.is_of_tokens());
        let known = windows.map(|window| window.known(traits, &out, now));
        known.collect()
    }

    /// Returns the exhausted window that resets last.
    pub(super) fn exhausted(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<ExhaustedWindow> {
        let windows = self.trusted(traits, now);
        let exhausted = windows.filter_map(|window| window.exhausted(now));
        exhausted.max_by_key(|window| window.until)
    }

    /// Returns when the last window ended.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// Records how many have passed since nothing is left of what this counts.
    pub(super) fn test(&mut self, dimension: Dimension, passed: u64) {
        let windows = self.windows.iter_mut();
        for window in windows.filter(|it| it.dimension == dimension && it.remaining == 0) {
            window.passed = Some(passed);
        }
    }

    /// Returns what was exhausted and tested when a request was sent whose rejection comes after the
    /// window's end.
    pub(super) fn was_tested(&self, sent: Instant) -> Option<Dimension> {
        let mut windows = self.windows.iter();
        let window = windows.find(|it| it.has_ended && it.passed.is_some() && sent < it.sent)?;
        Some(window.dimension)
    }

    fn trusted(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> impl Iterator<Item = &ReportedWindow> {
        let windows = self.windows.iter();
        windows.filter(move |window| traits.trusts(window.dimension, now))
    }

    /// Refills each window that has ended, until more is reported.
    fn roll(&mut self, traits: &ProviderTraits, now: Instant) {
        let ended = &mut self.ended;
        self.windows.retain_mut(|window| {
            let Some(resets) = window.resets.filter(|resets| *resets <= now) else {
                return true;
            };
            if traits.trusts(window.dimension, now) {
                *ended = (*ended).max(Some(resets));
            }
            window.remaining = window.limit.unwrap_or_default();
            (window.sent, window.resets, window.has_ended) = (resets, None, true);
            window.first = None;
            window.remaining > 0
        });
    }
}

// === impl ReportedWindow ===

impl ReportedWindow {
    /// Reads a report; `None` if it does not say how much is left.
    fn new(bucket: &Bucket, (sent, now): (Instant, Instant)) -> Option<Self> {
        let remaining = bucket.remaining?;
        // A window that is over is none, and one without an end is sent to again.
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

    fn known(
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

    fn is_of(&self, bucket: &Bucket) -> bool {
        self.dimension == bucket.dimension && self.window == bucket.window
    }

    fn exhausted(&self, now: Instant) -> Option<ExhaustedWindow> {
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
    fn is_known(&self) -> bool {
        self.remaining > 0 || self.resets.is_some()
    }

    /// Returns whether less than the whole limit may be available.
    fn is_uncertain(&self, traits: &ProviderTraits) -> bool {
        self.is_vague || (self.has_ended && traits.refills_at_once != Some(true))
    }

    /// Returns what may be left some time after the window's end, or after a report of nothing left without
    /// an end: little, and doubling, because a response that reports may take long. And when it doubles.
    fn guess(&self, now: Instant) -> (u64, Instant) {
        let (doublings, next) = doublings(self.sent, now);
        (self.remaining.min(CAUTIOUS << doublings), next)
    }

    /// Returns how many a request leaves to others.
    fn reserved(&self, reserve: Reserve, traits: &ProviderTraits, now: Instant) -> u64 {
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
    fn observe_refill(&mut self, report: &Self, traits: &mut ProviderTraits) {
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
    fn is_full(&self, remaining: u64) -> bool {
        let is_full = |limit| remaining.saturating_add(CAUTIOUS) >= limit;
        self.limit.is_some_and(is_full)
    }

    fn counts_requests(&self) -> bool {
        matches!(self.dimension, Dimension::Requests | Dimension::Concurrency)
    }

    /// Merges a report. Responses may come in another order than the provider sent them: within one window,
    /// the least counts.
    fn correct(&mut self, report: Self, now: Instant) {
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
