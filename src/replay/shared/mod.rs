//! A streaming body that is recorded while it is read, for any number of readers.
//!
//! Only the newest reader pulls from the source. It is the leader. So the recording holds exactly what the
//! leader has read, an error of the source reaches the attempt that matters, and one bound is enough. Older
//! readers follow the recording, so the upload of a rejected attempt can complete and its connection stays
//! usable.
//!
//! The next attempt has its reader before it waits. Until that reader is polled, the one before it is
//! the interim leader. It leaves an error, and a frame over the bound, to the newest reader.
//!
//! A reader of a rejected attempt ends with an error in three cases. Either the body outgrows the bound, the
//! source fails, or the call ends before the upload. The error frees its stream or connection.
//!
//! Some bodies have an error type without a value for this, such as `Infallible`. A reader in such a
//! body continues the upload. Over the bound, the recording becomes a window of at most the bound,
//! which holds the chunks that this reader has not read yet.

mod buffer;
mod cursor;
mod source;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use buffer::Buffer;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
pub(super) use source::SourceState;

use super::{
    ending::Ending,
    error::{NotReplayable, ReplayError},
};

pub(super) struct SharedBuffer<B: Body>(Mutex<Buffer<B>>);

/// Reads a shared buffer once, from the start.
pub(super) struct Reader<B: Body> {
    buffer: Arc<SharedBuffer<B>>,
    id: u64,
}

// === impl SharedBuffer ===

impl<B: Body> SharedBuffer<B> {
    fn lock(&self) -> MutexGuard<'_, Buffer<B>> {
        // A body that panicked while it was polled leaves a valid recording.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the buffer. Then, after the lock is released, drops an abandoned source and wakes the tasks
    /// that the change concerns.
    fn update<R>(&self, change: impl FnOnce(&mut Buffer<B>) -> R) -> R {
        let mut buffer = self.lock();
        let result = change(&mut buffer);
        let abandoned = buffer.take_abandoned();
        let wakers = buffer.take_wakers();
        drop(buffer);
        drop(abandoned);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Adds a reader, unless the body is not replayable. Both happen under one lock, because a reader on
    /// another thread can overflow the buffer at any moment.
    pub(super) fn reader(self: &Arc<Self>) -> Option<Reader<B>> {
        let mut buffer = self.lock();
        let is_replayable = buffer.not_replayable().is_none();
        let id = is_replayable.then(|| buffer.add_cursor())?;
        drop(buffer);
        let buffer = Arc::clone(self);
        Some(Reader { buffer, id })
    }

    /// Ends one recording, which creates no more readers.
    pub(super) fn stop_recording(&self) {
        self.update(Buffer::stop_recording);
    }

    pub(super) fn not_replayable(&self) -> Option<NotReplayable> {
        self.lock().not_replayable()
    }

    pub(super) fn raise_limit(&self, limit: u64) {
        self.lock().raise_limit(limit);
    }
}

impl<B: Body<Data = Bytes> + Unpin> SharedBuffer<B> {
    /// Records until the source ends. Returns `None` if the body is not replayable or has trailers. An
    /// error stays in the buffer for the next reader.
    pub(super) fn poll_whole(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while ready!(self.update(|buffer| buffer.poll_record(cx))) {}
        Poll::Ready(self.update(Buffer::whole))
    }
}

// === impl Reader ===

impl<B: Body> Reader<B> {
    /// Starts a buffer of `source`, whose frame `first` was read already, and returns its first reader.
    pub(super) fn new(
        source: SourceState<B, B::Error>,
        first: Option<&Frame<Bytes>>,
        ending: Ending,
    ) -> Self {
        let mut buffer = Buffer::new(source, ending);
        if let Some(frame) = first {
            buffer.record(frame);
        }
        let id = buffer.add_cursor();
        let buffer = Arc::new(SharedBuffer(Mutex::new(buffer)));
        Self { buffer, id }
    }

    /// Marks the attempts before this one as rejected, so their readers end with the call at the latest.
    pub(super) fn reject_older(&self) {
        self.buffer.update(|buffer| buffer.reject_older(self.id));
    }

    /// Makes this reader continue where others would end with an error, because its client's body type cannot
    /// hold one.
    pub(super) fn set_infallible(&self) {
        self.buffer.lock().set_infallible(self.id);
    }

    /// Returns the buffer for another recording, which may create readers and keeps `limit` bytes.
    pub(super) fn start_recording(&self, limit: u64) -> Arc<SharedBuffer<B>> {
        self.buffer.lock().start_recording(limit);
        Arc::clone(&self.buffer)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Reader<B> {
    type Data = Bytes;
    type Error = ReplayError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.buffer.update(|buffer| buffer.read(self.id, cx))
    }

    fn is_end_stream(&self) -> bool {
        self.buffer.lock().is_at_end(self.id)
    }

    fn size_hint(&self) -> SizeHint {
        self.buffer.lock().remaining(self.id)
    }
}

impl<B: Body> Drop for Reader<B> {
    fn drop(&mut self) {
        self.buffer.update(|buffer| buffer.remove_cursor(self.id));
    }
}
