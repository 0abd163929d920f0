//! How pools wake the driver. It does no I/O, and wakes under no lock of a pool.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::Waker,
};

/// Why the driver should make an exchange. A greater value is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    None,
    /// There are facts to publish.
    Facts,
    /// A call waits for a lease.
    Wanted,
}

#[derive(Debug)]
pub(crate) struct Nudge {
    level: AtomicU8,
    /// What the driver has seen, so that it is woken once.
    seen: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

// === impl Nudge ===

impl Nudge {
    pub(super) fn new() -> Self {
        Self {
            level: AtomicU8::new(0),
            seen: AtomicU8::new(0),
            waker: Mutex::new(None),
        }
    }

    /// Raises the urgency. It wakes no task.
    pub(crate) fn raise(&self, urgency: Urgency) {
        self.level.fetch_max(urgency as u8, Ordering::SeqCst);
    }

    /// Wakes the driver if the urgency was raised since.
    pub(crate) fn wake(&self) {
        let level = self.level.load(Ordering::SeqCst);
        if self.seen.fetch_max(level, Ordering::SeqCst) < level {
            let waker = self
                .waker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Returns the urgency, and wakes this task when it is raised.
    pub(super) fn poll(&self, waker: &Waker) -> Urgency {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(waker.clone());
        drop(known);
        let level = self.level.load(Ordering::SeqCst);
        self.seen.store(level, Ordering::SeqCst);
        match level {
            0 => Urgency::None,
            1 => Urgency::Facts,
            _ => Urgency::Wanted,
        }
    }

    /// An exchange begins, with all that was wanted so far.
    pub(super) fn reset(&self) {
        self.level.store(0, Ordering::SeqCst);
        self.seen.store(0, Ordering::SeqCst);
    }
}
