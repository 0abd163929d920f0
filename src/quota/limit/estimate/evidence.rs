//! Whether what has been sent explains a rejection, or contradicts it. Pure.

use tokio::time::Instant;

use super::Estimate;
use crate::quota::limit::ProviderTraits;

/// So many have to pass before it is a question whether a rejection came by chance.
const HISTORY: u64 = 4;

// === impl Estimate ===

impl Estimate {
    /// Returns when more may pass for another reason than chance, if that is known.
    pub(in crate::quota::limit) fn opens_again(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<Instant> {
        let length = self.length(traits)?;
        let end = self.window_end(traits).filter(|end| *end > now);
        Some(end.unwrap_or(now + length / 2))
    }

    /// Returns whether a rejection comes though much less was sent in this window than passed in others.
    pub(in crate::quota::limit) fn contradicts_rejection(&self) -> bool {
        let Some(window) = &self.window else {
            return false;
        };
        // The rejected request is counted.
        let used = match window.next {
            Some((_, count)) => count,
            None => window.sent.saturating_sub(window.rejected),
        };
        let is_less = |capacity: u64| used.saturating_sub(1) < capacity - capacity / 4;
        self.capacity.is_some_and(is_less)
    }

    /// Returns how many rejections in a row outweigh what is known to pass.
    pub(in crate::quota::limit) fn run_against(&self) -> u32 {
        if self.is_confirmed { 3 } else { 2 }
    }

    /// Returns whether a rejection is explained by what has been sent in this window.
    pub(in crate::quota::limit) fn explains_rejection(&self) -> bool {
        let admitted = self.admitted();
        let capacity = self.capacity.filter(|_| self.is_met_twice);
        capacity.is_some_and(|capacity| admitted >= capacity - capacity / 4)
    }

    /// Returns whether rejections have shown in two windows in a row how many pass.
    pub(in crate::quota::limit) fn is_met_twice(&self) -> bool {
        self.is_met_twice
    }

    /// Returns whether enough has passed for a rejection to be chance.
    pub(in crate::quota::limit) fn has_history(&self) -> bool {
        self.admitted() >= HISTORY
    }
}
