//! The source of a shared buffer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body that is recorded, and how far it was read.
pub(in crate::replay) enum SourceState<B, E> {
    Open(B),
    Ended,
    /// Holds the error for the newest reader: `None` after it was read, or if the source was dropped.
    Failed(Option<E>),
}

impl<B: Body> SourceState<B, B::Error> {
    /// Whether no frame is left to read.
    pub(in crate::replay) fn is_read(&self) -> bool {
        match self {
            Self::Open(body) => body.is_end_stream(),
            Self::Ended => true,
            Self::Failed(_) => false,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Open(body) => body.size_hint(),
            Self::Ended => SizeHint::with_exact(0),
            Self::Failed(_) => SizeHint::default(),
        }
    }

    pub(super) fn take_error(&mut self) -> Option<B::Error> {
        match self {
            Self::Failed(error) => error.take(),
            Self::Open(_) | Self::Ended => None,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> SourceState<B, B::Error> {
    /// Polls for the next frame. Returns `None` if the source has ended or failed, and records which.
    pub(in crate::replay) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Frame<Bytes>>> {
        let Self::Open(body) = self else {
            return Poll::Ready(None);
        };
        *self = match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(frame)),
            Some(Err(error)) => Self::Failed(Some(error)),
            None => Self::Ended,
        };
        Poll::Ready(None)
    }
}
