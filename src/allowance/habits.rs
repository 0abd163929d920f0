//! What the answers have shown of a provider's limits on one model, whatever the key. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::rejection::Dimension;

/// So many pass where nothing should be left before what the provider tells is left is not believed.
const DISPROVED: u64 = 4;

/// A provider that tells nonsense is heard again after this.
const DISBELIEVED_FOR: Duration = Duration::from_secs(60 * 60);

/// A test that has told nothing by then is made again.
const TESTED_WITHIN: Duration = Duration::from_secs(60);

/// Shared by all keys that a pool has for one model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Habits {
    /// How many passed with some key until it was refused though nothing had told that it would be.
    pub(super) typical: Option<u64>,
    /// Whether there is all of a limit again when its window ends, or a little, as where windows slide.
    pub(super) refills_at_once: Option<bool>,
    /// Whether "nothing left" means it, by what is counted; what is not here was not tested.
    beliefs: Vec<(Dimension, Belief)>,
}

#[derive(Clone, Copy, Debug)]
enum Belief {
    /// A key is asked with though nothing should be left for it.
    TestedSince(Instant),
    /// That was refused.
    Confirmed,
    /// Too much has passed: nothing that is told of it is heard until then.
    Disproved(Instant),
}

// === impl Habits ===

impl Habits {
    fn belief(&self, dimension: Dimension) -> Option<Belief> {
        let known = self.beliefs.iter().find(|(of, _)| *of == dimension);
        known.map(|(_, belief)| *belief)
    }

    fn set(&mut self, dimension: Dimension, belief: Belief) {
        match self.beliefs.iter_mut().find(|(of, _)| *of == dimension) {
            Some((_, known)) => *known = belief,
            None => self.beliefs.push((dimension, belief)),
        }
    }

    /// Whether to hear what is told of this.
    pub(super) fn hears(&self, dimension: Dimension, now: Instant) -> bool {
        !matches!(self.belief(dimension), Some(Belief::Disproved(until)) if now < until)
    }

    /// How many to have in flight where nothing should be left, to find out whether that is so; with
    /// `passed`, this is where that is being tested, and so many have passed already.
    pub(super) fn doubts(&self, dimension: Dimension, passed: Option<u64>, now: Instant) -> u64 {
        match (self.belief(dimension), passed) {
            (Some(Belief::Confirmed), _) => 0,
            (_, Some(passed)) => passed + 1,
            (Some(Belief::TestedSince(at)), None) => u64::from(now >= at + TESTED_WITHIN),
            (None | Some(Belief::Disproved(_)), None) => 1,
        }
    }

    /// When a test on another key counts as lost, so that it is made again with this one.
    pub(super) fn doubts_again(&self, dimension: Dimension, now: Instant) -> Option<Instant> {
        match self.belief(dimension)? {
            Belief::TestedSince(at) => Some(at + TESTED_WITHIN).filter(|at| *at > now),
            Belief::Confirmed | Belief::Disproved(_) => None,
        }
    }

    /// A request goes out where nothing should be left.
    pub(super) fn test(&mut self, dimension: Dimension, now: Instant) {
        if !matches!(self.belief(dimension), Some(Belief::Confirmed)) {
            self.set(dimension, Belief::TestedSince(now));
        }
    }

    /// It was refused.
    pub(super) fn confirm(&mut self, dimension: Dimension) {
        self.set(dimension, Belief::Confirmed);
    }

    /// So many have passed, where only what was `refilled` since should have.
    pub(super) fn doubt(&mut self, dimension: Dimension, passed: u64, refilled: u64, now: Instant) {
        let confirmed = matches!(self.belief(dimension), Some(Belief::Confirmed));
        if passed >= DISPROVED.saturating_add(refilled) && !confirmed {
            self.set(dimension, Belief::Disproved(now + DISBELIEVED_FOR));
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
        let (now, mut habits) = (Instant::now(), Habits::default());
        assert_eq!(habits.doubts(REQUESTS, None, now), 1);
        habits.test(REQUESTS, now);
        assert_eq!(
            habits.doubts(REQUESTS, None, now),
            0,
            "another key waits for the answer"
        );
        habits.confirm(REQUESTS);
        for passed in [None, Some(3)] {
            assert_eq!(habits.doubts(REQUESTS, passed, now), 0);
        }
        habits.doubt(REQUESTS, 100, 0, now);
        assert!(habits.hears(REQUESTS, now), "it was true once");
    }

    #[test]
    fn a_test_without_an_answer_is_made_again() {
        let (now, mut habits) = (Instant::now(), Habits::default());
        habits.test(REQUESTS, now);
        assert_eq!(habits.doubts(REQUESTS, None, now + TESTED_WITHIN), 1);
    }

    #[test]
    fn what_passes_where_nothing_is_left_disproves_it_for_an_hour() {
        let (now, mut habits) = (Instant::now(), Habits::default());
        habits.test(REQUESTS, now);
        for passed in 1..DISPROVED {
            habits.doubt(REQUESTS, passed, 0, now);
            assert!(habits.hears(REQUESTS, now));
            assert_eq!(habits.doubts(REQUESTS, Some(passed), now), passed + 1);
        }
        habits.doubt(REQUESTS, DISPROVED, 0, now);
        assert!(!habits.hears(REQUESTS, now));
        assert!(
            habits.hears(Dimension::Tokens, now),
            "tokens are counted by themselves"
        );
        let later = now + DISBELIEVED_FOR;
        assert!(habits.hears(REQUESTS, later));
        assert_eq!(
            habits.doubts(REQUESTS, None, later),
            1,
            "it is tested again"
        );
    }

    #[test]
    fn what_a_bucket_was_refilled_with_disproves_nothing() {
        let (now, mut habits) = (Instant::now(), Habits::default());
        habits.doubt(REQUESTS, DISPROVED + 2, 3, now);
        assert!(habits.hears(REQUESTS, now));
        habits.doubt(REQUESTS, DISPROVED + 3, 3, now);
        assert!(!habits.hears(REQUESTS, now));
    }
}
