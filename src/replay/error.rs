//! How a replayed body fails, and why a body cannot be replayed.

use std::{error::Error, fmt};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The error of a [`ReplayBody`](super::ReplayBody).
///
/// It converts to the boxed error that clients require; [`Body`](Self::Body) becomes the error inside it.
/// No call ends with [`Interrupted`](Self::Interrupted). That error only frees the stream or connection
/// of an attempt that already has its response.
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
    /// The source of the body failed.
    Body(E),
    /// The attempt was rejected before its body had ended, and the rest of the body is not sent.
    Interrupted,
}

/// Why a request cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReplayable {
    /// The body is larger than the bound of the recording.
    TooLarge,
    /// The body failed while it was read.
    BodyFailed,
}

pub(super) const INTERRUPTED: &str = "the attempt was rejected before its body had ended";

// === impl ReplayError ===

impl<E: fmt::Display> fmt::Display for ReplayError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Interrupted => f.write_str(INTERRUPTED),
        }
    }
}

// It does not implement `Error`, because many bodies fail with a boxed error, and a boxed error does not
// implement `Error` itself.
impl<E: Into<BoxError>> From<ReplayError<E>> for BoxError {
    fn from(error: ReplayError<E>) -> Self {
        match error {
            ReplayError::Body(error) => error.into(),
            ReplayError::Interrupted => INTERRUPTED.into(),
        }
    }
}
