//! Parse the bodies of errors for the other layers.
//!
//! OpenAI, Gemini, xAI, Bedrock and others put the delay, or the fact that waiting does not help, only into
//! the body of the 429. A response body cannot be rebuilt once it is read, so the type of the body changes.
//! That is why a separate layer reads it, next to the client. The other layers use its result, and work
//! without it.
//!
//! 1. The layer reads the body of an error (4xx, 5xx) that is JSON, XML or text without a content coding. It
//!    reads up to [`limit`](InspectLayer::limit) bytes (64 KiB), for up to
//!    [`max_wait`](InspectLayer::max_wait) (1 s). A layer that decompresses belongs inside this one. In a
//!    call with a [deadline](crate::Call::deadline) the layer waits for at most half of the time left, so
//!    that a retry is possible. A layer that retries does not drain a body that stalled here.
//! 2. It stores the result as a [`Rejection`](crate::rejection::Rejection) in the response's extensions.
//! 3. It returns the whole body: the same frames, trailers and errors, even if it reached a bound.
//! 4. It does not read a success by default. Some providers reject with a 200 and an error as the first event
//!    of a stream. If [`first_event`](InspectLayer::first_event) is set, the head waits for the first event,
//!    and nothing waits for the second. A stream that began with content is never a rejection.
//!
//! A provider counts a streamed response as a request in flight until its last byte. With this layer, the other
//! layers count it until its body has ended or was dropped; without it, until its head has come.
//!
//! The layer belongs next to the client. In another place, or twice in a stack, it does no harm: an existing
//! rejection stays, and no body is read twice.
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
//!
//! # The wait is only in the body
//!
//! A 429 can mean a limit per minute or per day, spent credits, a busy model or a request that is too large.
//! Without this layer the others see only the status and the headers:
//!
//! ```
//! # use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_429::{BackoffLayer, InspectLayer, rejection::{Reason, Rejection}};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let provider = service_fn(|_: Request<String>| async {
//! #     let body = match CALLS.fetch_add(1, Ordering::Relaxed) {
//! #         0 => r#"{"error": {"message": "Rate limit reached on tokens per min (TPM). Please try again in 9.816s."}}"#,
//! #         _ => r#"{"error": {"type": "insufficient_quota", "message": "You have no credits remaining."}}"#,
//! #     };
//! #     Ok::<_, Infallible>(Response::builder().status(429).body(String::from(body)).expect("it is valid"))
//! # });
//! # let request = Request::post("https://api.example/v1/chat/completions").body(String::from("{}"))?;
//! # let start = tokio::time::Instant::now();
//! let client = ServiceBuilder::new()
//!     .layer(BackoffLayer::new())
//!     .layer(InspectLayer::new())
//!     .service(provider);
//!
//! // The layer waits after the first 429 ("Please try again in 9.816s"), but not after the second (`insufficient_quota`).
//! let response = client.oneshot(request).await?;
//! assert!(start.elapsed() >= Duration::from_millis(9_816));
//! # assert!(start.elapsed() <= Duration::from_secs(11));
//! let rejection = response.extensions().get::<Rejection>().ok_or("no rejection")?;
//! assert_eq!(rejection.reason, Reason::QuotaExhausted);
//! # Ok(())
//! # }
//! ```
//!
//! The page of [`rejection`](crate::rejection) lists what each provider sends and what it means.

mod body;
mod first_event;
mod layer;
mod reading;
mod service;
mod settings;
#[cfg(test)]
mod tests;

pub use body::InspectedBody;
pub use layer::InspectLayer;
pub use service::{Inspect, ResponseFuture};
