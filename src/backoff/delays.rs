//! The waits for rejections without a hint: plain iterators, without a clock or a future.

use std::time::Duration;

/// Makes the waits of one call.
///
/// A closure from a seed to an iterator of durations implements it. When the iterator ends, the layer
/// returns the rejection.
///
/// ```
/// use std::time::Duration;
/// use tower_429::backoff::{BackoffLayer, Delays};
///
/// let steps = |_seed| [1, 2, 5].into_iter().map(Duration::from_secs);
/// assert_eq!(steps.for_call(7).next(), Some(Duration::from_secs(1)));
/// let layer = BackoffLayer::new().delays(steps);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no delays",
    label = "neither `Exponential`, `DecorrelatedJitter` nor a closure from a seed to an iterator",
    note = "for the same wait each time: `.delays(|_seed| std::iter::repeat(wait))`",
    note = "for a wait by the number of the retry: `.delays(|_seed| (0..).map(|n: u32| wait_after(n)))`"
)]
pub trait Delays {
    /// The waits of one call.
    type Iter: Iterator<Item = Duration>;

    /// Returns the waits of one call. Each call has its own seed, so that calls do not wait equally long.
    fn for_call(&self, seed: u64) -> Self::Iter;
}

/// Doubling waits with jitter: by default 1 s at first and at most 60 s.
///
/// Each wait lies between a step and one and a half times the step, so that the retries of many callers
/// spread. No wait is longer than the maximum.
///
/// ```
/// use std::time::Duration;
/// use tower_429::backoff::{Delays, Exponential};
///
/// let delays = Exponential::new().first(Duration::from_millis(500)).max(Duration::from_secs(3));
/// let waits: Vec<_> = delays.for_call(7).take(4).collect();
/// assert!((0.5..=0.75).contains(&waits[0].as_secs_f64()));
/// assert!((1.0..=1.5).contains(&waits[1].as_secs_f64()));
/// assert!(waits[3] >= Duration::from_secs(2) && waits[3] <= Duration::from_secs(3));
/// assert_eq!(waits, delays.for_call(7).take(4).collect::<Vec<_>>(), "the seed decides");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exponential {
    first: Duration,
    max: Duration,
}

/// The endless waits of one call, from [`Exponential`].
#[derive(Clone, Debug)]
pub struct ExponentialIter {
    next: Duration,
    max: Duration,
    random: fastrand::Rng,
}

/// Random waits that each depend on the one before ("decorrelated jitter"): by default at least 1 s and at
/// most 60 s.
///
/// Each wait is chosen at random between the first wait and three times the wait before, and is never longer
/// than the maximum. The waits of many callers spread more than with [`Exponential`], and a single wait can be
/// short after a long one. The method is that of the AWS Architecture Blog,
/// [Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
///
/// ```
/// use std::time::Duration;
/// use tower_429::backoff::{BackoffLayer, DecorrelatedJitter, Delays};
///
/// let delays = DecorrelatedJitter::new().max(Duration::from_secs(20));
/// let waits: Vec<_> = delays.for_call(7).take(100).collect();
/// assert!(waits[0] >= Duration::from_secs(1) && waits[0] <= Duration::from_secs(3));
/// assert!(waits.iter().all(|wait| (1.0..=20.0).contains(&wait.as_secs_f64())));
/// assert_eq!(waits, delays.for_call(7).take(100).collect::<Vec<_>>(), "the seed decides");
/// let layer = BackoffLayer::new().delays(delays);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecorrelatedJitter {
    first: Duration,
    max: Duration,
}

/// The endless waits of one call, from [`DecorrelatedJitter`].
#[derive(Clone, Debug)]
pub struct DecorrelatedJitterIter {
    first: Duration,
    last: Duration,
    max: Duration,
    random: fastrand::Rng,
}

// === impl Delays ===

#[diagnostic::do_not_recommend]
impl<F, I> Delays for F
where
    F: Fn(u64) -> I,
    I: Iterator<Item = Duration>,
{
    type Iter = I;

    fn for_call(&self, seed: u64) -> I {
        self(seed)
    }
}

// === impl Exponential ===

impl Exponential {
    /// Returns waits of 1 s, doubling to at most 60 s.
    pub const fn new() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
        }
    }

    /// Sets the first step.
    #[must_use]
    pub const fn first(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// Sets the longest wait, jitter included.
    #[must_use]
    pub const fn max(self, max: Duration) -> Self {
        Self { max, ..self }
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self::new()
    }
}

