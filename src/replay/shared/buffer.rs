//! The state of a shared buffer: the recording and the cursors of its readers.

mod read;

use std::{
    collections::VecDeque,
    mem,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::{cursor::Cursor, source::SourceState};
use crate::replay::{ending::Ending, error::NotReplayable};

/// The most chunks that are kept, because each has a cost of its own, however short it is.
const MAX_CHUNKS: usize = 64 * 1024;

pub(super) struct Buffer<B: Body> {
    source: SourceState<B, B::Error>,
    /// All chunks. After an overflow: the chunks that a reader has not read yet.
    chunks: VecDeque<Bytes>,
    /// How many chunks before these were discarded.
    discarded: usize,
    /// The bytes in `chunks`.
    kept_bytes: u64,
    /// The bytes of all chunks, also of the discarded ones.
    recorded_bytes: u64,
    trailers: Option<HeaderMap>,
    /// A frame over the bound that was pulled and is not recorded yet.
    pulled: Option<Frame<Bytes>>,
    /// The largest limit of the recordings.
    limit: u64,
    /// Whether the body is larger than the limit. If so, chunks that all readers have read are discarded.
    overflowed: bool,
    /// How often the leader has yielded since a follower last read.
    yields: u32,
    /// In order of age, the newest last.
    cursors: Vec<Cursor>,
    next_id: u64,
    whole_body_waker: Option<Waker>,
    /// How many recordings may still create readers; stacked layers share one buffer.
    recordings: usize,
    ending: Ending,
    /// Whether something happened that a waiting reader must see.
    changed: bool,
}

// === impl Buffer ===

impl<B: Body> Buffer<B> {
    pub(super) fn new(source: SourceState<B, B::Error>, ending: Ending) -> Self {
        Self {
            source,
            chunks: VecDeque::new(),
            discarded: 0,
            kept_bytes: 0,
            recorded_bytes: 0,
            trailers: None,
            pulled: None,
            limit: 0,
            overflowed: false,
            yields: 0,
            cursors: Vec::new(),
            next_id: 0,
            whole_body_waker: None,
            recordings: 0,
            ending,
            changed: false,
        }
    }

    pub(super) fn raise_limit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// The size of the body as far as it is known.
    fn known_size(&self) -> u64 {
        let rest = self.source.size_hint().lower();
        self.recorded_bytes.saturating_add(rest)
    }

    pub(super) fn not_replayable(&self) -> Option<NotReplayable> {
        if self.overflowed || self.known_size() > self.limit || self.chunks.len() > MAX_CHUNKS {
            Some(NotReplayable::TooLarge)
        } else if matches!(self.source, SourceState::Failed(_)) {
            Some(NotReplayable::BodyFailed)
        } else {
            None
        }
    }

    /// Adds a cursor at the start of the body and returns its id.
    pub(super) fn add_cursor(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.cursors.push(Cursor::new(id, self.overflowed));
        id
    }

    pub(super) fn remove_cursor(&mut self, id: u64) {
        self.cursors.retain(|cursor| cursor.id != id);
        self.discard();
        // The newest of the others leads now, so its task must be woken.
        self.changed = true;
    }

    /// Marks the readers before `id` as those of rejected attempts.
    pub(super) fn reject_older(&mut self, id: u64) {
        for cursor in &mut self.cursors {
            cursor.rejected |= cursor.id < id;
        }
        self.changed = true;
    }

    pub(super) fn set_infallible(&mut self, id: u64) {
        if let Some(at) = self.index(id) {
            self.cursors[at].can_fail = false;
        }
    }

    pub(super) fn start_recording(&mut self, limit: u64) {
        self.recordings += 1;
        self.raise_limit(limit);
    }

    pub(super) fn stop_recording(&mut self) {
        self.recordings = self.recordings.saturating_sub(1);
        self.changed = true;
    }

    /// Takes the wakers of all waiting tasks, if something has changed for them.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        if !mem::take(&mut self.changed) {
            return Vec::new();
        }
        let readers = self.cursors.iter_mut().filter_map(|it| it.waker.take());
        readers.chain(self.whole_body_waker.take()).collect()
    }

    /// Takes the source once no reader is left that may read it to the end.
    pub(super) fn take_abandoned(&mut self) -> Option<SourceState<B, B::Error>> {
        let is_over = |it: &Cursor| it.cut_off || (it.ends_early() && self.ending.is_over());
        let is_open = matches!(self.source, SourceState::Open(_));
        if !is_open || self.recordings > 0 || !self.cursors.iter().all(is_over) {
            return None;
        }
        self.changed = true;
        let rest = match self.source.is_read() && self.pulled.is_none() {
            true => SourceState::Ended,
            false => SourceState::Failed(None),
        };
        Some(mem::replace(&mut self.source, rest))
    }

    pub(super) fn record(&mut self, frame: &Frame<Bytes>) {
        if let Some(chunk) = frame.data_ref() {
            let length = chunk.len() as u64;
            self.recorded_bytes = self.recorded_bytes.saturating_add(length);
            self.kept_bytes = self.kept_bytes.saturating_add(length);
            self.chunks.push_back(chunk.clone());
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        self.changed = true;
    }

    /// Returns the complete body, if it is recorded and has no trailers.
    pub(super) fn whole(&mut self) -> Option<Bytes> {
        if self.not_replayable().is_some() || self.trailers.is_some() {
            return None;
        }
        Some(match self.chunks.make_contiguous() {
            [only] => only.clone(),
            chunks => chunks.concat().into(),
        })
    }

    fn index(&self, id: u64) -> Option<usize> {
        self.cursors.iter().position(|cursor| cursor.id == id)
    }

    /// Whether the cursor at `at` pulls: it is the newest that has begun and can still read everything.
    fn leads(&self, at: usize) -> bool {
        let leads = |cursor: &Cursor| cursor.has_begun && !cursor.cut_off;
        self.cursors.iter().rposition(leads) == Some(at)
    }

    /// Whether an older reader leads, because the newest one has not begun.
    fn has_interim_leader(&self) -> bool {
        self.cursors.last().is_some_and(|newest| !newest.has_begun)
    }

    /// How many chunks were recorded.
    fn end(&self) -> usize {
        self.discarded + self.chunks.len()
    }

    /// Discards the chunks that an overflowed buffer need not keep. Cuts off the readers that may end early
    /// and those that are too far behind. The last chunk stays for the others, however long it is.
    fn discard(&mut self) {
        if !self.overflowed {
            return;
        }
        for cursor in &mut self.cursors {
            cursor.cut_off |= cursor.ends_early();
        }
        let followers = self.cursors.iter().filter(|cursor| !cursor.cut_off);
        let needed = followers.map(|cursor| cursor.position).min();
        let needed = needed.unwrap_or(usize::MAX);
        while let Some(first) = self.chunks.front() {
            let is_too_much = self.kept_bytes > self.limit || self.chunks.len() > MAX_CHUNKS;
            if self.discarded >= needed && !(is_too_much && self.chunks.len() > 1) {
                break;
            }
            self.kept_bytes = self.kept_bytes.saturating_sub(first.len() as u64);
            self.discarded += 1;
            self.chunks.pop_front();
        }
        for cursor in &mut self.cursors {
            cursor.cut_off |= cursor.position < self.discarded;
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Buffer<B> {
    /// Records the next frame. Returns `false` if the body has ended, or if it is not replayable.
    pub(super) fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.not_replayable().is_some() {
            return Poll::Ready(false);
        }
        match self.poll_pull(cx) {
            Poll::Pending => {
                self.whole_body_waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| self.record(&frame)).is_some()),
        }
    }

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if let Some(frame) = self.pulled.take() {
            return Poll::Ready(Some(frame));
        }
        let pulled = self.source.poll_frame(cx);
        self.changed |= matches!(pulled, Poll::Ready(None));
        pulled
    }
}
