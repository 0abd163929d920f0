//! How a replayed body fails.

use std::{
    any::Any,
    error::Error,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::ReplayBody;

type BoxError = Box<dyn Error + Send + Sync>;

/// The error of a [`ReplayBody`].
///
/// It converts to a boxed error as clients ask for one, [`Body`](Self::Body) as what is in it. No call
/// ends with [`Interrupted`](Self::Interrupted): it only frees the stream or connection of an attempt
/// that was answered before.
///
/// ```
/// use tower_429::replay::ReplayError;
///
/// type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// let error = ReplayError::Body(std::io::Error::other("disk"));
/// assert!(BoxError::from(error).is::<std::io::Error>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError<E> {
    /// The body failed by itself.
    Body(E),
    /// The attempt was rejected before its body had ended, and the rest of the body is not sent.
    Interrupted,
}

/// Plays a body for a client that takes the error of its source and no other.
pub(super) struct OwnError<B: Body> {
    replay: ReplayBody<B>,
    interrupted: Option<fn() -> B::Error>,
}

const INTERRUPTED: &str = "the attempt was rejected before its body had ended";

/// Builds an interruption as an `E`, if that is a type that can say it.
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
    let mut of_this_type = all.iter().filter_map(|build| build.downcast_ref());
    of_this_type.next().copied()
}

// === impl ReplayError ===

impl<E: fmt::Display> fmt::Display for ReplayError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Interrupted => f.write_str(INTERRUPTED),
        }
    }
}

// It does not implement `Error`, because a boxed error, which many bodies have, does not either.
impl<E: Into<BoxError>> From<ReplayError<E>> for BoxError {
    fn from(error: ReplayError<E>) -> Self {
        match error {
            ReplayError::Body(error) => error.into(),
            ReplayError::Interrupted => INTERRUPTED.into(),
        }
    }
}

// === impl OwnError ===

impl<B: Body<Error: 'static>> OwnError<B> {
    pub(super) fn new(replay: ReplayBody<B>) -> Self {
        let interrupted = interrupted();
        if interrupted.is_none() {
            replay.never_fails();
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
                // The reader knows, and does not come here.
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
