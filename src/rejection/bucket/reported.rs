//! A bucket, and whether its limit can be the one that rejected.

use std::time::Duration;

use super::super::types::{Dimension, Scope, Window};

/// One limit, and its remaining count.
///
/// A field that the provider does not send is `None`. A header that cannot be read counts as not sent. If the
/// limit is zero, `remaining` is unknown, because no reset increases it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// What is counted.
    pub dimension: Dimension,
    /// The time over which it is counted.
    pub window: Option<Window>,
    /// What the limit belongs to, if the header's name says so.
    pub scope: Option<Scope>,
    /// How much the bucket holds.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// The time until the bucket is *full* again (OpenAI, Groq), or until the window ends (others).
    pub reset: Option<Duration>,
    /// What the request took of it, if a header says it (Mistral, for tokens).
    pub cost: Option<u64>,
}

/// A bucket of a rejection with its level.
#[derive(Debug)]
pub(crate) struct ReportedBucket {
    pub(super) bucket: Bucket,
    pub(super) level: Level,
}

/// Whether a bucket is exhausted, by all of its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Only its reset is reported.
    ResetOnly,
    /// Something is left, or the remaining count cannot be read.
    NotExhausted,
    Exhausted,
}

// === impl Bucket ===

impl Bucket {
    /// Returns a bucket with a dimension only.
    ///
    /// ```
    /// use tower_429::rejection::{Bucket, Dimension};
    ///
    /// assert_eq!(Bucket::new(Dimension::Requests).remaining, None);
    /// ```
    pub fn new(dimension: Dimension) -> Self {
        Self {
            dimension,
            window: None,
            scope: None,
            limit: None,
            remaining: None,
            reset: None,
            cost: None,
        }
    }

    /// A limit of zero belongs to a model outside the plan (Mistral), or to something that is not counted.
    /// Its reset frees nothing.
    pub(super) fn forget_limit_of_zero(&mut self) {
        if self.limit == Some(0) {
            self.remaining = None;
        }
    }

    /// Whether this can be the limit on `dimension`. It always can be if `dimension` is `None`.
    fn counts(&self, dimension: Option<Dimension>) -> bool {
        dimension.is_none_or(|it| it.is_compatible(self.dimension))
    }

    /// Returns a window of a day if a bucket that refills evenly needs more than half of one.
    ///
    /// The used part comes back by `reset`, so the whole limit comes back in `reset * limit / used`. OpenAI
    /// reports a low limit per day under the name of the limit per minute. Groq always does.
    pub(super) fn window_by_refill(&self) -> Option<Window> {
        let limit = self.limit?;
        let used = u128::from(limit.checked_sub(self.remaining?)?);
        let millis = self.reset?.as_millis().checked_mul(u128::from(limit))?;
        let refill = millis.checked_div(used)? / 1_000;
        (refill > 12 * 3_600).then_some(Window::Day)
    }
}

// === impl ReportedBucket ===

impl ReportedBucket {
    /// Returns the buckets that can be the limit that rejected: the exhausted ones. If none is reported as
    /// exhausted, returns those that report only a reset.
    pub(crate) fn exhausted(
        reported: &[Self],
        dimension: Option<Dimension>,
    ) -> impl Iterator<Item = &Bucket> {
        let counted = reported
            .iter()
            .filter(move |it| it.bucket.counts(dimension));
        let is_exhausted = |it: &Self| it.level == Level::Exhausted;
        let level = match counted.clone().any(is_exhausted) {
            true => Level::Exhausted,
            false => Level::ResetOnly,
        };
        counted
            .filter(move |it| it.level == level)
            .map(|it| &it.bucket)
    }

    pub(crate) fn has_limit_of_zero(&self) -> bool {
        self.bucket.limit == Some(0)
    }
}

impl From<Bucket> for ReportedBucket {
    fn from(bucket: Bucket) -> Self {
        let level = match (bucket.remaining, bucket.limit) {
            (Some(0), _) => Level::Exhausted,
            (None, None) => Level::ResetOnly,
            _ => Level::NotExhausted,
        };
        Self { bucket, level }
    }
}
