//! What a reader at the tape reads next, and what else it knows of the body.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{MOST_CHUNKS, Pulled, Seat, Source, State};
use crate::replay::ReplayError;

/// How often in a row the leader lets a follower go first; enough for a runtime that looks at its
/// sockets only once in many polls, as tokio does in 61.
const MOST_TURNS: u32 = 1024;

pub(super) type Read<E> = Result<Frame<Bytes>, ReplayError<E>>;

// === impl State ===

impl<B: Body<Data = Bytes> + Unpin> State<B> {
    /// What the reader `id` reads next.
    pub(super) fn read(&mut self, id: u64, cx: &mut Context<'_>) -> Poll<Option<Read<B::Error>>> {
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
        if seat.ends_early() {
            self.ending.register(cx.waker());
        }
        if self.is_interrupted(at) {
            return self.interrupted_or_pending(at);
        }
        if matches!(self.source, Source::Ended) {
            return self.end_or_pending(at);
        }
        if !leads || (is_deputy && self.ahead.is_some()) {
            return Poll::Pending;
        }
        match self.pull(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Pulled::End) => self.end_or_pending(at),
            Poll::Ready(Pulled::Failed) if is_deputy => self.interrupted_or_pending(at),
            Poll::Ready(Pulled::Frame(frame))
                if self.outgrows(&frame) && (is_deputy || self.gives_way(&frame)) =>
            {
                self.ahead = Some(frame);
                self.interrupted_or_pending(at)
            }
            Poll::Ready(Pulled::Failed) => {
                let Source::Failed(error) = &mut self.source else {
                    return Poll::Ready(None);
                };
                Poll::Ready(error.take().map(|error| Err(ReplayError::Body(error))))
            }
            Poll::Ready(Pulled::Frame(frame)) => {
                self.keep(at, &frame);
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// Whether the seat `at`, which has read what is recorded, can never read the rest, or is of an
    /// attempt that ends with its call.
    fn is_interrupted(&self, at: usize) -> bool {
        let seat = &self.readers[at];
        let for_source = match &self.source {
            // A frame that is over the bound is there for the newest reader alone.
            Source::Open(_) => seat.ends_early() && (self.ahead.is_some() || self.ending.is_over()),
            Source::Ended => false,
            Source::Failed(None) => true,
            // The newest reader has yet to read the error.
            Source::Failed(Some(_)) => seat.ends_early(),
        };
        seat.cut_off || for_source
    }

    /// The error that ends a reader early. To end without one would pass a part for the whole, so a
    /// client that cannot be given one keeps its stream or connection until the provider closes it.
    fn interrupted_or_pending(&self, at: usize) -> Poll<Option<Read<B::Error>>> {
        match self.is_interrupted(at) && self.readers[at].can_fail {
            true => Poll::Ready(Some(Err(ReplayError::Interrupted))),
            false => Poll::Pending,
        }
    }

    fn end_or_pending(&self, at: usize) -> Poll<Option<Read<B::Error>>> {
        match self.holds_end_back(at) {
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    }

    /// Whether the upload of a rejected attempt, which goes on only because it cannot fail, is not to
    /// be complete yet: the provider gets the one in its place first.
    fn holds_end_back(&self, at: usize) -> bool {
        self.overflowed && self.readers[at].rejected && self.recordings > 0
    }

    /// Whether the leader lets the others read before it takes this frame: one that cannot be given an
    /// error would never end if it was cut off. A client that is held up does not come, so this has a
    /// bound.
    fn gives_way(&mut self, frame: &Frame<Bytes>) -> bool {
        let would_be_cut_off = |seat: &Seat| {
            let unread = self.recorded.saturating_sub(seat.bytes);
            let is_behind = unread > 0 && unread.saturating_add(length(frame)) > self.limit
                || self.end().saturating_sub(seat.position) >= MOST_CHUNKS;
            is_behind && !seat.can_fail && !seat.cut_off
        };
        let gives_way = self.gave_way < MOST_TURNS && self.readers.iter().any(would_be_cut_off);
        self.gave_way += u32::from(gives_way);
        gives_way
    }

    /// The next frame of the recording for the seat `at`.
    fn recorded_frame(&mut self, at: usize) -> Option<Frame<Bytes>> {
        let seat = &mut self.readers[at];
        if seat.cut_off {
            return None;
        }
        let unread = seat.position.checked_sub(self.let_go)?;
        if let Some(chunk) = self.chunks.get(unread).cloned() {
            seat.position += 1;
            seat.bytes = seat.bytes.saturating_add(chunk.len() as u64);
            self.gave_way = 0;
            self.let_go();
            return Some(Frame::data(chunk));
        }
        if seat.trailers_read {
            return None;
        }
        let trailers = self.trailers.clone()?;
        seat.trailers_read = true;
        Some(Frame::trailers(trailers))
    }

    /// Records what the seat `at` has just pulled.
    fn keep(&mut self, at: usize, frame: &Frame<Bytes>) {
        self.overflowed |= self.outgrows(frame);
        let seat = &mut self.readers[at];
        seat.bytes = seat.bytes.saturating_add(length(frame));
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
        self.let_go();
    }

    /// Whether the recording would be too large with it.
    fn outgrows(&self, frame: &Frame<Bytes>) -> bool {
        let is_full = self.chunks.len() >= MOST_CHUNKS && frame.is_data();
        is_full || self.recorded.saturating_add(length(frame)) > self.limit
    }

    pub(super) fn remaining(&self, id: u64) -> SizeHint {
        let Some(seat) = self.readers.iter().find(|seat| seat.id == id) else {
            return SizeHint::with_exact(0);
        };
        if seat.cut_off {
            return SizeHint::default();
        }
        let unread = self.recorded.saturating_sub(seat.bytes);
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

    pub(super) fn at_end(&self, id: u64) -> bool {
        let Some(at) = self.readers.iter().position(|seat| seat.id == id) else {
            return true;
        };
        let seat = &self.readers[at];
        let all_read = seat.position >= self.end();
        let trailers_read = self.trailers.is_none() || seat.trailers_read;
        let source_ended = match &self.source {
            Source::Open(source) => source.is_end_stream(),
            Source::Ended => true,
            Source::Failed(_) => false,
        };
        let nothing_ahead = self.ahead.is_none();
        let may_end = !seat.cut_off && !self.holds_end_back(at);
        may_end && all_read && trailers_read && nothing_ahead && source_ended
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |chunk| chunk.len() as u64)
}
