//! One limit on tokens, as the provider reports it. Pure.
//!
//! [`reports`] are the reports that later ones are compared with. [`observe`] compares them.

mod observe;
mod reports;

use std::time::Duration;

use tokio::time::Instant;

use self::reports::{FirstReport, LastReport, SentUntil};
use super::{calibration::Calibration, refill::Refill};
use crate::{
    quota::{
        limit::{
            ProviderTraits,
            known::KnownLimit,
            reserve::{Lasts, Reserve},
        },
        replicas::Replicas,
        timing::{ADMISSION_SLACK, MAX_COOLDOWN, SAME_WINDOW_SLACK},
    },
    rejection::{Bucket, Dimension, Window},
    request::Cost,
};

/// A large request is sent though this part of it may be missing.
pub(super) const RISKED: f64 = 0.025;

/// One limit on tokens.
#[derive(Clone, Debug)]
pub(super) struct TokenWindow {
    dimension: Dimension,
    window: Option<Window>,
    limit: Option<u64>,
    /// What was left at `at`.
    remaining: u64,
    at: Instant,
    /// When the window ends, or the bucket is full.
    resets: Option<Instant>,
    refill: Refill,
    /// The longest time to a reset that was reported: a window lasts at least so long.
    longest: Option<Duration>,
    /// How long an empty bucket takes to be full.
    fills_in: Option<Duration>,
    /// When the newest request was sent that is counted in `remaining`.
    sent: Instant,
    /// When the last report came.
    came: Instant,
    /// What the last report has shown.
    last: Option<LastReport>,
    /// What an earlier report of this window has shown.
    first: Option<FirstReport>,
}

/// What a request needs of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub(super) tokens: u64,
    /// What those in flight need.
    pub(super) held: u64,
    /// By how much the provider may count more or less, as a part of it.
    pub(super) spread: f64,
    /// What it leaves to others, as far as the limit allows.
    pub(super) reserved: u64,
    /// Between how many processes what is left is divided.
    pub(super) replicas: Replicas,
    /// Whether no request is in flight.
    pub(super) is_alone: bool,
}

// === impl TokenWindow ===

impl TokenWindow {
    /// Reads the first report.
    pub(super) fn new(
        bucket: &Bucket,
        total: SentUntil,
        (sent, now): (Instant, Instant),
    ) -> Option<Self> {
        let remaining = bucket.remaining?;
        let at = admitted(sent, now);
        let last = LastReport::of(bucket, remaining, (total.0, at));
        Some(Self {
            dimension: bucket.dimension,
            window: bucket.window,
            limit: bucket.limit,
            remaining,
            at,
            resets: resets(bucket, at),
            refill: Refill::Unknown,
            longest: last.reset.map(|reset| reset.reset),
            fills_in: None,
            sent,
            came: now,
            last: Some(last),
            first: Some(FirstReport::new(last, total, now)),
        })
    }

    pub(super) fn is_of(&self, bucket: &Bucket) -> bool {
        self.dimension == bucket.dimension && self.window == bucket.window
    }