impl Delays for Exponential {
    type Iter = ExponentialIter;

    fn for_call(&self, seed: u64) -> ExponentialIter {
        ExponentialIter {
            next: self.first,
            max: self.max,
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Iterator for ExponentialIter {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // Two thirds of the maximum leave room for the jitter, so that the longest waits spread too.
        let step = self.next.min(self.max / 3 * 2);
        self.next = self.next.saturating_mul(2);
        let most = u64::try_from((step / 2).as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(self.random.u64(0..=most));
        Some(step.saturating_add(jitter))
    }
}

// === impl DecorrelatedJitter ===

impl DecorrelatedJitter {
    /// Returns waits of at least 1 s and at most 60 s.
    pub const fn new() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
        }
    }

    /// Sets the shortest wait. The first wait is at most three times as long.
    #[must_use]
    pub const fn first(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// Sets the longest wait. A maximum below the shortest wait makes all waits as long as the maximum.
    #[must_use]
    pub const fn max(self, max: Duration) -> Self {
        Self { max, ..self }
    }
}

impl Default for DecorrelatedJitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Delays for DecorrelatedJitter {
    type Iter = DecorrelatedJitterIter;

    fn for_call(&self, seed: u64) -> DecorrelatedJitterIter {
        DecorrelatedJitterIter {
            first: self.first,
            last: self.first,
            max: self.max,
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Iterator for DecorrelatedJitterIter {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let range = self.last.saturating_mul(3).saturating_sub(self.first);
        let range = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX);
        let added = Duration::from_nanos(self.random.u64(0..=range));
        self.last = self.first.saturating_add(added).min(self.max);
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        for seed in 0..200 {
            let mut step = 1.0_f64;
            for wait in Exponential::new().for_call(seed).take(80) {
                let low = step.min(40.0);
                let wait = wait.as_secs_f64();
                assert!(
                    wait >= low && wait <= low * 1.5,
                    "{wait} at a step of {low}"
                );
                step *= 2.0;
            }
        }
    }

    #[test]
    fn calls_with_different_seeds_wait_differently() {
        let first = |seed| Exponential::new().for_call(seed).next();
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn decorrelated_wait_is_between_the_first_and_three_times_the_last() {
        let (first, max) = (Duration::from_secs(1), Duration::from_secs(60));
        for seed in 0..200 {
            let mut last = first;
            for wait in DecorrelatedJitter::new().for_call(seed).take(80) {
                let most = (last * 3).min(max);
                assert!((first..=most).contains(&wait), "{wait:?} after {last:?}");
                last = wait;
            }
        }
    }

    #[test]
    fn decorrelated_waits_of_many_calls_fill_the_range() {
        let calls = (0..2_000).map(|seed| DecorrelatedJitter::new().for_call(seed).nth(9));
        let mut waits: Vec<_> = calls.flatten().collect();
        waits.sort_unstable();
        assert!(waits[200] < Duration::from_secs(10), "some are short");
        assert_eq!(waits[1_800], Duration::from_secs(60), "some are longest");
        waits.dedup();
        assert!(waits.len() > 1_000, "nearly all calls have different waits");
    }

    #[test]
    fn decorrelated_waits_do_not_overflow_and_keep_the_maximum() {
        let delays = DecorrelatedJitter::new().first(Duration::MAX);
        let longest = delays.max(Duration::MAX).for_call(0).take(3);
        assert!(longest.into_iter().all(|wait| wait == Duration::MAX));
        assert_eq!(delays.for_call(0).next(), Some(Duration::from_secs(60)));
        let none = DecorrelatedJitter::new().first(Duration::ZERO);
        assert!(none.for_call(0).take(9).all(|wait| wait.is_zero()));
    }

    #[test]
    fn absurd_settings_do_not_overflow() {
        let delays = Exponential::new().first(Duration::MAX).max(Duration::MAX);
        assert!(
            delays
                .for_call(0)
                .take(3)
                .all(|wait| wait > Duration::from_secs(60))
        );
        let none = Exponential::new().first(Duration::ZERO);
        assert_eq!(none.for_call(0).next(), Some(Duration::ZERO));
    }
}
