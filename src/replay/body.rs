use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{ReplayError, RequestBody, tape::Reader};

/// A body that the layers can play any number of times.
///
/// It is also the adapter for every body type that does not implement [`RequestBody`]: it
/// implements it for any `B`. Put it on outside the layers; hyper's client takes it as it is.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower_429::replay::ReplayBody;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let body = ReplayBody::new(Full::new(Bytes::from("text")));
/// assert_eq!(body.collect().await.unwrap().to_bytes(), "text");
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A body that is not `Unpin` goes in as `Box::pin(body)`; hyper's client asks the same of it.
///
/// Its error is the body's own, or [`ReplayError::Interrupted`] where a rejected attempt is cut short.
pub struct ReplayBody<B: Body> {
    pub(super) inner: Inner<B>,
}

pub(super) enum Inner<B: Body> {
    /// Not recorded.
    Fresh(B),
    /// In memory; what is left of it.
    Memory(Bytes),
    Tape(Reader<B>),
}

// === impl ReplayBody ===

impl<B: Body> ReplayBody<B> {
    /// Wraps a body that nobody has read from yet.
    pub fn new(body: B) -> Self {
        Self {
            inner: Inner::Fresh(body),
        }
    }

    /// The bytes, if the body is known to be in memory.
    ///
    /// A type that has a constructor for bytes should use it, so that the client below still sees
    /// a body in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.inner {
            Inner::Memory(bytes) => Some(bytes),
            Inner::Fresh(_) | Inner::Tape(_) => None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> ReplayBody<B> {
    /// All that can be read without waiting; for bodies that never wait.
    pub(super) fn read_now(mut self) -> Bytes {
        if let Inner::Memory(bytes) = self.inner {
            return bytes;
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut read: Vec<Bytes> = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self).poll_frame(&mut cx) {
            read.extend(frame.into_data().ok());
        }
        match read.as_slice() {
            [only] => only.clone(),
            chunks => chunks.concat().into(),
        }
    }
}

impl<B: Body> ReplayBody<B> {
    /// The request was sent before and goes out again with this body: the readers before it are done.
    pub(crate) fn reject_older(&self) {
        if let Inner::Tape(reader) = &self.inner {
            reader.reject_older();
        }
    }

    /// It goes into a body that cannot fail, and reads on where it would end with
    /// [`ReplayError::Interrupted`].
    pub(super) fn never_fails(&self) {
        if let Inner::Tape(reader) = &self.inner {
            reader.never_fails();
        }
    }
}

impl<B: Body> From<Bytes> for ReplayBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self {
            inner: Inner::Memory(bytes),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = ReplayError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.inner {
            Inner::Fresh(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(ReplayError::Body)))
            }
            Inner::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Memory(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Tape(reader) => Pin::new(reader).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Fresh(body) => body.is_end_stream(),
            Inner::Memory(bytes) => bytes.is_empty(),
            Inner::Tape(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Fresh(body) => body.size_hint(),
            Inner::Memory(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Tape(reader) => reader.size_hint(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> RequestBody for ReplayBody<B> {
    type Source = B;

    fn into_replay(self) -> ReplayBody<B> {
        self
    }

    fn from_replay(replay: ReplayBody<B>) -> Self {
        replay
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A prompt is nobody's business but the provider's.
        let kind = match &self.inner {
            Inner::Fresh(_) => "not recorded",
            Inner::Memory(_) => "in memory",
            Inner::Tape(_) => "streaming",
        };
        write!(f, "ReplayBody({kind})")
    }
}
