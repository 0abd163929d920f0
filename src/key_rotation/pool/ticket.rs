//! A place in the pool's queue, held by a call that waits for a key.

use std::task::Context;

use tokio::time::Instant;

use super::{
    KeyPool, Lease, Want,
    queue::{Turn, WaiterId},
    wake,
};
use crate::clock;

/// A place in the queue; given up when it is dropped.
pub(in crate::key_rotation) struct Ticket {
    pool: KeyPool,
    want: Want,
    /// `None` once the key was handed out.
    id: Option<WaiterId>,
}

/// What a look at the queue gives.
pub(in crate::key_rotation) enum Standing {
    /// The key, and when it may go out.
    Served(Lease, Instant),
    Waiting {
        /// When there may be room; `None` if only an answer can tell.
        free_at: Option<Instant>,
        /// When to look again, if not woken before.
        look_at: Option<Instant>,
    },
}

impl KeyPool {
    /// Takes a place in the queue; `first` for a call that had a key before.
    pub(in crate::key_rotation) fn join(&self, want: Want, first: bool) -> Ticket {
        let id = self.lock().state.queue.join(&want, first);
        Ticket {
            pool: self.clone(),
            want,
            id: Some(id),
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// Where the call stands; it is woken when that changes.
    pub(in crate::key_rotation) fn look(&mut self, cx: &mut Context<'_>, now: Instant) -> Standing {
        let Some(id) = self.id else {
            return Standing::Waiting {
                free_at: None,
                look_at: None,
            };
        };
        let mut desk = self.pool.lock();
        // It is here already.
        desk.wakers.remove(&id);
        let wakers = match desk.state.queue.is_due(id, &self.want, now) {
            true => desk.serve(now),
            false => Vec::new(),
        };
        let standing = match desk.state.queue.turn(id, &self.want) {
            Turn::Granted(loan, at) => {
                match desk.state.entry_of(&loan) {
                    Some(entry) => {
                        self.id = None;
                        Standing::Served(Lease::new(&self.pool, loan, entry), at)
                    }
                    // The key was removed meanwhile: back to the front of the queue.
                    None => {
                        desk.state.give_back(&loan);
                        desk.state.queue.rejoin(id, &self.want);
                        desk.wakers.insert(id, cx.waker().clone());
                        Standing::Waiting {
                            free_at: Some(now),
                            look_at: Some(now),
                        }
                    }
                }
            }
            Turn::Later { free_at, look_at } => {
                desk.wakers.insert(id, cx.waker().clone());
                Standing::Waiting { free_at, look_at }
            }
        };
        drop(desk);
        wake(wakers);
        standing
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(id) = self.id else {
            return;
        };
        let mut desk = self.pool.lock();
        desk.wakers.remove(&id);
        desk.state.leave(id, &self.want);
        let wakers = desk.serve(clock::now());
        drop(desk);
        wake(wakers);
    }
}
