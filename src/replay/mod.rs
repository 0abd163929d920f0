//! Request bodies that can be sent again.
//!
//! A layer that sends a request twice needs its body twice. A body type that implements [`RequestBody`]
//! converts to a [`ReplayBody`] and back. A layer can send a `ReplayBody` any number of times. `Clone` is not
//! required, because the bodies of real clients are not `Clone`.
//!
//! 1. A body in memory is not copied: a replay is a reference count. Only a `String` is copied for each
//!    send, because it owns its text.
//! 2. A streaming body is recorded while the first attempt sends it. If the next attempt starts
//!    before the upload has ended, it sends the recording and then continues with the source.
//! 3. A recording is bounded, in bytes (2 MiB unless
//!    [`replay_limit`](crate::BackoffLayer::replay_limit) is set) and in chunks. A larger body is sent only
//!    once, and the trail says why.
//! 4. The length stays exact, so a recorded body does not become chunked.
//! 5. The upload of a rejected attempt continues beside the next attempt, so that its connection can be
//!    reused. It ends with an error if the body outgrows the bound, if the source fails, or if the call
//!    ends first. The error resets an HTTP/2 stream and closes an HTTP/1.1 connection.
//!
//! # Body types
//!
//! | body | how |
//! |---|---|
//! | `Full<Bytes>`, `Empty<Bytes>`, `String` | built in |
//! | `BoxBody<Bytes, E>`, `UnsyncBoxBody<Bytes, E>` | built in |
//! | `axum::body::Body` | feature `axum` |
//! | `reqwest::Body` | feature `reqwest` |
//! | any other, such as hyper's `Incoming` | wrapped in [`ReplayBody<B>`](ReplayBody), with tower-http's `MapRequestBodyLayer`, as in the example `hyper_client` |
//!
//! A boxed body has the error type of its source. The crate can end an attempt early if that type is
//! `io::Error`, a boxed error, `String`, `&'static str` or `axum::Error`. With another type, such as
//! `Infallible` or `hyper::Error`, the rejected upload continues to its end. If the provider stops
//! reading it, its stream or connection stays open until the provider closes it. Wrap such a body in
//! [`ReplayBody`] outside the layers instead.

mod body;
mod ending;
mod error;
mod own_error;
mod recording;
mod request_body;
mod shared;
#[cfg(test)]
mod tests;

pub use body::ReplayBody;
pub(crate) use ending::Ending;
pub(crate) use error::NotReplayable;
pub use error::ReplayError;
pub(crate) use recording::Recording;
pub use request_body::RequestBody;
