//! Request bodies that can be sent again.
//!
//! A layer that sends a request twice needs its body twice. [`RequestBody`] is what a body type
//! must offer for that: it turns itself into a [`ReplayBody`], which a layer can play any number of
//! times, and back. No `Clone` is asked for, because the bodies of real clients are not `Clone`.
//!
//! 1. A body already in memory is not copied: a replay is a reference count. Only a `String`, which owns
//!    its text, is copied for each send.
//! 2. A streaming body streams through on the first attempt while its chunks are recorded. An
//!    attempt that starts before the upload has ended plays the recording and reads on.
//! 3. A recording is bounded, in bytes and in pieces. A body known to be larger, or found larger, is
//!    sent once and not again; the trail says so.
//! 4. Length stays exact, so no body turns chunked by being recorded.
//! 5. The upload of a rejected attempt goes on beside the next one, so that its connection can be used
//!    again. It ends with an error where the body outgrows the bound, where the source fails, and where
//!    the call ends first. The error resets an HTTP/2 stream and closes an HTTP/1.1 connection.
//!
//! # Which bodies
//!
//! | body | how |
//! |---|---|
//! | `Full<Bytes>`, `Empty<Bytes>`, `String` | built in |
//! | `BoxBody<Bytes, E>`, `UnsyncBoxBody<Bytes, E>` | built in |
//! | `axum::body::Body` | feature `axum` |
//! | `reqwest::Body` | feature `reqwest` |
//! | any other, such as hyper's `Incoming` | [`ReplayBody<B>`](ReplayBody), see there |
//!
//! A boxed body has the error type of its source. The crate can end an attempt early if that is
//! `io::Error`, a boxed error, `String`, `&'static str` or `axum::Error`. With another type, such as
//! `Infallible` or `hyper::Error`, the rejected upload goes on to its end. If the provider stops
//! reading it, its stream or connection stays open until the provider closes it. Such a body is
//! better wrapped in [`ReplayBody`] outside the layers.

mod bodies;
mod body;
mod ending;
mod error;
mod recording;
mod tape;
#[cfg(test)]
mod tests;

pub use body::ReplayBody;
pub(crate) use ending::Ending;
pub use error::ReplayError;
pub(crate) use recording::{NotReplayable, Recording};

use bytes::Bytes;
use http_body::Body;

/// A request body that can be sent again.
///
/// Implement it for a body type of your own by naming what is read and by building the type from
/// the replaying body. For somebody else's type, wrap it in [`ReplayBody`] instead.
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
    note = "put `MapRequestBodyLayer::new(ReplayBody::new)` (tower-http) outside the tower-429 layers; \
            hyper's client takes `ReplayBody<_>` as it is, for another client map it back inside",
    note = "`axum::body::Body` and `reqwest::Body` need the feature of that name"
)]
pub trait RequestBody: Body<Data = Bytes> + Unpin + Sized {
    /// What is read when the body is recorded; most often `Self`.
    type Source: Body<Data = Bytes> + Unpin;

    /// Hands the body over to be recorded.
    fn into_replay(self) -> ReplayBody<Self::Source>;

    /// Builds a body that plays what was recorded.
    ///
    /// Its error must be able to hold [`ReplayError::Interrupted`]; a body that hangs or ends instead
    /// leaves a stream open, or passes a part for the whole.
    fn from_replay(replay: ReplayBody<Self::Source>) -> Self;
}
