//! What the answers have shown of a provider's limits on one model, whatever the key. Pure.

use tokio::time::Instant;

use crate::{
    quota::timing::{DISTRUST, VERIFY_TIMEOUT},
    rejection::Dimension,
};

/// So many pass where nothing should be left before what the provider tells is left is not believed.
const DISPROVED: u64 = 4;

/// Shared by all keys that a pool has for one model.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProviderTraits {
    /// How many passed with some key until it was rejected though nothing had told that it would be.
    pub(super) typical: Option<u64>,
    /// Whether there is all of a limit again when its window ends, or a little, as where windows slide.
    pub(super) refills_at_once: Option<bool>,
    /// Whether "nothing left" means it, by what is counted; what is not here was not tested.
    verifications: Vec<(Dimension, Verification)>,
}

#[derive(Clone, Copy, Debug)]
enum Verification {
    /// A key is asked with though nothing should be left for it.
    TestedSince(Instant),
    /// That was rejected.
    Confirmed,
    /// Too much has passed: nothing that is told of it is heard until then.
    Disproved(Instant),
}

// === impl ProviderTraits ===

impl ProviderTraits {
    /// Whether limits of which nothing is known are expected to be like others.
    pub(crate) fn is_typical_known(&self) -> bool {
        self.typical.is_some()
    }

    fn verification(&self, dimension: Dimension) -> Option<Verification> {
        let known = self.verifications.iter().find(|(of, _)| *of == dimension);
        known.map(|(_, verification)| *verification)
    }

    fn set(&mut self, dimension: Dimension, verification: Verification) {
        match self
            .verifications
            .iter_mut()
            .find(|(of, _)| *of == dimension)
        {
            Some((_, known)) => *known = verification,
            None => self.verifications.push((dimension, verification)),
        }
    }

    /// Whether to update what is told of this.
    pub(super) fn trusts(&self, dimension: Dimension, now: Instant) -> bool {
        !matches!(self.verification(dimension), Some(Verification::Disproved(until)) if now < until)
    }

    /// How many to have in flight where nothing should be left, to find out whether that is so; with
    /// `passed`, this is where that is being tested, and so many have passed already.
    pub(super) fn tests(&self, dimension: Dimension, passed: Option<u64>, now: Instant) -> u64 {
        match (self.verification(dimension), passed) {
            (Some(Verification::Confirmed), _) => 0,
            (_, Some(passed)) => passed + 1,
            (Some(Verification::TestedSince(at)), None) => u64::from(now >= at + VERIFY_TIMEOUT),
            (None | Some(Verification::Disproved(_)), None) => 1,
        }
    }

    /// When a test on another key counts as lost, so that it is made again with this one.
    pub(super) fn next_test(&self, dimension: Dimension, now: Instant) -> Option<Instant> {
        match self.verification(dimension)? {
            Verification::TestedSince(at) => Some(at + VERIFY_TIMEOUT).filter(|at| *at > now),
            Verification::Confirmed | Verification::Disproved(_) => None,
        }
    }

    /// A request goes out where nothing should be left.
    pub(super) fn test(&mut self, dimension: Dimension, now: Instant) {
        if !matches!(self.verification(dimension), Some(Verification::Confirmed)) {
            self.set(dimension, Verification::TestedSince(now));
        }
    }

    /// It was rejected.
    pub(super) fn confirm(&mut self, dimension: Dimension) {
        self.set(dimension, Verification::Confirmed);
    }

    /// So many have passed, where only what was `refilled` since should have.
    pub(super) fn count_passed(
        &mut self,
        dimension: Dimension,
        passed: u64,
        refilled: u64,
        now: Instant,
    ) {
        let confirmed = matches!(self.verification(dimension), Some(Verification::Confirmed));
        if passed >= DISPROVED.saturating_add(refilled) && !confirmed {
            self.set(dimension, Verification::Disproved(now + DISTRUST));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    const REQUESTS: Dimension = Dimension::Requests;

    #[test]
    fn nothing_left_is_tested_once_with_one_key_and_believed_when_that_is_refused() {
        let (now, mut traits) = (Instant::now(), ProviderTraits::default());
        assert_eq!(traits.tests(REQUESTS, None, now), 1);
        traits.test(REQUESTS, now);
        assert_eq!(
            traits.tests(REQUESTS, None, now),
            0,
            "another key waits for the answer"
        );
        traits.confirm(REQUESTS);
        for passed in [None, Some(3)] {
            assert_eq!(traits.tests(REQUESTS, passed, now), 0);
        }
        traits.count_passed(REQUESTS, 100, 0, now);
        assert!(traits.trusts(REQUESTS, now), "it was true once");
    }

    #[test]
    fn a_test_without_an_answer_is_made_again() {
        let (now, mut traits) = (Instant::now(), ProviderTraits::default());
        traits.test(REQUESTS, now);
        assert_eq!(traits.tests(REQUESTS, None, now + VERIFY_TIMEOUT), 1);
    }

    #[test]
    fn what_passes_where_nothing_is_left_disproves_it_for_an_hour() {
        let (now, mut traits) = (Instant::now(), ProviderTraits::default());
        traits.test(REQUESTS, now);
        for passed in 1..DISPROVED {
            traits.count_passed(REQUESTS, passed, 0, now);
            assert!(traits.trusts(REQUESTS, now));
            assert_eq!(traits.tests(REQUESTS, Some(passed), now), passed + 1);
        }
        traits.count_passed(REQUESTS, DISPROVED, 0, now);
        assert!(!traits.trusts(REQUESTS, now));
        assert!(
            traits.trusts(Dimension::Tokens, now),
            "tokens are counted by themselves"
        );
        let later = now + DISTRUST;
        assert!(traits.trusts(REQUESTS, later));
        assert_eq!(traits.tests(REQUESTS, None, later), 1, "it is tested again");
    }

    #[test]
    fn what_a_bucket_was_refilled_with_disproves_nothing() {
        let (now, mut traits) = (Instant::now(), ProviderTraits::default());
        traits.count_passed(REQUESTS, DISPROVED + 2, 3, now);
        assert!(traits.trusts(REQUESTS, now));
        traits.count_passed(REQUESTS, DISPROVED + 3, 3, now);
        assert!(!traits.trusts(REQUESTS, now));
    }
}
