//! What the provider says is left, and when there is more. Pure.

use tokio::time::Instant;

use super::ProviderTraits;
use crate::{
    quota::timing::{ADMISSION_SLACK, MAX_COOLDOWN, SAME_WINDOW_SLACK, doublings},
    rejection::{Bucket, Dimension, Window},
};

/// The last word on each of the limits that a provider tells of.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported {
    limits: Vec<ReportedWindow>,
    /// When the last window ended, of those that were believed.
    ended: Option<Instant>,
}

#[derive(Clone, Debug)]
struct ReportedWindow {
    dimension: Dimension,
    window: Option<Window>,
    limit: Option<u64>,
    remaining: u64,
    /// When there is more; `None` while that is not known.
    resets: Option<Instant>,
    /// Whether its window has ended since it was told of.
    ended: bool,
    /// Whether nothing is left, and more at no known time.
    vague: bool,
    /// When the request went out whose answer said so, or when the window began: what went out well
    /// before is counted in what remains.
    sent: Instant,
    /// When that answer came.
    heard: Instant,
    /// How many have passed since nothing is left, if that is being tested.
    passed: Option<u64>,
}

/// So many go out after a window's end until it is known what such an end brings.
const CAUTIOUS: u64 = 2;

/// A limit of which nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExhaustedWindow {
    pub(super) dimension: Dimension,
    /// When that was told.
    pub(super) since: Instant,
    /// When there is more.
    pub(super) until: Instant,
    /// How many have passed since, if that is being tested.
    pub(super) passed: Option<u64>,
    limit: u64,
}

/// How many requests may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    /// Nothing was told.
    Unknown,
    /// So many until that moment, if it is known when the window ends.
    Requests(u64, Option<Instant>),
    /// A window has ended, but there may be only a little again, as where windows slide: so many, and
    /// more at that moment or when an answer tells.
    Guessed(u64, Instant),
    /// None for a while.
    None(ExhaustedWindow),
}

// === impl Reported ===

