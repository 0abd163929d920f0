use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{error::ReplayError, shared::Reader};

/// A request body that the layers can send any number of times.
///
/// It implements [`RequestBody`](super::RequestBody) for any `B`, so it is also the adapter for the body
/// types that do not implement the trait. Wrap the body outside the layers. hyper's client accepts a
/// `ReplayBody` unchanged.
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
/// Pass a body that is not `Unpin` as `Box::pin(body)`, as for hyper's client.
///
/// The error is the body's own, or [`ReplayError::Interrupted`] if a rejected attempt is cut short.
pub struct ReplayBody<B: Body> {
    pub(super) content: Content<B>,
}

pub(super) enum Content<B: Body> {
    /// Not recorded.
    Fresh(B),
    /// In memory: the bytes that were not sent yet.
    Memory(Bytes),
    /// Recorded while it streams.
    Shared(Reader<B>),
}

// === impl ReplayBody ===

impl<B: Body> ReplayBody<B> {
    /// Wraps a body that has not been read yet.
    pub fn new(body: B) -> Self {
        Self {
            content: Content::Fresh(body),
        }
    }

    /// Returns the bytes, if the body is known to be in memory.
    ///
    /// If the client's body type has a constructor for bytes, use it, so that the client still sees a
    /// body in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::Fresh(_) | Content::Shared(_) => None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> ReplayBody<B> {
    /// Returns all bytes that can be read without waiting, for bodies that never wait.
    pub(super) fn read_now(mut self) -> Bytes {
        if let Content::Memory(bytes) = self.content {
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
    /// Marks the attempts before the one with this body as rejected.
    pub(crate) fn reject_older(&self) {
        if let Content::Shared(reader) = &self.content {
            reader.reject_older();
        }
    }

    /// Makes this body continue where it would end with [`ReplayError::Interrupted`], because the client's
    /// body type cannot hold that error.
    pub(super) fn set_infallible(&self) {
        if let Content::Shared(reader) = &self.content {
            reader.set_infallible();
        }
    }
}

impl<B: Body> From<Bytes> for ReplayBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self {
            content: Content::Memory(bytes),
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
        match &mut self.content {
            Content::Fresh(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(ReplayError::Body)))
            }
            Content::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Memory(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Shared(reader) => Pin::new(reader).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Fresh(body) => body.is_end_stream(),
            Content::Memory(bytes) => bytes.is_empty(),
            Content::Shared(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Fresh(body) => body.size_hint(),
            Content::Memory(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Shared(reader) => reader.size_hint(),
        }
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is not printed, because it may be a confidential prompt.
        let kind = match &self.content {
            Content::Fresh(_) => "not recorded",
            Content::Memory(_) => "in memory",
            Content::Shared(_) => "streaming",
        };
        write!(f, "ReplayBody({kind})")
    }
}
