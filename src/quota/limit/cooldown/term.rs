//! How long a cooldown lasts, and how that is known.

use std::time::Duration;

use crate::{
    quota::timing::{FIRST_GUESS, MAX_COOLDOWN, PERIOD_MARGIN},
    rejection::Reason,
};

/// A target that is overloaded is left alone for another part of the time that it has been so.
const PART_OF_OUTAGE: u32 = 3;

/// How long a cooldown lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) length: Duration,
    pub(super) basis: Basis,
    /// The least cooldown after the next hint; zero unless a hint has proved false.
    pub(super) floor: Duration,
    /// Whether it lasts to the end of a window whose length is known by what passed before.
    pub(super) is_learned: bool,
}

/// How the end of a cooldown is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// The provider has reported it.
    Hint,
    Guess,
    /// Time alone does not end it, as with a rejected key or an exhausted quota: it is checked then.
    Recheck,
}

// === impl Term ===

impl Term {
    pub(super) fn new(length: Duration, basis: Basis) -> Self {
        Self {
            length: length.min(MAX_COOLDOWN),
            basis,
            floor: Duration::ZERO,
            is_learned: false,
        }
    }

    /// Bounds a guess that is the last of a row that began so long ago.
    pub(super) fn bound(
        &mut self,
        reason: Reason,
        window_end: Option<Duration>,
        since_first: Duration,
        longest_guess: Duration,
    ) {
        if let Some(until_end) = window_end {
            (self.length, self.is_learned) = (until_end.min(MAX_COOLDOWN), true);
        } else if reason == Reason::Overloaded {
            // An overload may end at any time, and a probe costs little while another target serves.
            self.length =
                (since_first / PART_OF_OUTAGE).clamp(FIRST_GUESS, longest_guess.max(FIRST_GUESS));
        } else {
            // A guess that ends after a window of the longest guess, or of a multiple, would idle through the
            // next one.
            let nanos = longest_guess.as_nanos();
            let into = u64::try_from(since_first.as_nanos() % nanos).unwrap_or_default();
            let left = longest_guess - Duration::from_nanos(into) + PERIOD_MARGIN;
            let guess = match since_first < longest_guess {
                true => self.length.min(left),
                false => left,
            };
            self.length = guess.max(self.floor);
        }
    }
}
