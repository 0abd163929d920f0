//! The start of a body, read within bounds.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::body::{InspectedBody, Rest};

/// More frames than an error or the start of a stream comes in; a frame may be without a byte.
const MOST_FRAMES: usize = 8 * 1024;

pub(super) struct Reading<R: Body> {
    frames: VecDeque<Frame<Bytes>>,
    read: usize,
    limit: usize,
    rest: Rest<R>,
}

// === impl Reading ===

impl<R: Body<Data = Bytes> + Unpin> Reading<R> {
    pub(super) fn new(body: R, limit: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            read: 0,
            limit,
            rest: Rest::Open(body),
        }
    }

    /// The next chunk; `None` once the body has ended or failed, or a limit is reached.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.read < self.limit && self.frames.len() < MOST_FRAMES {
            let Rest::Open(body) = &mut self.rest else {
                break;
            };
            let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
            match frame {
                Some(Ok(frame)) => {
                    let chunk = frame.data_ref().cloned();
                    self.frames.push_back(frame);
                    if let Some(chunk) = chunk {
                        self.read = self.read.saturating_add(chunk.len());
                        return Poll::Ready(Some(chunk));
                    }
                }
                Some(Err(error)) => self.rest = Rest::Failed(error),
                None => self.rest = Rest::Ended,
            }
        }
        Poll::Ready(None)
    }

    /// Whether the body was read to its end.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.rest, Rest::Ended)
    }

    /// What was read, up to the limit.
    pub(super) fn text(&self) -> Vec<u8> {
        let chunks = self.frames.iter().filter_map(Frame::data_ref);
        let mut text = Vec::with_capacity(self.read.min(self.limit));
        for chunk in chunks {
            let room = self.limit.saturating_sub(text.len());
            text.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        text
    }

    pub(super) fn into_body(self) -> InspectedBody<R> {
        InspectedBody {
            read: self.frames,
            rest: self.rest,
        }
    }
}
