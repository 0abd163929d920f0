//! The next frame of a reader, and how much of the body it has left.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Buffer, Cursor, MAX_CHUNKS, SourceState};
use crate::replay::error::ReplayError;

/// How often in a row the leader yields to a follower. tokio polls its sockets once in 61 polls of
/// tasks, so this is enough for every client that still reads.
const MAX_YIELDS: u32 = 1024;

pub(in crate::replay::shared) type Read<E> = Result<Frame<Bytes>, ReplayError<E>>;

// === impl Buffer ===

impl<B: Body<Data = Bytes> + Unpin> Buffer<B> {
    /// Reads the next frame for the reader `id`.
    pub(in crate::replay::shared) fn read(
        &mut self,
        id: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Read<B::Error>>> {
        let Some(at) = self.index(id) else {
            return Poll::Ready(None);
        };
        self.cursors[at].has_begun = true;
        if let Some(frame) = self.next_recorded(at) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let cursor = &mut self.cursors[at];
        cursor.waker = Some(cx.waker().clone());
        if cursor.ends_early() {
            self.ending.register(cx.waker());
        }
        let is_interim = self.has_interim_leader();
        let has_ended = matches!(self.source, SourceState::Ended) || self.is_interrupted(at);
        if has_ended || !self.leads(at) || (is_interim && self.pulled.is_some()) {
            return self.end_or_pending(at);
        }
        match ready!(self.poll_pull(cx)) {
            Some(frame) if self.outgrows(&frame) && (is_interim || self.yields_for(&frame)) => {
                self.pulled = Some(frame);
                self.changed = true;
            }
            Some(frame) => {
                self.keep(at, &frame);
                return Poll::Ready(Some(Ok(frame)));
            }
            // An interim leader leaves the error to the newest reader.
            None if is_interim => {}
            None => {
                if let Some(error) = self.source.take_error() {
                    return Poll::Ready(Some(Err(ReplayError::Body(error))));
                }
            }
        }
        self.end_or_pending(at)
    }

    /// Whether the reader at `at`, which has read the whole recording, gets nothing more. Either it can never
    /// read the rest, or it belongs to an attempt that ends with its call.
    fn is_interrupted(&self, at: usize) -> bool {
        let cursor = &self.cursors[at];
        cursor.cut_off
            || match &self.source {
                // Only the newest reader gets a frame over the bound.
                SourceState::Open(_) => {
                    cursor.ends_early() && (self.pulled.is_some() || self.ending.is_over())
                }
                SourceState::Ended => false,
                SourceState::Failed(None) => true,
                // The newest reader has not read the error yet.
                SourceState::Failed(Some(_)) => cursor.ends_early(),
            }
    }

    /// Ends the reader at `at`, if it has read everything or is interrupted.
    ///
    /// A clean end of an interrupted reader would pass off a part as the whole body. So a client whose
    /// body type cannot hold an error keeps its stream or connection until the provider closes it.
    fn end_or_pending(&self, at: usize) -> Poll<Option<Read<B::Error>>> {
        if self.is_interrupted(at) {
            return match self.cursors[at].can_fail {
                true => Poll::Ready(Some(Err(ReplayError::Interrupted))),
                false => Poll::Pending,
            };
        }
        match matches!(self.source, SourceState::Ended) && !self.holds_end_back(at) {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }

    /// Whether the upload of a rejected attempt must not be complete yet. It goes on only because it
    /// cannot fail, and the provider must get the next attempt first.
    fn holds_end_back(&self, at: usize) -> bool {
        self.overflowed && self.cursors[at].rejected && self.recordings > 0
    }

    /// Whether the leader lets the followers read before it records this frame. A follower that is cut
    /// off and cannot fail would never end. A client that is held up may not read at all, so the
    /// number of yields is bounded.
    fn yields_for(&mut self, frame: &Frame<Bytes>) -> bool {
        let would_be_cut_off = |cursor: &Cursor| {
            let unread = self.recorded_bytes.saturating_sub(cursor.bytes);
            let is_behind = unread > 0 && unread.saturating_add(length(frame)) > self.limit
                || self.end().saturating_sub(cursor.position) >= MAX_CHUNKS;
            is_behind && !cursor.can_fail && !cursor.cut_off
        };
        let yields = self.yields < MAX_YIELDS && self.cursors.iter().any(would_be_cut_off);
        self.yields += u32::from(yields);
        yields
    }

    /// Returns the next recorded frame for the reader at `at`.
    fn next_recorded(&mut self, at: usize) -> Option<Frame<Bytes>> {
        let cursor = &mut self.cursors[at];
        if cursor.cut_off {
            return None;
        }
        let unread = cursor.position.checked_sub(self.discarded)?;
        if let Some(chunk) = self.chunks.get(unread).cloned() {
            cursor.position += 1;
            cursor.bytes = cursor.bytes.saturating_add(chunk.len() as u64);
            self.yields = 0;
            self.discard();
            return Some(Frame::data(chunk));
        }
        let trailers = self.trailers.as_ref().filter(|_| !cursor.trailers_read)?;
        cursor.trailers_read = true;
        Some(Frame::trailers(trailers.clone()))
    }

    /// Records what the reader at `at` has just pulled.
    fn keep(&mut self, at: usize, frame: &Frame<Bytes>) {
        self.overflowed |= self.outgrows(frame);
        let cursor = &mut self.cursors[at];
        cursor.bytes = cursor.bytes.saturating_add(length(frame));
        match frame.is_data() {
            true => cursor.position += 1,
            false => cursor.trailers_read = true,
        }
        self.record(frame);
        self.discard();
    }

    /// Whether the recording would be too large with this frame.
    fn outgrows(&self, frame: &Frame<Bytes>) -> bool {
        let is_full = self.chunks.len() >= MAX_CHUNKS && frame.is_data();
        is_full || self.known_size().saturating_add(length(frame)) > self.limit
    }

    /// Returns how much the reader `id` has not read yet.
    pub(in crate::replay::shared) fn remaining(&self, id: u64) -> SizeHint {
        let Some(at) = self.index(id) else {
            return SizeHint::with_exact(0);
        };
        let cursor = &self.cursors[at];
        if cursor.cut_off {
            return SizeHint::default();
        }
        let pulled = self.pulled.as_ref().map_or(0, length);
        let unread = self.recorded_bytes.saturating_sub(cursor.bytes);
        let unread = unread.saturating_add(pulled);
        let source = self.source.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = source.upper().and_then(|it| it.checked_add(unread)) {
            hint.set_upper(upper);
        }
        hint.set_lower(source.lower().saturating_add(unread));
        hint
    }

    /// Whether the reader `id` has read everything.
    pub(in crate::replay::shared) fn is_at_end(&self, id: u64) -> bool {
        let Some(at) = self.index(id) else {
            return true;
        };
        let cursor = &self.cursors[at];
        let may_end = !cursor.cut_off && !self.holds_end_back(at);
        let all_read = cursor.position >= self.end() && self.pulled.is_none();
        let trailers_read = cursor.trailers_read || self.trailers.is_none();
        may_end && all_read && trailers_read && self.source.is_read()
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |chunk| chunk.len() as u64)
}
