//! What a reader at the tape reads next, and what else it knows of the body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{MOST_CHUNKS, Pulled, Source, State, Tape, wake};

/// One reading of a tape, from the start.
pub(in crate::replay) struct Reader<B: Body> {
    pub(super) tape: Arc<Tape<B>>,
    pub(super) id: u64,
}

// === impl Reader ===

impl<B: Body<Data = Bytes> + Unpin> State<B> {
    /// What the reader `id` reads next.
    fn read(
        &mut self,
        id: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(at) = self.readers.iter().position(|seat| seat.id == id) else {
            return Poll::Ready(None);
        };
        self.readers[at].has_begun = true;
        let leads = self.leads(id);
        let is_deputy = self.newest_is_to_begin();
        if let Some(frame) = self.recorded_frame(at) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let seat = &mut self.readers[at];
        seat.waker = Some(cx.waker().clone());
        if seat.cut_off {
            // What follows went to the newest reader alone. To end here would pass a part for the
            // whole; this attempt was answered already, so its connection closes on its own time.
            return Poll::Pending;
        }
        if matches!(self.source, Source::Ended) {
            return Poll::Ready(None);
        }
        if !leads || (is_deputy && self.ahead.is_some()) {
            return Poll::Pending;
        }
        match self.pull(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Pulled::End) => Poll::Ready(None),
            Poll::Ready(Pulled::Failed) if is_deputy => Poll::Pending,
            Poll::Ready(Pulled::Frame(frame)) if is_deputy && self.outgrows(&frame) => {
                self.ahead = Some(frame);
                Poll::Pending
            }
            Poll::Ready(Pulled::Failed) => {
                self.cut_off_others(at);
                let Source::Failed(error) = &mut self.source else {
                    return Poll::Ready(None);
                };
                Poll::Ready(error.take().map(Err))
            }
            Poll::Ready(Pulled::Frame(frame)) => {
                self.keep_or_let_go(at, &frame);
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// The next frame of the recording for the seat `at`.
    fn recorded_frame(&mut self, at: usize) -> Option<Frame<Bytes>> {
        let seat = &mut self.readers[at];
        if seat.cut_off || self.overflowed {
            return None;
        }
        if let Some(chunk) = self.chunks.get(seat.position) {
            seat.position += 1;
            seat.bytes += chunk.len() as u64;
            return Some(Frame::data(chunk.clone()));
        }
        if seat.trailers_read {
            return None;
        }
        let trailers = self.trailers.clone()?;
        seat.trailers_read = true;
        Some(Frame::trailers(trailers))
    }

    /// Records what the seat `at` has just pulled, or lets the recording go if it grows too large.
    fn keep_or_let_go(&mut self, at: usize, frame: &Frame<Bytes>) {
        if !self.overflowed && self.outgrows(frame) {
            self.overflowed = true;
            self.chunks = Vec::new();
            self.cut_off_others(at);
        }
        let seat = &mut self.readers[at];
        seat.bytes = seat.bytes.saturating_add(length(frame));
        if self.overflowed {
            return;
        }
        match frame.data_ref() {
            Some(_) => seat.position += 1,
            None => seat.trailers_read = true,
        }
        let copy = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(chunk), _) => Frame::data(chunk.clone()),
            (None, Some(trailers)) => Frame::trailers(trailers.clone()),
            // Neither data nor trailers: a kind of frame that HTTP does not have yet.
            (None, None) => return,
        };
        self.record(copy);
    }

    /// Whether the recording would be too large with it.
    fn outgrows(&self, frame: &Frame<Bytes>) -> bool {
        let is_full = self.chunks.len() >= MOST_CHUNKS && frame.is_data();
        is_full || self.recorded.saturating_add(length(frame)) > self.limit
    }

    fn cut_off_others(&mut self, at: usize) {
        for (index, seat) in self.readers.iter_mut().enumerate() {
            seat.cut_off |= index != at;
        }
    }

    fn remaining(&self, id: u64) -> SizeHint {
        let Some(seat) = self.readers.iter().find(|seat| seat.id == id) else {
            return SizeHint::with_exact(0);
        };
        if seat.cut_off {
            return SizeHint::default();
        }
        let unread = match self.overflowed {
            true => 0,
            false => self.recorded.saturating_sub(seat.bytes),
        };
        let unread = unread.saturating_add(self.ahead.as_ref().map_or(0, length));
        let mut hint = match &self.source {
            Source::Open(source) => source.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
            Source::Failed(_) => SizeHint::default(),
        };
        let upper = hint.upper().and_then(|upper| upper.checked_add(unread));
        // Lower first would pass the old upper, and the setters assert their order.
        let lower = hint.lower().saturating_add(unread);
        hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper {
            hint.set_upper(upper.max(lower));
        }
        hint
    }

    fn at_end(&self, id: u64) -> bool {
        let Some(seat) = self.readers.iter().find(|seat| seat.id == id) else {
            return true;
        };
        let all_read = self.overflowed || seat.position >= self.chunks.len();
        let trailers_read = self.trailers.is_none() || seat.trailers_read;
        let source_ended = match &self.source {
            Source::Open(source) => source.is_end_stream(),
            Source::Ended => true,
            Source::Failed(_) => false,
        };
        let nothing_ahead = self.ahead.is_none();
        !seat.cut_off && all_read && trailers_read && nothing_ahead && source_ended
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |chunk| chunk.len() as u64)
}

impl<B: Body<Data = Bytes> + Unpin> Body for Reader<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut state = self.tape.lock();
        let progress = |state: &State<B>| {
            let is_open = matches!(state.source, Source::Open(_));
            let (trailers, ahead) = (state.trailers.is_some(), state.ahead.is_some());
            (state.chunks.len(), trailers, ahead, is_open)
        };
        let before = progress(&state);
        let polled = state.read(self.id, cx);
        // Also what this one leaves to others.
        let moved = progress(&state) != before || (state.overflowed && polled.is_ready());
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
        // The next newest leads now, and must be polled to know it.
        let (wakers, source) = (state.take_wakers(), state.take_abandoned());
        drop(state);
        drop(source);
        wake(wakers);
    }
}
