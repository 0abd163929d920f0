//! The bodies of the clients that the layers know.

use bytes::Bytes;
use http_body_util::{
    Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use super::{ReplayBody, RequestBody, error::OwnError};

impl RequestBody for Full<Bytes> {
    type Source = Self;

    fn into_replay(self) -> ReplayBody<Self> {
        ReplayBody::new(self)
    }

    fn from_replay(replay: ReplayBody<Self>) -> Self {
        Full::new(replay.read_now())
    }
}

impl RequestBody for Empty<Bytes> {
    type Source = Self;

    fn into_replay(self) -> ReplayBody<Self> {
        ReplayBody::from(Bytes::new())
    }

    fn from_replay(_: ReplayBody<Self>) -> Self {
        Empty::new()
    }
}

/// The one body that is copied for each send: a `String` owns its text.
impl RequestBody for String {
    type Source = Full<Bytes>;

    fn into_replay(self) -> ReplayBody<Full<Bytes>> {
        ReplayBody::new(Full::new(Bytes::from(self)))
    }

    fn from_replay(replay: ReplayBody<Full<Bytes>>) -> Self {
        // What came from a `String`, with at most a model's name changed, is text.
        String::from_utf8(replay.read_now().into())
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl<E: Send + 'static> RequestBody for BoxBody<Bytes, E> {
    type Source = Self;

    fn into_replay(self) -> ReplayBody<Self> {
        ReplayBody::new(self)
    }

    fn from_replay(replay: ReplayBody<Self>) -> Self {
        BoxBody::new(OwnError::new(replay))
    }
}

impl<E: Send + 'static> RequestBody for UnsyncBoxBody<Bytes, E> {
    type Source = Self;

    fn into_replay(self) -> ReplayBody<Self> {
        ReplayBody::new(self)
    }

    fn from_replay(replay: ReplayBody<Self>) -> Self {
        UnsyncBoxBody::new(OwnError::new(replay))
    }
}

#[cfg(feature = "axum")]
impl RequestBody for axum_core::body::Body {
    type Source = Self;

    fn into_replay(self) -> ReplayBody<Self> {
        ReplayBody::new(self)
    }

    fn from_replay(replay: ReplayBody<Self>) -> Self {
        match replay.as_bytes() {
            Some(bytes) => Self::from(bytes.clone()),
            None => Self::new(replay),
        }
    }
}

#[cfg(feature = "reqwest")]
impl RequestBody for reqwest::Body {
    type Source = Self;

    fn into_replay(self) -> ReplayBody<Self> {
        ReplayBody::new(self)
    }

    fn from_replay(replay: ReplayBody<Self>) -> Self {
        match replay.as_bytes() {
            // Bytes stay replayable inside reqwest, for its own redirects.
            Some(bytes) => Self::from(bytes.clone()),
            None => Self::wrap(replay),
        }
    }
}
