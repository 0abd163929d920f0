//! A request's body, kept so that it can be sent again.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::Body;

use super::{
    body::{Content, ReplayBody},
    ending::Ending,
    error::NotReplayable,
    shared::{Reader, SharedBuffer, SourceState},
};

pub(crate) struct Recording<B: Body> {
    storage: Storage<B>,
    /// The body of the first send. It holds its cursor from the start, because the buffer may overflow before
    /// the reader is used.
    first: Option<ReplayBody<B>>,
    limit: u64,
    /// The length of the whole body, if it is known before the body is read.
    length: Option<u64>,
    /// Ends the request, and with it the rejected attempts; `None` if an outer layer's recording does.
    ending: Option<Ending>,
}

enum Storage<B: Body> {
    Memory(Bytes),
    Shared(Arc<SharedBuffer<B>>),
    /// Dropped, because the layer does not send it again.
    Ended,
}

// === impl Recording ===

impl<B: Body<Data = Bytes> + Unpin> Recording<B> {
    /// Starts to record `body`, and keeps at most `limit` bytes of it.
    ///
    /// A body that comes from another layer's recording shares its buffer, for which the larger limit holds.
    /// The outermost layer that records the request while it streams sets `ending`.
    pub(crate) fn new(body: ReplayBody<B>, limit: u64, ending: &mut Option<Ending>) -> Self {
        let is_outermost = ending.is_none();
        let content = match body.content {
            Content::Fresh(body) => record(body, ending),
            content => content,
        };
        let storage = match &content {
            Content::Shared(reader) => Storage::Shared(reader.start_recording(limit)),
            Content::Memory(bytes) => Storage::Memory(bytes.clone()),
            Content::Fresh(_) => Storage::Ended,
        };
        let first = ReplayBody { content };
        Self {
            storage,
            length: first.size_hint().exact(),
            first: Some(first),
            limit,
            ending: ending.clone().filter(|_| is_outermost),
        }
    }

    /// Keeps a body of up to `limit` bytes, if that is more than before.
    pub(crate) fn raise_limit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
        if let Storage::Shared(buffer) = &self.storage {
            buffer.raise_limit(limit);
        }
    }

    /// Returns the body for another send, or `None` if it cannot be sent again.
    pub(crate) fn reader(&mut self) -> Option<ReplayBody<B>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match &self.storage {
            Storage::Memory(bytes) => self.in_memory().then(|| bytes.clone().into()),
            Storage::Shared(buffer) => {
                let content = Content::Shared(buffer.reader()?);
                Some(ReplayBody { content })
            }
            Storage::Ended => None,
        }
    }

    /// Returns why the body cannot be sent again; `None` if it can.
    pub(crate) fn not_replayable(&self) -> Option<NotReplayable> {
        match &self.storage {
            Storage::Memory(_) if self.in_memory() => None,
            Storage::Shared(buffer) => buffer.not_replayable(),
            Storage::Memory(_) | Storage::Ended => Some(NotReplayable::TooLarge),
        }
    }

    /// Whether the body is in memory and within the limit, so that [`poll_whole`](Self::poll_whole) is ready
    /// at once.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(&self.storage, Storage::Memory(bytes) if bytes.len() as u64 <= self.limit)
    }

    /// Reads the body to its end and returns it.
    ///
    /// Returns `None` if the body cannot be kept, or if it has trailers, which a changed body would lose.
    pub(crate) fn poll_whole(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &self.storage {
            Storage::Memory(bytes) => Poll::Ready(self.in_memory().then(|| bytes.clone())),
            Storage::Shared(buffer) => buffer.poll_whole(cx),
            Storage::Ended => Poll::Ready(None),
        }
    }
}

impl<B: Body> Recording<B> {
    /// Returns the body if it came in memory, however long it is.
    pub(crate) fn memory(&self) -> Option<&Bytes> {
        match &self.storage {
            Storage::Memory(bytes) => Some(bytes),
            Storage::Shared(_) | Storage::Ended => None,
        }
    }

    /// Returns the length of the whole body, if it was known before the body was read.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Drops the body, because this layer does not send it again.
    pub(crate) fn end(&mut self) {
        if let Some(ending) = self.ending.take() {
            ending.end();
        }
        self.first = None;
        if let Storage::Shared(buffer) = mem::replace(&mut self.storage, Storage::Ended) {
            buffer.stop_recording();
        }
    }
}

impl<B: Body> Drop for Recording<B> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Polls `body` once, with a waker that wakes no task, because a body in memory is ready at once.
fn record<B: Body<Data = Bytes> + Unpin>(body: B, ending: &mut Option<Ending>) -> Content<B> {
    let mut source = SourceState::Open(body);
    let mut cx = Context::from_waker(Waker::noop());
    let first = match source.poll_frame(&mut cx) {
        Poll::Ready(frame) => frame,
        Poll::Pending => None,
    };
    let only = match &first {
        Some(frame) => frame.data_ref().cloned(),
        None => Some(Bytes::new()),
    };
    match only.filter(|_| source.is_read()) {
        Some(only) => Content::Memory(only),
        None => {
            let ending = ending.get_or_insert_default().clone();
            Content::Shared(Reader::new(source, first.as_ref(), ending))
        }
    }
}
