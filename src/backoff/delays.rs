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

// === impl Delays ===

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
