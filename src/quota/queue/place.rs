//! A place in the queue, and which one a call takes.

/// A place in the queue; the smaller one goes first. No two calls have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId {
    pub(super) is_background: bool,
    pub(super) place: i64,
    pub(super) number: u64,
}

/// Which place a call takes among those of its own priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuePlace {
    /// The last.
    New,
    /// In front of all calls that have not waited before.
    Again,
    /// The one that it had before it was rejected.
    Kept(WaiterId),
    /// Behind so many of the first.
    Behind(usize),
}

// === impl WaiterId ===

impl WaiterId {
    /// Returns a place before which no call comes that has its priority and has not waited before.
    pub(super) fn first_new(self) -> Self {
        Self {
            place: 0,
            number: 0,
            ..self
        }
    }
}
