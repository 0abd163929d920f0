//! How capacity is divided between interactive calls and those in the background. Pure.

/// The parts of a scheduler's capacity that one class of calls leaves to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackgroundShares {
    /// The part of each limit that background calls leave to interactive ones.
    pub(crate) reserve: Share,
    /// The part of what the queue grants that goes to background calls at least, while some wait.
    pub(crate) floor: Share,
}

/// A part of a whole, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Share(u16);

/// Whose turn it is, by how many interactive calls were served while a background call waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    share: Share,
    /// What background calls have not got of the grants so far, in thousandths of a grant.
    owed: u32,
}

// === impl BackgroundShares ===

impl Default for BackgroundShares {
    fn default() -> Self {
        Self {
            reserve: Share(100),
            floor: Share(50),
        }
    }
}

// === impl Share ===

impl Share {
    const WHOLE: u16 = 1_000;

    /// Rounds a fraction; what is outside of 0 to 1 counts as the nearer end, and no number as 0.
    pub(crate) fn new(fraction: f64) -> Self {
        // `as` saturates, and no number is 0.
        Self((fraction.clamp(0.0, 1.0) * f64::from(Self::WHOLE)).round() as u16)
    }

    pub(super) fn of(self, whole: u64) -> f64 {
        whole as f64 * f64::from(self.0) / f64::from(Self::WHOLE)
    }
}

// === impl Floor ===

impl Floor {
    pub(super) fn new(share: Share) -> Self {
        Self { share, owed: 0 }
    }

    /// Returns whether the next grant goes to a background call.
    pub(super) fn is_due(self) -> bool {
        let Share(share) = self.share;
        share > 0 && self.owed + u32::from(share) >= u32::from(Share::WHOLE)
    }

    /// Counts a grant to an interactive call while a background call waits.
    pub(super) fn pass_over(&mut self) {
        // What is owed while no background call fits is one grant, and not a burst of them.
        if !self.is_due() {
            self.owed += u32::from(self.share.0);
        }
    }

    /// Counts a grant to a background call.
    pub(super) fn serve(&mut self) {
        let due = self.owed + u32::from(self.share.0);
        self.owed = due.saturating_sub(u32::from(Share::WHOLE));
    }

    /// Notes that no background call waits.
    pub(super) fn settle(&mut self) {
        self.owed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of `grants` grants go to background calls if some always wait.
    fn granted(floor: f64, grants: usize) -> usize {
        let mut floor = Floor::new(Share::new(floor));
        let grant = |_: &usize| {
            let is_due = floor.is_due();
            match is_due {
                true => floor.serve(),
                false => floor.pass_over(),
            }
            is_due
        };
        (0..grants).filter(grant).count()
    }

    #[test]
    fn floor_is_a_part_of_all_grants() {
        let table = [
            (0.0, 0),
            (0.05, 10),
            (0.3, 60),
            (0.5, 100),
            (0.9, 180),
            (1.0, 200),
        ];
        for (floor, expected) in table {
            assert_eq!(granted(floor, 200), expected, "{floor}");
        }
    }

    #[test]
    fn floor_that_could_not_be_used_is_one_grant() {
        let mut floor = Floor::new(Share::new(0.05));
        (0..1_000).for_each(|_| floor.pass_over());
        assert!(floor.is_due());
        floor.serve();
        assert!(!floor.is_due());
    }

    #[test]
    fn no_grant_is_due_if_no_background_call_waits() {
        let mut floor = Floor::new(Share::new(0.333));
        floor.pass_over();
        floor.settle();
        for _ in 0..2 {
            floor.pass_over();
        }
        assert!(!floor.is_due(), "after two grants, 0.666 of one is due");
        floor.pass_over();
        assert!(floor.is_due());
    }

    #[test]
    fn share_is_between_zero_and_one() {
        let fractions = [-1.0, f64::NAN, 0.1, 2.0, f64::INFINITY];
        let shares = fractions.map(|fraction| Share::new(fraction).of(1_000));
        assert_eq!(shares, [0.0, 0.0, 100.0, 1_000.0, 1_000.0]);
    }
}
