//! The trait that a request body implements, and its implementations for the bodies of known clients.

use bytes::Bytes;
use http_body::Body;
use http_body_util::{
    Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

use super::{body::ReplayBody, own_error::OwnError};

/// A request body that can be sent again.
///
/// To implement it for your own body type, name the type that is read, and build your type from a
/// [`ReplayBody`]. A foreign body type can be wrapped in [`ReplayBody`] instead.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
/// use tower_429::replay::{ReplayBody, RequestBody};
/// # use std::{pin::Pin, task::{Context, Poll}};
///
/// type BoxError = Box<dyn std::error::Error + Send + Sync>;
///
/// struct Upload(UnsyncBoxBody<Bytes, BoxError>);
///
/// impl RequestBody for Upload {
///     type Source = Self;
///     fn into_replay(self) -> ReplayBody<Self> {
///         ReplayBody::new(self)
///     }
///     fn from_replay(replay: ReplayBody<Self>) -> Self {
///         Upload(UnsyncBoxBody::new(replay.map_err(BoxError::from)))
///     }
/// }
/// # impl http_body::Body for Upload {
/// #     type Data = Bytes;
/// #     type Error = BoxError;
/// #     fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>)
/// #         -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
/// #         Pin::new(&mut self.0).poll_frame(cx)
/// #     }
/// # }
///
/// let upload = Upload(Full::new(Bytes::from("text")).map_err(BoxError::from).boxed_unsync());
/// let again = Upload::from_replay(upload.into_replay());
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// assert_eq!(again.collect().await.unwrap().to_bytes(), "text");
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a request with body `{Self}` cannot be sent again",
    label = "`{Self}` does not implement `RequestBody`",
    note = "bytes in memory are a `Full<Bytes>` (http-body-util): `Full::from(bytes)`",
    note = "put `MapRequestBodyLayer::new(ReplayBody::new)` (tower-http) outside the tower-429 layers; \
            hyper's client accepts `ReplayBody<_>`; for another client map it back inside the layers",
    note = "`axum::body::Body` and `reqwest::Body` need the features `axum` and `reqwest`"
)]
pub trait RequestBody: Body<Data = Bytes> + Unpin + Sized {
    /// The body that is read and recorded, usually `Self`.
    type Source: Body<Data = Bytes> + Unpin;

    /// Converts the body so that it can be recorded.
    fn into_replay(self) -> ReplayBody<Self::Source>;

    /// Builds a body that sends the recording.
    ///
    /// Its error type must be able to hold
    /// [`ReplayError::Interrupted`](super::ReplayError::Interrupted). A body that stays pending instead
    /// leaves a stream open. A body that ends instead passes off a part as the whole body.
    fn from_replay(replay: ReplayBody<Self::Source>) -> Self;
}

// === impl RequestBody ===

impl<B: Body<Data = Bytes> + Unpin> RequestBody for ReplayBody<B> {
    type Source = B;

    fn into_replay(self) -> ReplayBody<B> {
        self
    }

    fn from_replay(replay: ReplayBody<B>) -> Self {
        replay
    }
}

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

/// The only body that is copied for each send, because a `String` owns its text.
impl RequestBody for String {
    type Source = Full<Bytes>;

    fn into_replay(self) -> ReplayBody<Full<Bytes>> {
        ReplayBody::new(Full::new(Bytes::from(self)))
    }

    fn from_replay(replay: ReplayBody<Full<Bytes>>) -> Self {
        // The bytes came from a `String`, and at most a model's name was changed, so they are text.
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
            // reqwest can send bytes again when it follows a redirect.
            Some(bytes) => Self::from(bytes.clone()),
            None => Self::wrap(replay),
        }
    }
}