impl Reported {
    /// Takes in what an answer says, to a request that went out at `sent`.
    pub(super) fn update<'a>(
        &mut self,
        traits: &mut ProviderTraits,
        buckets: impl Iterator<Item = &'a Bucket>,
        (sent, now): (Instant, Instant),
    ) {
        let told_at = now.min(sent + ADMISSION_SLACK);
        for bucket in buckets {
            let Some(remaining) = bucket.remaining else {
                continue;
            };
            // A window that is over already is no window, and one without end is asked again.
            let reset = bucket.reset.filter(|reset| !reset.is_zero());
            let resets = reset.map(|reset| told_at + reset.min(MAX_COOLDOWN));
            let known = self.limits.iter().any(|limit| limit.is_of(bucket));
            if known && resets.is_some_and(|resets| resets <= now) {
                // A late word on a window that is over.
                continue;
            }
            let is_vague = remaining == 0 && resets.is_none();
            if is_vague
                && self
                    .limits
                    .iter()
                    .any(|limit| limit.is_of(bucket) && limit.vague)
            {
                continue;
            }
            let remaining = match is_vague {
                true => bucket.limit.unwrap_or(u64::MAX),
                false => remaining,
            };
            let heard = ReportedWindow {
                dimension: bucket.dimension,
                window: bucket.window,
                limit: bucket.limit,
                remaining,
                resets,
                ended: false,
                vague: is_vague,
                sent: if is_vague { now } else { sent },
                heard: now,
                passed: None,
            };
            match self.limits.iter_mut().find(|limit| limit.is_of(bucket)) {
                Some(known) => {
                    if known.ended && known.sent <= sent {
                        // The first word after a window's end: is there all of the limit again?
                        traits.refills_at_once = Some(known.holds(remaining));
                    }
                    known.correct(heard, now);
                }
                None => self.limits.push(heard),
            }
        }
    }

    /// A request passed whose answer did not say what is left.
    pub(super) fn count_one(&mut self) {
        for limit in self
            .limits
            .iter_mut()
            .filter(|limit| limit.counts_requests())
        {
            limit.remaining = limit.remaining.saturating_sub(1);
        }
        // Of a window that nobody tells of, nothing is known.
        self.limits
            .retain(|limit| !limit.ended && (limit.remaining > 0 || limit.resets.is_some()));
    }

    /// A request that went out at `sent` was given up: it counts, though no answer will say so.
    pub(super) fn count_abandoned(&mut self, sent: Instant) {
        let counts = |limit: &&mut ReportedWindow| {
            limit.counts_requests() && !limit.ended && limit.sent <= sent
        };
        for limit in self.limits.iter_mut().filter(counts) {
            limit.remaining = limit.remaining.saturating_sub(1);
        }
        // Nothing left, and more at no known time: that is no knowledge.
        self.limits
            .retain(|limit| limit.remaining > 0 || limit.resets.is_some());
    }

    /// How many may go out, less what is `out` since each moment.
    pub(super) fn remaining(
        &mut self,
        traits: &ProviderTraits,
        out: impl Fn(Instant) -> u64,
        now: Instant,
    ) -> Remaining {
        self.roll(traits, now);
        let mut left = Remaining::Unknown;
        for limit in self.heard(traits, now) {
            let of_this = match limit.exhausted(now) {
                Some(exhausted) => Remaining::None(exhausted),
                None if !limit.counts_requests() => continue,
                None if limit.is_uncertain(traits) => limit.guess(now),
                None => Remaining::Requests(limit.remaining, limit.resets),
            };
            let of_this = of_this.without(out(limit.sent));
            left = left.less(of_this);
        }
        left
    }

    /// The limit of which there is more last, of those of which nothing is left.
    pub(super) fn exhausted(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<ExhaustedWindow> {
        let exhausted = self.heard(traits, now);
        exhausted
            .filter_map(|limit| limit.exhausted(now))
            .max_by_key(|exhausted| exhausted.until)
    }

    /// When the last window ended.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// So many have passed since nothing is left of what this counts.
    pub(super) fn test(&mut self, dimension: Dimension, passed: u64) {
        let limits = self.limits.iter_mut();
        for limit in limits.filter(|limit| limit.dimension == dimension && limit.remaining == 0) {
            limit.passed = Some(passed);
        }
    }

    /// Of what nothing was left, and that was being tested, when a request went out at `sent` whose
    /// rejection comes after the window has ended.
    pub(super) fn was_tested(&self, sent: Instant) -> Option<Dimension> {
        let mut limits = self.limits.iter();
        limits
            .find(|limit| limit.ended && limit.passed.is_some() && sent < limit.sent)
            .map(|limit| limit.dimension)
    }

    /// Those that are believed.
    fn heard(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> impl Iterator<Item = &ReportedWindow> {
        let limits = self.limits.iter();
        limits.filter(move |limit| traits.trusts(limit.dimension, now))
    }

    /// When the time of a limit is over there is all of it again, until more is told.
    fn roll(&mut self, traits: &ProviderTraits, now: Instant) {
        let ended = &mut self.ended;
        self.limits.retain_mut(|limit| {
            let Some(resets) = limit.resets.filter(|resets| *resets <= now) else {
                return true;
            };
            if traits.trusts(limit.dimension, now) {
                *ended = Some(ended.map_or(resets, |last| last.max(resets)));
            }
            limit.remaining = limit.limit.unwrap_or_default();
            (limit.sent, limit.resets, limit.ended) = (resets, None, true);
            limit.remaining > 0
        });
    }
}

// === impl ReportedWindow ===

impl ReportedWindow {
    fn is_of(&self, bucket: &Bucket) -> bool {
        self.dimension == bucket.dimension && self.window == bucket.window
    }

    fn exhausted(&self, now: Instant) -> Option<ExhaustedWindow> {
        let until = self.resets.filter(|resets| *resets > now)?;
        (self.remaining == 0).then_some(ExhaustedWindow {
            dimension: self.dimension,
            since: self.heard,
            until,
            passed: self.passed,
            limit: self.limit.unwrap_or_default(),
        })
    }

    /// Whether there may be less than all of it.
    fn is_uncertain(&self, traits: &ProviderTraits) -> bool {
        self.vague || (self.ended && traits.refills_at_once != Some(true))
    }

    /// What may be left a while after the window has ended, or after nothing was left and nobody said for
    /// how long: a little, and doubling, as an answer that tells may take long.
    fn guess(&self, now: Instant) -> Remaining {
        let (doublings, next) = doublings(self.sent, now);
        let left = self.remaining.min(CAUTIOUS << doublings);
        Remaining::Guessed(left, next)
    }

    /// Whether so many are all of the limit but what has just gone out.
    fn holds(&self, remaining: u64) -> bool {
        let all = |limit| remaining.saturating_add(CAUTIOUS) >= limit;
        self.limit.is_some_and(all)
    }

    fn counts_requests(&self) -> bool {
        matches!(self.dimension, Dimension::Requests | Dimension::Concurrency)
    }

    /// Answers may come in another order than the provider gave them: of one window, the least counts.
    fn correct(&mut self, heard: Self, now: Instant) {
        // When a window ended is known to a second: what tells of the next one may have gone out before.
        let is_next = self.ended && heard.resets.is_some();
        let is_older = heard.sent < self.sent && !is_next;
        let same_window = match (self.resets, heard.resets) {
            (Some(known), Some(heard)) => {
                let apart = known.max(heard) - known.min(heard);
                known > now && apart < SAME_WINDOW_SLACK
            }
            _ => false,
        };
        match (is_older, same_window) {
            (_, true) => {
                if heard.remaining < self.remaining {
                    self.heard = heard.heard;
                }
                self.remaining = self.remaining.min(heard.remaining);
                self.resets = self.resets.max(heard.resets);
                self.sent = self.sent.max(heard.sent);
            }
            (false, false) => *self = heard,
            (true, false) => {}
        }
    }
}

// === impl ExhaustedWindow ===

impl ExhaustedWindow {
    /// How many may have passed since, if the limit fills again bit by bit until then.
    pub(super) fn refilled(&self, now: Instant) -> u64 {
        let nanos = |from, to: Instant| to.saturating_duration_since(from).as_nanos();
        let (passed, whole) = (nanos(self.since, now), nanos(self.since, self.until));
        let refilled = u128::from(self.limit) * passed / whole.max(1);
        u64::try_from(refilled).unwrap_or(u64::MAX)
    }
}

// === impl Remaining ===

impl Remaining {
    fn without(self, out: u64) -> Self {
        match self {
            Self::Requests(left, resets) => Self::Requests(left.saturating_sub(out), resets),
            Self::Guessed(left, more_at) => Self::Guessed(left.saturating_sub(out), more_at),
            other => other,
        }
    }

    fn count(self) -> u64 {
        match self {
            Self::Unknown => u64::MAX,
            Self::Requests(left, _) | Self::Guessed(left, ..) => left,
            Self::None(_) => 0,
        }
    }

    fn less(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, other) | (other, Self::Unknown) => other,
            (Self::None(one), Self::None(other)) => match one.until < other.until {
                true => Self::None(other),
                false => Self::None(one),
            },
            (exhausted @ Self::None(_), _) | (_, exhausted @ Self::None(_)) => exhausted,
            (one, other) if other.count() < one.count() => other,
            (one, _) => one,
        }
    }
}
