//! Read what a rejection says in its body.
//!
//! OpenAI, Gemini, xAI, Bedrock and others put the delay, or the fact that waiting is useless, only
//! into the body of the 429. A response body cannot be rebuilt once it is read, so reading it changes
//! its type: a layer of its own, next to the client, that the other layers use when it is there and
//! work without when it is not.
//!
//! 1. The body of an error (4xx, 5xx) is read if it is JSON, XML or text and not compressed, up to
//!    [`limit`](InspectLayer::limit) bytes (64 KiB) and [`max_wait`](InspectLayer::max_wait) (1 s).
//!    A layer that decompresses belongs inside this one. In a call with a [deadline](crate::Call::deadline) the
//!    layer waits for at most half of what is left, so that time remains for a retry. A layer that
//!    retries does not drain a body again that stalled here.
//! 2. What it means is left as a [`Rejection`](crate::rejection::Rejection) in the response's extensions.
//! 3. The body is handed on whole: the same frames, trailers and errors, also when a bound was hit.
//! 4. A success is not touched, unless [`first_event`](InspectLayer::first_event) asks for it: some
//!    providers refuse with a 200 and an error as the first event of a stream. Then the head waits for
//!    the first event, and nothing waits for the second. Once an event of content was seen, nothing is
//!    taken back.
//!
//! Its place in a stack is the innermost, next to the client. Placed twice or further out it does no
//! harm: the rejection that is there already stays, and no body is looked into twice.
//!
//! ```
//! use http::Response;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_429::{InspectLayer, rejection::{Reason, Rejection}};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let provider = service_fn(|_: http::Request<String>| async {
//!     let body = r#"{"error": {"type": "insufficient_quota", "code": "insufficient_quota",
//!         "message": "You exceeded your current quota"}}"#;
//!     Response::builder().status(429).body(String::from(body))
//! });
//! let client = ServiceBuilder::new().layer(InspectLayer::new()).service(provider);
//! let response = client.oneshot(http::Request::default()).await?;
//! let rejection = response.extensions().get::<Rejection>().unwrap();
//! assert_eq!(rejection.reason, Reason::QuotaExhausted, "waiting does not help");
//! # Ok::<(), http::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod first;
mod layer;
mod reading;
mod service;

pub use body::InspectedBody;
pub use layer::InspectLayer;
pub use service::{Inspect, ResponseFuture};
