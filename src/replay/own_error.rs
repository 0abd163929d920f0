//! A replayed body with the error type of its source.

use std::{
    any::Any,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    body::ReplayBody,
    error::{BoxError, INTERRUPTED, ReplayError},
};

/// Replays a body for a client that accepts only the error type of the source.
pub(super) struct OwnError<B: Body> {
    replay: ReplayBody<B>,
    interrupted: Option<fn() -> B::Error>,
}

/// Returns a constructor of the error [`ReplayError::Interrupted`] as an `E`, if this crate knows one.
fn interrupted<E: 'static>() -> Option<fn() -> E> {
    let io: fn() -> io::Error = || io::Error::other(INTERRUPTED);
    let boxed: fn() -> BoxError = || INTERRUPTED.into();
    let owned: fn() -> String = || INTERRUPTED.into();
    let borrowed: fn() -> &'static str = || INTERRUPTED;
    #[cfg(feature = "axum")]
    let axum: fn() -> axum_core::Error = || axum_core::Error::new(INTERRUPTED);
    let all: &[&dyn Any] = &[
        &io,
        &boxed,
        &owned,
        &borrowed,
        #[cfg(feature = "axum")]
        &axum,
    ];
    all.iter().find_map(|build| build.downcast_ref()).copied()
}

// === impl OwnError ===

impl<B: Body<Error: 'static>> OwnError<B> {
    pub(super) fn new(replay: ReplayBody<B>) -> Self {
        let interrupted = interrupted();
        if interrupted.is_none() {
            replay.set_infallible();
        }
        Self {
            replay,
            interrupted,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for OwnError<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match ready!(Pin::new(&mut self.replay).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(ReplayError::Body(error))) => Poll::Ready(Some(Err(error))),
            Some(Err(ReplayError::Interrupted)) => match self.interrupted {
                Some(build) => Poll::Ready(Some(Err(build()))),
                // The reader is set to be infallible, so it does not return this error.
                None => Poll::Pending,
            },
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.replay.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.replay.size_hint()
    }
}
