//! Between two sends: the thrown-away response is drained, so that its connection survives, while the wait goes on.

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

use super::after;
use crate::call::{Call, Stalled};

/// Above this a new connection is cheaper.
const DRAINED_BYTES: usize = 64 * 1024;
const DRAINED_FOR: Duration = Duration::from_secs(1);

/// The client's connection task puts a drained connection back into its pool a moment after the
/// body has ended; a send before that opens a second one.
const BACK_INTO_POOL: Duration = Duration::from_millis(1);

pin_project! {
    pub(super) struct Settle<R> {
        #[pin]
        draining: Option<R>,
        drained: usize,
        until: Instant,
        #[pin]
        timer: Sleep,
    }
}

impl<R: Body> Settle<R> {
    /// A `response` that has stalled already is dropped.
    pub(super) fn new(
        response: Option<Response<R>>,
        wait: Duration,
        call: &Call,
        now: Instant,
    ) -> Self {
        let until = after(now, wait.max(BACK_INTO_POOL));
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

    /// Ready when the wait is over; `failed` is called if the body ends in an error.
    pub(super) fn poll_settled(
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

/// Ready once the body has ended or is not worth reading on.
fn drain<R: Body>(
    mut body: Pin<&mut R>,
    drained: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), R::Error>> {
    while *drained <= DRAINED_BYTES {
        match ready!(body.as_mut().poll_frame(cx)?) {
            // Each counts, so that frames of nothing come to an end too.
            Some(frame) => *drained += frame.data_ref().map_or(0, Buf::remaining).max(1),
            None => break,
        }
    }
    Poll::Ready(Ok(()))
}
