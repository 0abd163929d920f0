//! A place in the pool's queue, held by a call that waits for a key.

use std::task::Context;

use tokio::time::Instant;

use super::{
    KeyPool, Lease, Prospect, Want,
    queue::{Turn, WaiterId},
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
        prospect: Prospect,
        /// When to look again, if not woken before.
        look_at: Option<Instant>,
    },
}

impl KeyPool {
    /// Takes a place in the queue; `first` for a call that had a key before.
    pub(in crate::key_rotation) fn join(&self, want: Want, first: bool, now: Instant) -> Ticket {
        let id = self.lock().state.join(&want, first, now);
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
                prospect: Prospect::AnyTime,
                look_at: None,
            };
        };
        let mut desk = self.pool.lock();
        let (turn, wakers) = desk.look(id, &self.want, cx.waker(), now);
        let standing = match turn {
            Turn::Granted(loan, at) => {
                self.id = None;
                match desk.state.entry_of(&loan) {
                    Some(entry) => Standing::Served(Lease::new(&self.pool, loan, entry), at),
                    None => Standing::Waiting {
                        prospect: Prospect::AnyTime,
                        look_at: None,
                    },
                }
            }
            Turn::Later { prospect, look_at } => Standing::Waiting { prospect, look_at },
        };
        drop(desk);
        wakers.wake();
        standing
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(id) = self.id else {
            return;
        };
        let mut desk = self.pool.lock();
        let wakers = desk.leave(id, &self.want, clock::now());
        drop(desk);
        wakers.wake();
    }
}
