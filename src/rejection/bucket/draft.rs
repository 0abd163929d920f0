//! A bucket whose headers are still being collected.

use std::time::SystemTime;

use http::HeaderValue;

use super::{
    super::{Dimension, Provider, Scope, Window, decimal, reset, retry_after},
    Bucket, Level, Reported,
    names::{self, Family, Part},
};

/// A bucket whose headers are still being collected.
pub(super) struct Draft<'a> {
    pub(super) family: &'static str,
    pub(super) subject: &'a str,
    pub(super) bucket: Bucket,
    pub(super) level: Level,
    /// What the provider says of the bucket as a whole.
    pub(super) status: Option<Status>,
    /// Of a subscription, the window that binds, and whose it is.
    pub(super) claim: Option<(Window, Scope)>,
    /// Whether the window comes from the provider and not from the response.
    window_is_assumed: bool,
    reset_is_duration: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// `allowed` or `allowed_warning`.
    Allowed,
    Rejected,
    /// A word that is not known.
    Unknown,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    pub(super) fn new(family: &'static Family, name: &'a str, provider: Provider) -> Option<Self> {
        let subject = names::subject(name)?;
        let dimension = subject.dimension.unwrap_or(family.unnamed.0);
        // A name without a subject has no window, except where all windows are known.
        let assumed = if subject.dimension.is_none() && provider != Provider::Together {
            family.unnamed.1
        } else {
            provider.window(dimension)
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

    /// One header of this bucket. Of a header sent twice, the stricter value holds.
    pub(super) fn take(&mut self, part: Part, value: &HeaderValue, now: SystemTime) {
        let value = value.to_str().unwrap_or_default();
        let value = value.trim_matches([' ', '\t']);
        let bucket = &mut self.bucket;
        match part {
            Part::Limit => {
                bucket.limit = fewest(bucket.limit, count(value));
                self.level.report(false);
            }
            // A count that cannot be read, or is below zero (Azure), is unknown and not zero.
            Part::Remaining => {
                bucket.remaining = fewest(bucket.remaining, count(value));
                self.level.report(bucket.remaining == Some(0));
            }
            Part::Reset => {
                let reset = retry_after::longest_of(value, |value| reset::parse(value, now));
                bucket.reset = bucket.reset.max(reset);
                self.reset_is_duration |= value.ends_with('s');
            }
            Part::Period { minutes } => {
                let unit = match minutes {
                    true => 60 * decimal::SECOND,
                    false => decimal::SECOND,
                };
                if let Some(window) = decimal::hint(value, unit).and_then(Window::covering) {
                    bucket.window = Some(window);
                    self.window_is_assumed = false;
                }
            }
            Part::Status => self.status = Some(Status::of(value).max_strict(self.status)),
            Part::Used { full } => {
                let used = decimal::nanos(value, decimal::SECOND);
                let full = u128::from(full) * u128::from(decimal::SECOND);
                self.level.report(used.is_some_and(|used| used >= full));
            }
            Part::Claim => self.claim = self.claim.or(names::claim(value)),
        }
    }

    pub(super) fn finish(mut self, provider: Provider) -> Option<Reported> {
        let mut bucket = self.bucket;
        match self.status {
            Some(Status::Rejected) => {
                bucket.remaining = Some(0);
                self.level = Level::Exhausted;
            }
            Some(Status::Allowed) => self.level = Level::NotExhausted,
            Some(Status::Unknown) => self.level.report(false),
            None => {}
        }
        bucket.forget_limit_of_zero();
        if bucket.limit == Some(0) {
            self.level = Level::NotExhausted;
        }
        let may_be_a_day = self.window_is_assumed
            && bucket.dimension == Dimension::Requests
            && self.reset_is_duration
            && matches!(
                provider,
                Provider::OpenAi | Provider::Generic | Provider::LiteLlm
            );
        if may_be_a_day {
            bucket.window = bucket.window_by_refill().or(bucket.window);
        }
        let says_anything =
            bucket.limit.is_some() || bucket.remaining.is_some() || bucket.reset.is_some();
        let level = self.level;
        says_anything.then_some(Reported { bucket, level })
    }
}

// === impl Status ===

impl Status {
    fn of(value: &str) -> Self {
        match value.to_ascii_lowercase().as_str() {
            "rejected" => Self::Rejected,
            status if status.starts_with("allowed") => Self::Allowed,
            _ => Self::Unknown,
        }
    }

    /// Of two statuses of one bucket, the one that refuses.
    fn max_strict(self, other: Option<Self>) -> Self {
        match other {
            Some(Self::Rejected) => Self::Rejected,
            _ => self,
        }
    }
}

fn fewest(known: Option<u64>, new: Option<u64>) -> Option<u64> {
    match (known, new) {
        (Some(known), Some(new)) => Some(known.min(new)),
        (known, new) => known.or(new),
    }
}

/// A whole number; the drafts of the IETF put the policy behind it (`100, 100;w=60`).
fn count(value: &str) -> Option<u64> {
    let number = value.split([',', ';']).next()?.trim();
    // Cerebras and Azure have been seen to send floats and -1: `parse` refuses both.
    if number.starts_with('+') {
        return None;
    }
    number.parse().ok()
}
