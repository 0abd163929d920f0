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
    /// Ends the request, and with it the rejected attempts; `None` if an outer layer's recording does.
    ending: Option<Ending>,
}

enum Storage<B: Body> {
    Memory(Bytes),
    Shared {
        buffer: Arc<SharedBuffer<B>>,
        /// Holds its cursor from the start, because the buffer may overflow before the reader is used.
        first: Option<Reader<B>>,
    },
    /// Too large to keep: the body, until it is sent.
    Once(Option<ReplayBody<B>>),
}

// === impl Recording ===

impl<B: Body<Data = Bytes> + Unpin> Recording<B> {
    /// Starts to record `body`, of which at most `limit` bytes are kept.
    ///
    /// A body that comes from another layer's recording shares its buffer, for which the larger limit holds.
    /// The outermost layer that records the request while it streams sets `ending`.
    pub(crate) fn new(body: ReplayBody<B>, limit: u64, ending: &mut Option<Ending>) -> Self {
        let is_outermost = ending.is_none();
        let storage = match body.content {
            Content::Memory(bytes) if bytes.len() as u64 <= limit => Storage::Memory(bytes),
            Content::Fresh(fresh) if fresh.size_hint().lower() <= limit => {
                Storage::record(fresh, limit, ending)
            }
            Content::Shared(reader) => Storage::shared(reader, limit),
            content => Storage::Once(Some(ReplayBody { content })),
        };
        let ending = ending.clone().filter(|_| is_outermost);
        Self { storage, ending }
    }

    /// Returns the body for another send, or `None` if it cannot be sent again.
    pub(crate) fn reader(&mut self) -> Option<ReplayBody<B>> {
        match &mut self.storage {
            Storage::Memory(bytes) => Some(bytes.clone().into()),
            Storage::Shared { buffer, first } => {
                let content = Content::Shared(first.take().or_else(|| buffer.reader())?);
                Some(ReplayBody { content })
            }
            Storage::Once(body) => body.take(),
        }
    }

    /// Returns why the body cannot be sent again; `None` if it can.
    pub(crate) fn not_replayable(&self) -> Option<NotReplayable> {
        match &self.storage {
            Storage::Memory(_) => None,
            Storage::Shared { buffer, .. } => buffer.not_replayable(),
            Storage::Once(_) => Some(NotReplayable::TooLarge),
        }
    }

    /// Whether [`poll_whole`](Self::poll_whole) does not wait for the caller.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.storage, Storage::Memory(_))
    }

    /// Reads the body to its end and returns it.
    ///
    /// Returns `None` if the body cannot be kept, or if it has trailers, which a changed body would lose.
    pub(crate) fn poll_whole(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &self.storage {
            Storage::Memory(bytes) => Poll::Ready(Some(bytes.clone())),
            Storage::Shared { buffer, .. } => buffer.poll_whole(cx),
            Storage::Once(_) => Poll::Ready(None),
        }
    }
}

impl<B: Body> Recording<B> {
    /// Drops the body, because this layer does not send it again.
    pub(crate) fn end(&mut self) {
        if let Some(ending) = self.ending.take() {
            ending.end();
        }
        let storage = mem::replace(&mut self.storage, Storage::Once(None));
        if let Storage::Shared { buffer, .. } = storage {
            buffer.stop_recording();
        }
    }
}

impl<B: Body> Drop for Recording<B> {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl Storage ===

impl<B: Body<Data = Bytes> + Unpin> Storage<B> {
    /// Polls `body` once, with a waker that wakes no task, because a body in memory is ready at once.
    fn record(body: B, limit: u64, ending: &mut Option<Ending>) -> Self {
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
        match only.filter(|only| source.is_read() && only.len() as u64 <= limit) {
            Some(only) => Self::Memory(only),
            None => {
                let ending = ending.get_or_insert_default().clone();
                Self::shared(Reader::new(source, first.as_ref(), ending), limit)
            }
        }
    }

    /// Shares the buffer of `reader`, which keeps its cursor and its lead.
    fn shared(reader: Reader<B>, limit: u64) -> Self {
        Self::Shared {
            buffer: reader.start_recording(limit),
            first: Some(reader),
        }
    }
}
