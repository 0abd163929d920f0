//! The wakers that are used once the lock is released.

use std::task::Waker;

/// Wakers that are used once the lock is released: to wake or to drop one may take the lock again.
#[must_use]
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Wakeups {
    pub(super) woken: Vec<Waker>,
    pub(super) dropped: Vec<Waker>,
}

// === impl Wakeups ===

impl Wakeups {
    pub(crate) fn wake(self) {
        self.woken.into_iter().for_each(Waker::wake);
    }
}
