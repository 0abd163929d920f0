//! What processes learn of a provider from each other. Pure.

use tokio::time::Instant;

use crate::{
    quota::limit::{ProviderTraits, tokens::Refill},
    share::LearnedTraits,
};

// === impl ProviderTraits ===

impl ProviderTraits {
    /// Returns what others can learn.
    pub(super) fn learned(&self, now: Instant) -> LearnedTraits {
        let (confirmed, disproved) = self.verified(now);
        LearnedTraits {
            steady_requests: is_steady(self.requests_refill),
            steady_tokens: is_steady(self.tokens.refill()),
            opens_in_full: self.refills_at_once,
            confirmed,
            disproved,
        }
    }

    /// Adopts what another process has learned, unless this one knows better.
    pub(super) fn adopt(&mut self, learned: &LearnedTraits, now: Instant) {
        if self.requests_refill == Refill::Unknown {
            self.requests_refill = refill(learned.steady_requests);
        }
        if self.tokens.refill() == Refill::Unknown {
            self.tokens.set_refill(refill(learned.steady_tokens));
        }
        self.refills_at_once = self.refills_at_once.or(learned.opens_in_full);
        for dimension in &learned.confirmed {
            self.confirm(*dimension);
        }
        for dimension in &learned.disproved {
            self.disprove(*dimension, now);
        }
    }
}

fn is_steady(refill: Refill) -> Option<bool> {
    match refill {
        Refill::Unknown => None,
        Refill::AtOnce => Some(false),
        Refill::Steady => Some(true),
    }
}

fn refill(is_steady: Option<bool>) -> Refill {
    match is_steady {
        None => Refill::Unknown,
        Some(false) => Refill::AtOnce,
        Some(true) => Refill::Steady,
    }
}
