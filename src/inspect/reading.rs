//! The start of a body, read within bounds.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::body::{InspectedBody, Rest};

/// The most frames that are read, because a frame may be empty. An error or the start of a stream has fewer.
const MAX_FRAMES: usize = 8 * 1024;

pub(super) struct Reading<R: Body> {
    body: InspectedBody<R>,
    read: usize,
    limit: usize,
}

// === impl Reading ===

impl<R: Body<Data = Bytes> + Unpin> Reading<R> {
    pub(super) fn new(body: R, limit: usize) -> Self {
        Self {
            body: InspectedBody::untouched(body),
            read: 0,
            limit,
        }
    }

    /// Returns the next chunk; `None` once the body has ended or failed, or a limit is reached.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.read < self.limit && self.body.read.len() < MAX_FRAMES {
            let Rest::Open(body) = &mut self.body.rest else {
                break;
            };
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let chunk = frame.data_ref().cloned();
                    self.body.read.push_back(frame);
                    if let Some(chunk) = chunk {
                        self.read = self.read.saturating_add(chunk.len());
                        return Poll::Ready(Some(chunk));
                    }
                }
                Some(Err(error)) => self.body.rest = Rest::Failed(error),
                None => self.body.rest = Rest::Ended,
            }
        }
        Poll::Ready(None)
    }

    /// Whether the body was read to its end.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.body.rest, Rest::Ended)
    }

    /// Returns the bytes that were read, up to the limit.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.read.min(self.limit));
        for chunk in self.body.read.iter().filter_map(Frame::data_ref) {
            let room = self.limit.saturating_sub(bytes.len());
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        bytes
    }

    pub(super) fn into_body(self) -> InspectedBody<R> {
        self.body
    }
}