    pub(super) fn dimension(&self) -> Dimension {
        self.dimension
    }

    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// Returns whether the provider has reported that nothing is left.
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        self.remaining == 0 && self.resets.is_some_and(|resets| resets > now)
    }

    /// Returns whether all that was counted since the last report is in it.
    pub(super) fn is_reported(&self) -> bool {
        self.last.is_some()
    }

    /// Returns what is left now.
    pub(super) fn level(&self, now: Instant) -> u64 {
        let limit = self.limit.unwrap_or(u64::MAX);
        let refilled = self.rate().map_or(0.0, |rate| {
            rate * now.saturating_duration_since(self.at).as_secs_f64()
        });
        self.remaining.saturating_add(refilled as u64).min(limit)
    }

    /// Returns what is left beside the requests in flight, for requests that may each be counted as more by so
    /// much; `None` if that is not known.
    #[cfg(feature = "share")]
    pub(super) fn left(&self, (held, spread): (u64, f64), now: Instant) -> Option<u64> {
        let level = self.level(now);
        let held = held.saturating_add((held as f64 * spread / 4.0) as u64);
        let left = level.saturating_sub(held);
        let margin = self.rate().map_or(0.0, |_| spread);
        (level != u64::MAX).then_some((left as f64 / (1.0 + margin)) as u64)
    }

    /// Returns how many tokens a bucket gets in a second.
    fn rate(&self) -> Option<f64> {
        if self.refill != Refill::Steady {
            return None;
        }
        let fills_in = self.fills_in?.as_secs_f64();
        Some(self.limit? as f64 / fills_in.max(0.001))
    }

    /// Returns what is known now, less what is reserved, given by the moment since when it is not counted.
    pub(super) fn known(&self, reserved: impl Fn(Instant) -> u64, now: Instant) -> KnownLimit {
        let mut window = self.clone();
        window.roll(now);
        let reserved = reserved(window.sent);
        KnownLimit {
            dimension: window.dimension,
            window: window.window,
            limit: window.limit,
            remaining: window.level(now).saturating_sub(reserved),
            reserved,
            resets: window.resets,
            is_learned: false,
        }
    }

    /// Returns how many tokens a request leaves to others.
    pub(super) fn reserved(&self, reserve: Reserve, traits: &ProviderTraits, now: Instant) -> u64 {
        let lasts = match (self.refill, self.fills_in, self.longest) {
            (Refill::Steady, Some(fills_in), _) => Lasts::steady(fills_in),
            (_, _, Some(length)) => {
                Lasts::until(self.resets.unwrap_or(self.at + length), length, now)
            }
            (_, _, None) => Lasts::ALWAYS,
        };
        reserve.of_tokens(self.dimension, self.limit, lasts, traits)
    }

    /// Begins a new window when the last one has ended.
    pub(super) fn roll(&mut self, now: Instant) {
        let Some(resets) = self.resets.filter(|resets| *resets <= now) else {
            return;
        };
        self.resets = None;
        if self.refill != Refill::Steady {
            self.remaining = self.limit.unwrap_or(u64::MAX);
            (self.at, self.sent) = (resets, resets);
        }
        (self.last, self.first) = (None, None);
    }

    /// Returns when there is more if a request does not fit. A request that needs more than the whole limit goes
    /// out when all of it is left, so that the caller gets the provider's own response.
    pub(super) fn fits(&self, need: Need, now: Instant) -> Result<(), Option<Instant>> {
        let part = |tokens: u64| (tokens as f64 * need.spread) as u64;
        let limit = self.limit.unwrap_or(u64::MAX);
        let is_large = need.tokens > limit / 4;
        let needed = match (self.rate(), is_large) {
            // Nothing is lost by a margin, because a bucket keeps what is not used.
            (Some(_), _) => need.tokens + part(need.tokens),
            // If a large request does not go, much of the window is not used.
            (None, true) => need.tokens - (need.tokens as f64 * need.spread.min(RISKED)) as u64,
            (None, false) => need.tokens,
        };
        let needed = needed.min(limit);
        // If nothing else is used, it may go however large it is.
        let reserved = need.reserved.min(limit - needed);
        let needed = needed.saturating_add(need.held + part(need.held / 4));
        let level = self.level(now).saturating_sub(reserved);
        let replicas = match need.held {
            // One request may always take more than its process's part.
            0 => Replicas::default(),
            _ => need.replicas,
        };
        let level = replicas.part(level);
        if needed <= level {
            return Ok(());
        }
        if let Some(rate) = self.rate() {
            let missing = (needed - level) as f64;
            let rate = rate / replicas.count() as f64;
            let after = Duration::try_from_secs_f64(missing / rate).unwrap_or(MAX_COOLDOWN);
            return Err(Some(now + after.min(MAX_COOLDOWN)));
        }
        match self.resets {
            Some(resets) => Err(Some(resets)),
            // Only a request can find out if there is more.
            None if need.is_alone => Ok(()),
            None => Err(None),
        }
    }

    /// Counts a request whose response does not report what is left.
    pub(super) fn count(&mut self, cost: u64, (sent, now): (Instant, Instant)) {
        if self.sent <= sent {
            self.roll(now);
            (self.remaining, self.at) = (self.level(now).saturating_sub(cost), self.at.max(now));
            self.last = None;
        }
    }

    /// Notes that a rejection shows that no more than this is left.
    pub(super) fn reject(&mut self, left: u64, now: Instant) {
        if self.level(now) > left {
            (self.remaining, self.at) = (left, now);
        }
        self.last = None;
    }

    /// Records a report. Responses may come in another order than the provider sent them: within one window,
    /// the least counts.
    pub(super) fn update(
        &mut self,
        bucket: &Bucket,
        (total, cost): (SentUntil, Cost),
        traits: &mut Calibration,
        (sent, now): (Instant, Instant),
    ) {
        let Some(remaining) = bucket.remaining else {
            return;
        };
        let at = admitted(sent, now);
        let resets = resets(bucket, at);
        if self.refill != Refill::Steady && resets.is_some_and(|resets| resets <= now) {
            // It is of a window that has ended.
            return;
        }
        self.limit = bucket.limit.or(self.limit);
        let reset = bucket.reset.map(|reset| reset.min(MAX_COOLDOWN));
        self.longest = self.longest.max(reset);
        let report = LastReport::of(bucket, remaining, (total.0, at));
        self.observe(report, (total, cost), (sent, now), traits);
        let is_same_window = self.is_same_window(resets, now);
        let is_next = self.resets.is_none() && resets.is_some();
        let is_overtaken = match self.refill {
            // It was sent after all that is known had come.
            _ if sent > self.came => false,
            Refill::Steady => remaining > self.level(now),
            _ if is_same_window => remaining > self.remaining,
            _ => sent < self.sent && !is_next,
        };
        if !is_overtaken {
            (self.remaining, self.at) = (remaining, at);
        }
        if !is_overtaken || is_same_window {
            self.sent = self.sent.max(sent);
            self.resets = self.resets.max(resets).filter(|resets| *resets > now);
        }
        self.came = now;
    }

    fn is_same_window(&self, resets: Option<Instant>, now: Instant) -> bool {
        match (self.resets, resets) {
            (Some(known), Some(other)) => {
                known > now && known.max(other) - known.min(other) < SAME_WINDOW_SLACK
            }
            _ => false,
        }
    }
}

/// Returns when a request was admitted at the latest.
fn admitted(sent: Instant, now: Instant) -> Instant {
    now.min(sent + ADMISSION_SLACK)
}

fn resets(bucket: &Bucket, at: Instant) -> Option<Instant> {
    let reset = bucket.reset.filter(|reset| !reset.is_zero())?;
    Some(at + reset.min(MAX_COOLDOWN))
}
