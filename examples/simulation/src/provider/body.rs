//! The body of a response: complete at once, or a stream whose last event is sent when the response is complete.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::{Instant, Sleep, sleep_until};

use super::slot::Slot;

pub(crate) enum AnswerBody {
    Whole(Full<Bytes>),
    Streamed {
        first: Option<Bytes>,
        complete: Pin<Box<Sleep>>,
        last: Option<Bytes>,
        /// In use until the body has ended.
        slot: Option<Slot>,
    },
}

// === impl AnswerBody ===

impl AnswerBody {
    /// Returns a stream of two events in the form of a chat completion.
    pub(super) fn streamed(complete: Instant, slot: Option<Slot>) -> Self {
        let first = r#"data: {"choices":[{"delta":{"content":"a"}}]}"#;
        Self::Streamed {
            first: Some(format!("{first}\n\n").into()),
            complete: Box::pin(sleep_until(complete)),
            last: Some(Bytes::from_static(b"data: [DONE]\n\n")),
            slot,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Streamed {
                first,
                complete,
                last,
                slot,
            } => {
                if let Some(event) = first.take() {
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                if last.is_none() {
                    return Poll::Ready(None);
                }
                ready!(complete.as_mut().poll(cx));
                *slot = None;
                Poll::Ready(last.take().map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed { last, .. } => last.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed { .. } => SizeHint::new(),
        }
    }
}
