//! The lock: std's, or in the tests of this crate one that tries the orders in which threads may take it.

#[cfg(not(test))]
use std::sync::Mutex as Inner;
use std::sync::PoisonError;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(test)]
use shuttle::sync::Mutex as Inner;

/// A mutex that outlives a panic of its holder, and counts in tests how often it is locked.
pub(crate) struct Mutex<T> {
    inner: Inner<T>,
    #[cfg(test)]
    locked: AtomicUsize,
}

// === impl Mutex ===

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            inner: Inner::new(value),
            #[cfg(test)]
            locked: AtomicUsize::new(0),
        }
    }

    /// Runs `act` under the lock.
    pub(crate) fn with<O>(&self, act: impl FnOnce(&mut T) -> O) -> O {
        #[cfg(test)]
        self.locked.fetch_add(1, Ordering::Relaxed);
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
impl<T> Mutex<T> {
    /// How often it was locked.
    pub(crate) fn locked(&self) -> usize {
        self.locked.load(Ordering::Relaxed)
    }
}
