//! The body of an inspected response.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Extensions;
use http_body::{Body, Frame, SizeHint};

use crate::call::{BodyGuards, OpenBody};

/// A response body whose start may have been read already. It returns all frames unchanged.
pub struct InspectedBody<R: Body> {
    pub(super) read: VecDeque<Frame<R::Data>>,
    pub(super) rest: Rest<R>,
    /// What other layers hold until `rest` has ended. Dropped after `rest`, because until then the response
    /// is in flight.
    guards: Option<Arc<BodyGuards>>,
}

/// The part of a body behind the frames that were read.
pub(super) enum Rest<R: Body> {
    Open(R),
    Failed(R::Error),
    Ended,
}

// === impl InspectedBody ===

impl<R: Body> InspectedBody<R> {
    /// Wraps a body that has not been read.
    pub(super) fn untouched(body: R) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Rest::Open(body),
            guards: None,
        }
    }

    /// Leaves the handle of this body for the other layers. The provider sends no more after `rest` has
    /// ended, even if the caller has not read all frames.
    pub(super) fn offer(&mut self, extensions: &mut Extensions, is_empty: bool) {
        // The handle of an inner layer's body is the more exact one.
        if extensions.get::<OpenBody>().is_some() {
            return;
        }
        if is_empty || !self.rest.is_open() {
            extensions.insert(OpenBody::ended());
            return;
        }
        let guards = self.guards.insert(Arc::default());
        extensions.insert(OpenBody::new(guards));
    }
}

// === impl Rest ===

impl<R: Body> Rest<R> {
    /// Whether the provider may send more.
    fn is_open(&self) -> bool {
        match self {
            Self::Open(body) => !body.is_end_stream(),
            Self::Failed(_) | Self::Ended => false,
        }
    }
}

/// An empty body of any client, for a response that a layer generates itself.
impl<R: Body> Default for InspectedBody<R> {
    fn default() -> Self {
        Self {
            read: VecDeque::new(),
            rest: Rest::Ended,
            guards: None,
        }
    }
}

// The frames that were read are plain values, never pinned.
impl<R: Body + Unpin> Unpin for InspectedBody<R> {}

impl<R: Body<Data = Bytes> + Unpin> Body for InspectedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Rest::Open(body) = &mut self.rest {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            if !matches!(frame, Some(Ok(_))) || !self.rest.is_open() {
                self.guards = None;
            }
            return Poll::Ready(frame);
        }
        match std::mem::replace(&mut self.rest, Rest::Ended) {
            Rest::Failed(error) => Poll::Ready(Some(Err(error))),
            Rest::Open(_) | Rest::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let has_failed = matches!(self.rest, Rest::Failed(_));
        !has_failed && !self.rest.is_open() && self.read.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let chunks = self.read.iter().filter_map(Frame::data_ref);
        let read = chunks.map(|chunk| chunk.len() as u64).sum::<u64>();
        let rest = match &self.rest {
            Rest::Open(body) => body.size_hint(),
            Rest::Failed(_) => SizeHint::default(),
            Rest::Ended => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<R: Body> fmt::Debug for InspectedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the caller may see a response.
        f.debug_struct("InspectedBody").finish_non_exhaustive()
    }
}
