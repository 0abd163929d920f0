//! How much later than a provider's hint a request is sent. Pure: the random numbers are an argument.
//!
//! A request that is sent exactly at a hint's end collides with the requests of all other callers with the
//! same hint. It also meets the close of its connection if the server closes idle connections after the time
//! that it tells clients to wait.

use std::time::Duration;

/// The time that is added to a hint: up to `percent` of it, or up to `at_least` if that is more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter {
    pub(crate) percent: u32,
    pub(crate) at_least: Duration,
}

/// The part of its jitter that one call waits: the smaller of two shares goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JitterPart(u32);

/// The least jitter, if there is time. A server's close arrives at the hint's end, give or take two timers
/// and the variance of the network's latency.
const MIN_JITTER: Duration = Duration::from_millis(20);

// === impl Jitter ===

impl Jitter {
    pub(crate) const DEFAULT: Self = Self {
        percent: 10,
        at_least: Duration::from_millis(250),
    };

    /// Returns the most that is added to this hint.
    pub(crate) fn most(self, hint: Duration) -> Duration {
        let share = hint.saturating_mul(self.percent) / 100;
        share.max(self.at_least)
    }
}

// === impl JitterPart ===

impl JitterPart {
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        Self(random.u32(..))
    }

    /// Returns the least of so many, as if all of them were drawn.
    pub(crate) fn least_of(count: usize, random: &mut fastrand::Rng) -> Self {
        let least = 1.0 - random.f64().powf(1.0 / count.max(1) as f64);
        Self((least * f64::from(u32::MAX)) as u32)
    }

    /// Returns this part of a jitter, counted from the hint's end. So much of the jitter has `passed`.
    pub(crate) fn of(self, most: Duration, passed: Duration) -> Duration {
        let least = passed.max(MIN_JITTER).min(most);
        let rest = u64::try_from((most - least).as_nanos()).unwrap_or(u64::MAX);
        let part = u128::from(rest) * u128::from(self.0) / u128::from(u32::MAX);
        let part = Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX));
        least.saturating_add(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(250);

    #[test]
    fn jitter_is_a_tenth_of_the_hint_and_at_least_250_ms() {
        let most = |hint| Jitter::DEFAULT.most(hint);
        assert_eq!(most(Duration::from_secs(60)), Duration::from_secs(6));
        assert_eq!(most(Duration::from_secs(1)), MOST);
        assert!(most(Duration::MAX) > Duration::from_secs(60));
    }

    #[test]
    fn share_is_between_the_minimum_and_all_of_the_jitter() {
        for seed in 0..1_000 {
            let share = JitterPart::draw(&mut fastrand::Rng::with_seed(seed));
            let jitter = share.of(MOST, Duration::ZERO);
            assert!((MIN_JITTER..=MOST).contains(&jitter), "{jitter:?}");
            let passed = Duration::from_millis(200);
            let jitter = share.of(MOST, passed);
            assert!((passed..=MOST).contains(&jitter), "{jitter:?}");
        }
    }

    #[test]
    fn share_is_all_of_the_jitter_if_that_is_below_the_minimum() {
        let most = Duration::from_millis(3);
        for share in [JitterPart(0), JitterPart(u32::MAX)] {
            assert_eq!(share.of(most, Duration::ZERO), most);
            assert_eq!(share.of(Duration::ZERO, Duration::ZERO), Duration::ZERO);
            assert_eq!(share.of(MOST, Duration::from_secs(9)), MOST);
        }
    }
}
