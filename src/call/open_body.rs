//! What is held while the body of a response is open.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// In the extensions of a response whose body `InspectLayer` wraps: holds guards until that body has ended
/// or was dropped.
///
/// A provider counts a streamed response as a request in flight until its last byte, so a permit that ends
/// with the head ends too early. The handle is weak, so that the head of a response, or a copy of its
/// extensions, holds no guard longer than the body.
#[derive(Clone)]
pub(crate) struct OpenBody(Weak<BodyGuards>);

/// Owned by the body, and dropped with it.
#[derive(Default)]
pub(crate) struct BodyGuards(Mutex<Vec<Box<dyn Send + Sync>>>);

// === impl OpenBody ===

impl OpenBody {
    pub(crate) fn new(guards: &Arc<BodyGuards>) -> Self {
        Self(Arc::downgrade(guards))
    }

    /// Returns the handle of a body that has ended already. It does not allocate.
    pub(crate) fn ended() -> Self {
        Self(Weak::new())
    }

    /// Returns whether more of the body may come.
    pub(crate) fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Drops `guard` when the body has ended or is dropped; at once if that has happened.
    pub(crate) fn hold(&self, guard: impl Send + Sync + 'static) {
        // If the body ends on another thread meanwhile, this reference is the last one. It drops the guards
        // after the lock is released, because a guard may take another lock.
        if let Some(guards) = self.0.upgrade() {
            let mut held = guards.0.lock().unwrap_or_else(PoisonError::into_inner);
            held.push(Box::new(guard));
        }
    }
}

impl fmt::Debug for OpenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBody")
            .field("is_open", &self.is_open())
            .finish()
    }
}
