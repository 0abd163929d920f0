//! The position of one reader in a shared buffer.

use std::task::Waker;

pub(super) struct Cursor {
    pub(super) id: u64,
    /// Whether the reader was polled.
    pub(super) has_begun: bool,
    pub(super) waker: Option<Waker>,
    /// How many chunks were read.
    pub(super) position: usize,
    /// How many bytes were read.
    pub(super) bytes: u64,
    pub(super) trailers_read: bool,
    /// Whether the buffer has discarded a chunk that was not read yet.
    pub(super) cut_off: bool,
    /// Whether the request was sent again, or will be.
    pub(super) rejected: bool,
    /// Whether the client's body type can hold an error.
    pub(super) can_fail: bool,
}

impl Cursor {
    pub(super) fn new(id: u64, cut_off: bool) -> Self {
        Self {
            id,
            has_begun: false,
            waker: None,
            position: 0,
            bytes: 0,
            trailers_read: false,
            cut_off,
            rejected: false,
            can_fail: true,
        }
    }

    /// Whether the reader may end before the body does.
    pub(super) fn ends_early(&self) -> bool {
        self.rejected && self.can_fail
    }
}
