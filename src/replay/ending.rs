//! The end of the request that an upload belongs to.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

/// Records whether a request is over, and wakes the tasks that wait for its end.
///
/// The outermost layer that records an upload creates it, and the inner layers share it. When an inner layer
/// returns, an outer layer may send the request again. So the upload of a rejected attempt continues until
/// the outermost layer returns.
#[derive(Clone)]
pub(crate) struct Ending(Arc<Mutex<Option<Vec<Waker>>>>);

// === impl Ending ===

impl Ending {
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_none()
    }

    /// Ends the request: the layer that created this has returned, or was dropped.
    pub(super) fn end(&self) {
        let wakers = self.lock().take();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Wakes this waker when the request ends, if it is not over.
    pub(super) fn register(&self, waker: &Waker) {
        if let Some(wakers) = &mut *self.lock() {
            if !wakers.iter().any(|known| known.will_wake(waker)) {
                wakers.push(waker.clone());
            }
        }
    }

    /// Returns the wakers of the tasks that wait; `None` if the request is over.
    fn lock(&self) -> MutexGuard<'_, Option<Vec<Waker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Ending {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }
}
