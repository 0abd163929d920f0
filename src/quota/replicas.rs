//! Between how many processes a limit is divided. Pure.

use std::num::NonZeroU32;

/// How many processes send with the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replicas(NonZeroU32);

// === impl Replicas ===

impl Replicas {
    /// Returns a count of processes; zero counts as one.
    pub(crate) fn new(count: u32) -> Self {
        Self(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN))
    }

    /// Returns how much of what is left is this process's: at least one, if anything is left.
    pub(crate) fn part(self, left: u64) -> u64 {
        (left / self.count()).max(left.min(1))
    }

    pub(crate) fn count(self) -> u64 {
        self.0.get().into()
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_is_at_least_one_of_what_is_left() {
        let parts = [0, 1, 3, 4, 7, 8].map(|left| Replicas::new(4).part(left));
        assert_eq!(parts, [0, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn single_process_takes_all() {
        assert_eq!(Replicas::new(0), Replicas::default());
        assert_eq!(Replicas::default().part(u64::MAX), u64::MAX);
    }
}
