//! The buckets of a rejection.

use std::time::Duration;

use super::{
    super::{
        bucket::{self, Bucket, ReportedBucket},
        types::{Dimension, Reason, Rejection, Window},
    },
    evidence::Evidence,
};

/// The buckets in headers of their own, and those of `RateLimit`.
pub(super) struct RejectionBuckets {
    pub(super) named: Vec<ReportedBucket>,
    listed: Vec<ReportedBucket>,
}

// === impl RejectionBuckets ===

impl RejectionBuckets {
    pub(super) fn new(evidence: &Evidence<'_>) -> Self {
        let named = |headers| bucket::named(headers, evidence.provider, evidence.clock);
        let mut all = named(evidence.headers);
        all.append(&mut named(&evidence.body.headers));
        Self {
            named: all,
            listed: bucket::listed(evidence.headers),
        }
    }

    /// Returns the exhausted bucket with the longest window that counts `dimension`.
    pub(super) fn longest_exhausted(&self, dimension: Option<Dimension>) -> Option<&Bucket> {
        let lists = [&self.named, &self.listed].into_iter();
        let buckets = lists.flat_map(|list| ReportedBucket::exhausted(list, dimension));
        buckets.max_by_key(|bucket| bucket.window)
    }

    /// Returns the resets of the exhausted buckets that can be the limit of the rejection. The first is that
    /// of buckets in headers of their own, the second that of `RateLimit`.
    pub(super) fn resets(&self, rejection: &Rejection) -> [Option<Duration>; 2] {
        let reset = |list, dimension| longest_reset(list, dimension, rejection.window);
        match rejection.reason {
            Reason::RateLimited => {
                [&self.named, &self.listed].map(|list| reset(list, rejection.dimension))
            }
            // The window of a plan is called a quota too.
            Reason::QuotaExhausted => [reset(&self.named, Some(Dimension::Spend)), None],
            _ => [None, None],
        }
    }
}

fn longest_reset(
    reported: &[ReportedBucket],
    dimension: Option<Dimension>,
    window: Option<Window>,
) -> Option<Duration> {
    let exhausted = ReportedBucket::exhausted(reported, dimension);
    let named = exhausted.filter(|bucket| {
        let windows = window.zip(bucket.window);
        windows.is_none_or(|(named, counted)| named == counted)
    });
    named.filter_map(|bucket| bucket.reset).max()
}
