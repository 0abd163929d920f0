use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{
    Ending, ReplayBody,
    body::Inner,
    tape::{Broken, Reader, Tape},
};

/// A request's body, kept so that it can be sent again.
pub(crate) struct Recording<B: Body> {
    kept: Kept<B>,
    /// Of the request, and the attempts that were rejected end with it; `None` if an outer layer's
    /// recording ends it.
    ends: Option<Ending>,
}

enum Kept<B: Body> {
    Memory(Bytes),
    Tape {
        tape: Arc<Tape<B>>,
        /// Has its place from the start, whatever becomes of the tape before it is asked for.
        first: Option<Reader<B>>,
    },
    /// Too large to keep: what has not been sent yet.
    Once(Option<ReplayBody<B>>),
}

/// Why a request cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReplayable {
    /// Its body is larger than the bound of the recording.
    TooLarge,
    /// Its body failed while it was read.
    BodyFailed,
}

// === impl Recording ===

impl<B: Body<Data = Bytes> + Unpin> Recording<B> {
    /// Starts to record `body`, of which at most `limit` bytes are kept.
    ///
    /// A body that arrives as another layer's recording shares that one, and its limit. `ending` is made
    /// by the outermost layer that records the request while it streams.
    pub(crate) fn new(body: ReplayBody<B>, limit: u64, ending: &mut Option<Ending>) -> Self {
        let is_outermost = ending.is_none();
        let kept = match body.inner {
            Inner::Memory(bytes) if bytes.len() as u64 <= limit => Kept::Memory(bytes),
            Inner::Fresh(fresh) if fresh.size_hint().lower() <= limit => {
                record(fresh, limit, ending)
            }
            Inner::Tape(reader) => Kept::shared(reader),
            inner => Kept::Once(Some(ReplayBody { inner })),
        };
        let ends = ending.clone().filter(|_| is_outermost);
        Self { kept, ends }
    }

    /// The body once more, or `None` if it cannot be sent again.
    pub(crate) fn reader(&mut self) -> Option<ReplayBody<B>> {
        match &mut self.kept {
            Kept::Memory(bytes) => Some(bytes.clone().into()),
            Kept::Tape { tape, first } => {
                let reader = first.take().or_else(|| tape.reader_of_all())?;
                Some(ReplayBody {
                    inner: Inner::Tape(reader),
                })
            }
            Kept::Once(body) => body.take(),
        }
    }

    /// Why the body cannot be sent again; `None` if it can.
    pub(crate) fn not_replayable(&self) -> Option<NotReplayable> {
        match &self.kept {
            Kept::Memory(_) => None,
            Kept::Tape { tape, .. } => tape.broken().map(NotReplayable::from),
            Kept::Once(_) => Some(NotReplayable::TooLarge),
        }
    }

    /// Whether the body can be had whole without waiting for the caller.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.kept, Kept::Memory(_))
    }

    /// The whole body, read to its end; `None` if it cannot be had whole, or has trailers, which
    /// another body in its place would lose.
    pub(crate) fn poll_whole(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &self.kept {
            Kept::Memory(bytes) => Poll::Ready(Some(bytes.clone())),
            Kept::Tape { tape, .. } => tape
                .poll_whole(cx)
                .map(Result::ok)
                .map(|bytes| bytes.filter(|_| !tape.has_trailers())),
            Kept::Once(_) => Poll::Ready(None),
        }
    }
}

/// Polls once, with nobody to wake, to tell a body in memory from one that streams.
fn record<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    limit: u64,
    ending: &mut Option<Ending>,
) -> Kept<B> {
    if body.is_end_stream() {
        return Kept::Memory(Bytes::new());
    }
    let mut cx = Context::from_waker(Waker::noop());
    let (read, failed) = match Pin::new(&mut body).poll_frame(&mut cx) {
        Poll::Ready(None) => return Kept::Memory(Bytes::new()),
        Poll::Pending => (None, None),
        Poll::Ready(Some(Err(error))) => (None, Some(error)),
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(chunk) if body.is_end_stream() && chunk.len() as u64 <= limit => {
                return Kept::Memory(chunk);
            }
            Ok(chunk) => (Some(Frame::data(chunk)), None),
            Err(frame) => (Some(frame), None),
        },
    };
    let ending = ending.get_or_insert_default().clone();
    let tape = Tape::new(body, read, failed, limit, ending);
    let first = Some(tape.reader());
    Kept::Tape { tape, first }
}

// === impl Kept ===

impl<B: Body<Data = Bytes> + Unpin> Kept<B> {
    /// The tape of a layer further out; its reader keeps its place, and so its lead.
    fn shared(reader: Reader<B>) -> Self {
        Self::Tape {
            tape: reader.share_tape(),
            first: Some(reader),
        }
    }
}

// === impl Recording ===

impl<B: Body> Recording<B> {
    /// Lets the body go: it is not sent again by this layer.
    pub(crate) fn end(&mut self) {
        if let Some(ending) = self.ends.take() {
            ending.end();
        }
        if let Kept::Tape { tape, .. } = mem::replace(&mut self.kept, Kept::Once(None)) {
            tape.stop_recording();
        }
    }
}

impl<B: Body> Drop for Recording<B> {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl NotReplayable ===

impl From<Broken> for NotReplayable {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Overflowed => Self::TooLarge,
            Broken::Failed => Self::BodyFailed,
        }
    }
}
