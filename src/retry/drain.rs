//! Between two sends: the layer waits, and drains the discarded response so that its connection survives.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    call::{CallState, Stalled},
    clock::after,
};

/// A new connection is cheaper than reading more.
const DRAINED_BYTES: usize = 64 * 1024;
const DRAINED_FOR: Duration = Duration::from_secs(1);

/// The client's connection task returns a drained connection to its pool shortly after the body has ended.
/// A send before that opens a second connection.
const RETURN_TO_POOL: Duration = Duration::from_millis(1);

pin_project! {
    pub(super) struct Drain<R> {
        #[pin]
        draining: Option<R>,
        drained: usize,
        until: Instant,
        #[pin]
        timer: Sleep,
    }
}

impl<R: Body> Drain<R> {
    /// Drops a `response` whose body has already stalled.
    pub(super) fn new(
        response: Option<Response<R>>,
        wait: Duration,
        call: &CallState,
        now: Instant,
    ) -> Self {
        let until = after(now, wait.max(RETURN_TO_POOL));
        let response = response.filter(|response| response.extensions().get::<Stalled>().is_none());
        let timer = match &response {
            Some(_) => now + call.time_for_body(DRAINED_FOR, now),
            None => until,
        };
        Self {
            draining: response.map(Response::into_body),
            drained: 0,
            until,
            timer: sleep_until(timer),
        }
    }

    /// Ready when the wait has ended. Calls `failed` if the body ends in an error.
    pub(super) fn poll_drained(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: impl FnOnce(),
    ) -> Poll<()> {
        let mut this = self.project();
        if let Some(body) = this.draining.as_mut().as_pin_mut() {
            match drain(body, this.drained, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => failed(),
                Poll::Pending => ready!(this.timer.as_mut().poll(cx)),
            }
            this.draining.set(None);
            this.timer.as_mut().reset(*this.until);
        }
        this.timer.poll(cx)
    }
}

/// Ready when the body has ended or is not worth reading on.
fn drain<R: Body>(
    mut body: Pin<&mut R>,
    drained: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), R::Error>> {
    while *drained <= DRAINED_BYTES {
        match ready!(body.as_mut().poll_frame(cx)?) {
            // Empty frames count too, because a body may have endlessly many.
            Some(frame) => *drained += frame.data_ref().map_or(0, Buf::remaining).max(1),
            None => break,
        }
    }
    Poll::Ready(Ok(()))
}
