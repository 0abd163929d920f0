//! The end of the request that an upload belongs to.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

/// Whether a request is over.
///
/// The outermost layer that records an upload makes one, and the inner layers share it. An inner layer may
/// have its answer, and the outer layer sends the request again: an upload that the inner layer rejected
/// still goes on.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_over: bool,
    wakers: Vec<Waker>,
}

// === impl Ending ===

impl Ending {
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// The request is over: the layer that made this has its answer, or was dropped.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes this waker when the request ends, if it is not over.
    pub(super) fn register(&self, waker: &Waker) {
        let mut state = self.lock();
        if !state.is_over && !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
