//! What a tape keeps, and which reader pulls next.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{Broken, MOST_CHUNKS, Pulled, Seat, Source, State};

// === impl State ===

impl<B: Body> State<B> {
    pub(super) fn broken(&self) -> Option<Broken> {
        if self.overflowed || self.recorded > self.limit || self.chunks.len() > MOST_CHUNKS {
            Some(Broken::Overflowed)
        } else if matches!(self.source, Source::Failed(_)) {
            Some(Broken::Failed)
        } else {
            None
        }
    }

    /// A new place at the start of the tape.
    pub(super) fn seat(&mut self) -> u64 {
        let id = self.next_seat;
        self.next_seat += 1;
        self.readers.push(Seat {
            id,
            has_begun: false,
            waker: None,
            position: 0,
            bytes: 0,
            trailers_read: false,
            cut_off: self.overflowed,
            rejected: false,
            can_fail: true,
        });
        id
    }

    /// The seat that pulls: of those that have begun, the newest that can still read all.
    pub(super) fn leads(&self, id: u64) -> bool {
        let mut newest_first = self.readers.iter().rev();
        let leader = newest_first.find(|seat| seat.has_begun && !seat.cut_off);
        leader.is_some_and(|seat| seat.id == id)
    }

    /// Whether the newest seat, which is to read all, has yet to begin.
    pub(super) fn newest_is_to_begin(&self) -> bool {
        self.readers.last().is_some_and(|seat| !seat.has_begun)
    }

    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let seats = self.readers.iter_mut().filter_map(|seat| seat.waker.take());
        seats.chain(self.gatherer.take()).collect()
    }

    /// How many chunks were recorded.
    pub(super) fn end(&self) -> usize {
        self.let_go + self.chunks.len()
    }

    /// Lets go of the chunks that a tape that has overflowed need not keep, and cuts off the readers that
    /// end early or are too far behind. The last chunk stays for the others, however long it is.
    pub(super) fn let_go(&mut self) {
        if !self.overflowed {
            return;
        }
        for seat in &mut self.readers {
            seat.cut_off |= seat.ends_early();
        }
        let follows = self.readers.iter().filter(|seat| !seat.cut_off);
        let needed = follows
            .map(|seat| seat.position)
            .min()
            .unwrap_or(usize::MAX);
        while let Some(first) = self.chunks.front() {
            let is_too_much = self.kept > self.limit || self.chunks.len() > MOST_CHUNKS;
            if self.let_go >= needed && !(is_too_much && self.chunks.len() > 1) {
                break;
            }
            self.kept = self.kept.saturating_sub(first.len() as u64);
            self.let_go += 1;
            self.chunks.pop_front();
        }
        for seat in &mut self.readers {
            seat.cut_off |= seat.position < self.let_go;
        }
    }

    /// The source, once no reader is left that may read it to the end.
    pub(super) fn take_abandoned(&mut self) -> Option<Source<B, B::Error>> {
        let ends = |seat: &Seat| seat.cut_off || (seat.ends_early() && self.ending.is_over());
        if self.recordings > 0 || !self.readers.iter().all(ends) {
            return None;
        }
        let is_read = match &self.source {
            Source::Open(source) => source.is_end_stream() && self.ahead.is_none(),
            Source::Ended => true,
            Source::Failed(_) => false,
        };
        let rest = match is_read {
            true => Source::Ended,
            false => Source::Failed(None),
        };
        Some(std::mem::replace(&mut self.source, rest))
    }
}

impl<B: Body<Data = Bytes> + Unpin> State<B> {
    pub(super) fn record(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(chunk) => {
                let length = chunk.len() as u64;
                self.recorded = self.recorded.saturating_add(length);
                self.kept = self.kept.saturating_add(length);
                self.chunks.push_back(chunk);
            }
            Err(frame) => self.trailers = frame.into_trailers().ok().or(self.trailers.take()),
        }
    }

    pub(super) fn pull(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Pulled::Frame(frame));
        }
        let Source::Open(source) = &mut self.source else {
            return Poll::Ready(match self.source {
                Source::Failed(_) => Pulled::Failed,
                _ => Pulled::End,
            });
        };
        match Pin::new(source).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Pulled::Frame(frame)),
            Poll::Ready(Some(Err(error))) => {
                self.source = Source::Failed(Some(error));
                Poll::Ready(Pulled::Failed)
            }
            Poll::Ready(None) => {
                self.source = Source::Ended;
                Poll::Ready(Pulled::End)
            }
        }
    }

    pub(super) fn concatenate(&mut self) -> Bytes {
        match self.chunks.make_contiguous() {
            [only] => only.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

// === impl Seat ===

impl Seat {
    /// Whether it may end before the body does.
    pub(super) fn ends_early(&self) -> bool {
        self.rejected && self.can_fail
    }
}
