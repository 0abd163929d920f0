//! A reader as a body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::{Source, State, Tape, read::Read, wake};
use crate::replay::ReplayError;

/// One reading of a tape, from the start.
pub(in crate::replay) struct Reader<B: Body> {
    pub(super) tape: Arc<Tape<B>>,
    pub(super) id: u64,
}

// === impl Reader ===

impl<B: Body<Data = Bytes> + Unpin> Body for Reader<B> {
    type Data = Bytes;
    type Error = ReplayError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Read<B::Error>>> {
        let mut state = self.tape.lock();
        let progress = |state: &State<B>| {
            let is_open = matches!(state.source, Source::Open(_));
            let (trailers, ahead) = (state.trailers.is_some(), state.ahead.is_some());
            (state.end(), trailers, ahead, is_open)
        };
        let before = progress(&state);
        let gave_way = state.gave_way;
        let polled = state.read(self.id, cx);
        // Also what this one leaves to others; one that gives way wakes itself.
        let moved = progress(&state) != before || state.gave_way > gave_way;
        let wakers = match moved {
            true => state.take_wakers(),
            false => Vec::new(),
        };
        drop(state);
        wake(wakers);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.tape.lock().at_end(self.id)
    }

    fn size_hint(&self) -> SizeHint {
        self.tape.lock().remaining(self.id)
    }
}

impl<B: Body> Reader<B> {
    /// The attempts before this one are rejected: their readers end with the call at the latest.
    pub(in crate::replay) fn reject_older(&self) {
        let mut state = self.tape.lock();
        for seat in &mut state.readers {
            seat.rejected |= seat.id < self.id;
        }
        let wakers = state.take_wakers();
        drop(state);
        wake(wakers);
    }

    /// The client cannot be given an error, so this reader reads on where others end with one.
    pub(in crate::replay) fn never_fails(&self) {
        let mut state = self.tape.lock();
        if let Some(seat) = state.readers.iter_mut().find(|seat| seat.id == self.id) {
            seat.can_fail = false;
        }
    }

    /// The tape, for one recording more that may ask for readers.
    pub(in crate::replay) fn share_tape(&self) -> Arc<Tape<B>> {
        self.tape.lock().recordings += 1;
        Arc::clone(&self.tape)
    }
}

impl<B: Body> Drop for Reader<B> {
    fn drop(&mut self) {
        let mut state = self.tape.lock();
        state.readers.retain(|seat| seat.id != self.id);
        state.let_go();
        // The next newest leads now, and must be polled to know it.
        let (wakers, source) = (state.take_wakers(), state.take_abandoned());
        drop(state);
        drop(source);
        wake(wakers);
    }
}
