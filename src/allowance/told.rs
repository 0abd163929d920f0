//! What the provider says is left, and when there is more. Pure.

use tokio::time::Instant;

use crate::refusal::{Bucket, Dimension, Window};

/// The last word on each of the limits that a provider tells of.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Vec<Limit>);

#[derive(Clone, Debug)]
struct Limit {
    dimension: Dimension,
    window: Option<Window>,
    limit: Option<u64>,
    remaining: u64,
    /// When there is more; `None` while that is not known.
    resets: Option<Instant>,
    /// When the request went out whose answer said so.
    sent: Instant,
}

/// How many requests may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing was told.
    Unknown,
    /// So many, those in flight not taken off.
    Requests(u64),
    /// None until then.
    Spent(Instant),
}

// === impl Told ===

impl Told {
    /// Takes in what an answer says, to a request that went out at `sent`.
    pub(super) fn hear<'a>(
        &mut self,
        buckets: impl Iterator<Item = &'a Bucket>,
        sent: Instant,
        now: Instant,
    ) {
        for bucket in buckets {
            let Some(remaining) = bucket.remaining else {
                continue;
            };
            let resets = bucket.reset.and_then(|reset| now.checked_add(reset));
            // Nothing left, and more at once or at no known time: that is no knowledge.
            if remaining == 0 && resets.is_none_or(|resets| resets <= now) {
                self.0.retain(|limit| !limit.is_of(bucket));
                continue;
            }
            let heard = Limit {
                dimension: bucket.dimension,
                window: bucket.window,
                limit: bucket.limit,
                remaining,
                resets,
                sent,
            };
            match self.0.iter_mut().find(|limit| limit.is_of(bucket)) {
                Some(known) => known.correct(heard, now),
                None => self.0.push(heard),
            }
        }
    }

    /// A request passed whose answer did not say what is left.
    pub(super) fn count_one(&mut self) {
        for limit in self.0.iter_mut().filter(|limit| limit.counts_requests()) {
            limit.remaining = limit.remaining.saturating_sub(1);
        }
        self.0
            .retain(|limit| limit.remaining > 0 || limit.resets.is_some());
    }

    pub(super) fn left(&mut self, now: Instant) -> Left {
        self.roll(now);
        let mut left = Left::Unknown;
        for limit in &self.0 {
            let of_this = match (limit.remaining, limit.resets) {
                (0, Some(resets)) => Left::Spent(resets),
                (remaining, _) if limit.counts_requests() => Left::Requests(remaining),
                _ => continue,
            };
            left = left.less(of_this);
        }
        left
    }

    /// Until when nothing is left of one of the limits.
    pub(super) fn spent_until(&self, now: Instant) -> Option<Instant> {
        let spent = self.0.iter().filter(|limit| limit.remaining == 0);
        spent
            .filter_map(|limit| limit.resets.filter(|resets| *resets > now))
            .max()
    }

    /// When the time of a limit is over there is all of it again, until more is told.
    fn roll(&mut self, now: Instant) {
        self.0.retain_mut(|limit| {
            if limit.resets.is_none_or(|resets| resets > now) {
                return true;
            }
            limit.resets = None;
            limit.remaining = limit.limit.unwrap_or_default();
            limit.remaining > 0
        });
    }
}

// === impl Limit ===

impl Limit {
    fn is_of(&self, bucket: &Bucket) -> bool {
        self.dimension == bucket.dimension && self.window == bucket.window
    }

    fn counts_requests(&self) -> bool {
        matches!(self.dimension, Dimension::Requests | Dimension::Concurrency)
    }

    /// Answers may come in another order than the provider gave them: of one window, the least counts.
    fn correct(&mut self, heard: Self, now: Instant) {
        let is_older = heard.sent < self.sent;
        let same_window = match (self.resets, heard.resets) {
            (Some(known), Some(heard)) => {
                let apart = known.max(heard) - known.min(heard);
                known > now && apart < std::time::Duration::from_secs(1)
            }
            _ => false,
        };
        match (is_older, same_window) {
            (_, true) => {
                self.remaining = self.remaining.min(heard.remaining);
                self.resets = self.resets.max(heard.resets);
                self.sent = self.sent.max(heard.sent);
            }
            (false, false) => *self = heard,
            (true, false) => {}
        }
    }
}

// === impl Left ===

impl Left {
    fn less(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, other) | (other, Self::Unknown) => other,
            (Self::Requests(one), Self::Requests(other)) => Self::Requests(one.min(other)),
            (Self::Spent(one), Self::Spent(other)) => Self::Spent(one.max(other)),
            (spent @ Self::Spent(_), _) | (_, spent @ Self::Spent(_)) => spent,
        }
    }
}
