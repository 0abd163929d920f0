//! The slots of requests in flight.

use std::sync::{Arc, Mutex, PoisonError};

/// How many requests of an account are in flight.
pub(super) type InUse = Arc<Mutex<usize>>;

/// The slot of one request, in use until it is dropped.
pub(crate) struct Slot(InUse);

// === impl Slot ===

impl Slot {
    /// Takes a slot if fewer than `at_once` are in use.
    pub(super) fn take(in_use: &InUse, at_once: usize) -> Option<Self> {
        let mut count = in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if *count >= at_once {
            return None;
        }
        *count += 1;
        Some(Self(in_use.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
