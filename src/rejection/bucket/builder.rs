//! A bucket whose headers are still being collected.

use std::{cell::LazyCell, time::SystemTime};

use http::HeaderValue;

use super::{
    super::{
        parse::{decimal, reset, retry_after},
        provider::Provider,
        types::{Dimension, Scope, Window},
    },
    names::{self, Family, HeaderPart},
    reported::{Bucket, Level, ReportedBucket},
};

pub(super) struct BucketBuilder<'a> {
    family: &'static str,
    pub(super) subject: &'a str,
    pub(super) bucket: Bucket,
    pub(super) level: Level,
    /// What the provider reports about the bucket as a whole.
    pub(super) status: Option<BucketStatus>,
    /// The window that binds a subscription, and its owner.
    pub(super) claim: Option<(Window, Scope)>,
    /// Whether the window comes from the provider and not from the response.
    window_is_assumed: bool,
    reset_is_duration: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BucketStatus {
    /// `allowed` or `allowed_warning`.
    Allowed,
    Rejected,
    /// A word that is not known.
    Unknown,
}

// === impl BucketBuilder ===

impl<'a> BucketBuilder<'a> {
    pub(super) fn new(family: &'static Family, name: &'a str, provider: Provider) -> Option<Self> {
        let subject = names::subject(name)?;
        let dimension = subject.dimension.unwrap_or(family.dimension);
        // A name without a subject has no window, except where all windows are known.
        let assumed = match subject.dimension.is_none() && provider != Provider::Together {
            true => family.window,
            false => provider.window(dimension),
        };
        let mut bucket = Bucket::new(dimension);
        bucket.scope = subject.scope;
        bucket.window = subject.window.or(assumed);
        Some(Self {
            family: family.prefix,
            subject: name,
            bucket,
            level: Level::ResetOnly,
            status: None,
            claim: None,
            window_is_assumed: subject.window.is_none(),
            reset_is_duration: false,
        })
    }

    pub(super) fn is_of(&self, family: &Family, subject: &str) -> bool {
        self.family == family.prefix && self.subject == subject
    }

    /// Adds one header of this bucket. If a header was sent twice, the stricter value holds.
    pub(super) fn add(
        &mut self,
        part: HeaderPart,
        value: &HeaderValue,
        now: impl FnOnce() -> SystemTime,
    ) {
        let value = value.to_str().unwrap_or_default();
        let value = value.trim_ascii();
        let bucket = &mut self.bucket;
        match part {
            HeaderPart::Limit => {
                bucket.limit = fewest(bucket.limit, count(value));
                self.mark(false);
            }
            // A count that cannot be read, or is below zero (Azure), is unknown and not zero.
            HeaderPart::Remaining => {
                bucket.remaining = fewest(bucket.remaining, count(value));
                let is_exhausted = bucket.remaining == Some(0);
                self.mark(is_exhausted);
            }
            HeaderPart::Reset => {
                let clock = LazyCell::new(now);
                let reset = retry_after::longest_of(value, |value| reset::parse(value, || *clock));
                bucket.reset = bucket.reset.max(reset);
                self.reset_is_duration |= value.ends_with('s');
            }
            HeaderPart::Period { seconds } => {
                let period = decimal::hint(value, u64::from(seconds) * decimal::SECOND);
                if let Some(window) = period.and_then(Window::covering) {
                    bucket.window = Some(window);
                    self.window_is_assumed = false;
                }
            }
            HeaderPart::Status if self.status == Some(BucketStatus::Rejected) => {}
            HeaderPart::Status => self.status = Some(BucketStatus::of(value)),
            HeaderPart::Used { full } => {
                let used = decimal::nanos(value, decimal::SECOND);
                let full = u128::from(full) * u128::from(decimal::SECOND);
                self.mark(used.is_some_and(|used| used >= full));
            }
            HeaderPart::Claim => self.claim = self.claim.or(names::claim(value)),
        }
    }

    /// Records a header that reports more than a reset.
    pub(super) fn mark(&mut self, is_exhausted: bool) {
        self.level = self.level.max(match is_exhausted {
            true => Level::Exhausted,
            false => Level::NotExhausted,
        });
    }

    /// Returns the bucket; `None` if no header reports a number.
    pub(super) fn finish(mut self, provider: Provider) -> Option<ReportedBucket> {
        match self.status {
            Some(BucketStatus::Rejected) => {
                self.bucket.remaining = Some(0);
                self.level = Level::Exhausted;
            }
            Some(BucketStatus::Allowed) => self.level = Level::NotExhausted,
            Some(BucketStatus::Unknown) => self.mark(false),
            None => {}
        }
        let mut bucket = self.bucket;
        bucket.forget_limit_of_zero();
        if bucket.limit == Some(0) {
            self.level = Level::NotExhausted;
        }
        let has_openai_names = matches!(
            provider,
            Provider::OpenAi | Provider::Generic | Provider::LiteLlm
        );
        let is_assumed = self.window_is_assumed && self.reset_is_duration;
        if is_assumed && has_openai_names && bucket.dimension == Dimension::Requests {
            bucket.window = bucket.window_by_refill().or(bucket.window);
        }
        let has_number = bucket.limit.or(bucket.remaining).is_some() || bucket.reset.is_some();
        let level = self.level;
        has_number.then_some(ReportedBucket { bucket, level })
    }
}

// === impl BucketStatus ===

impl BucketStatus {
    fn of(value: &str) -> Self {
        match value.to_ascii_lowercase().as_str() {
            "rejected" => Self::Rejected,
            status if status.starts_with("allowed") => Self::Allowed,
            _ => Self::Unknown,
        }
    }
}

fn fewest(known: Option<u64>, new: Option<u64>) -> Option<u64> {
    known.into_iter().chain(new).min()
}

/// Reads a whole number. In the drafts of the IETF, the policy follows it (`100, 100;w=60`).
pub(super) fn count(value: &str) -> Option<u64> {
    if let (Ok(number), false) = (value.parse(), value.starts_with('+')) {
        return Some(number);
    }
    let number = value.split([',', ';']).next()?.trim();
    // Cerebras and Azure have sent floats and -1, which `parse` rejects.
    let number = Some(number).filter(|number| !number.starts_with('+'))?;
    number.parse().ok()
}
