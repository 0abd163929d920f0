//! Waits, then sends the same request again.
//!
//! 1. The layer waits after a rejection that time remedies (rate limited, overloaded). It waits as long as
//!    the provider says, or else as long as [`Delays`] say. No wait is shorter than the provider's hint;
//!    jitter only adds to it.
//! 2. If a hint is longer than [`max_wait`](BackoffLayer::max_wait) or the time until the deadline, the layer
//!    returns the rejection at once. Then an outer layer or the caller can act.
//! 3. The layer returns a rejection at once if time does not help: the limit of a day or a plan, a quota, and
//!    `x-should-retry: false`. There is one exception: it waits for OpenRouter's quota of requests in flight,
//!    which is free again when they end.
//! 4. Other responses and the client's own errors are opt-in, because such a request may have been
//!    processed.
//! 5. The last response is the provider's own, unchanged, with the [trail](crate::trail) in its extensions.
//!
//! Place it outside key rotation and fallback, so that the stack tries another key first, then another
//! model, and waits last.
//!
//! # Exponential delays
//!
//! Without a hint the layer waits 1 s, 2 s, 4 s and so on, up to 60 s, each with its own jitter. With a hint
//! it never waits for less. At most five attempts are made by default. [`DecorrelatedJitter`] and closures
//! replace these [delays](BackoffLayer::delays).
//!
//! ```
//! # use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_429::BackoffLayer;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let client = service_fn(|_: Request<String>| async {
//! #     let response = match CALLS.fetch_add(1, Ordering::Relaxed) {
//! #         0 | 1 => Response::builder().status(429),
//! #         2 => Response::builder().status(429).header("retry-after", "20"),
//! #         _ => Response::builder(),
//! #     };
//! #     Ok::<_, Infallible>(response.body(String::new()).expect("it is valid"))
//! # });
//! # let request = Request::post("https://api.example/v1/chat/completions").body(String::from("{}"))?;
//! # let start = tokio::time::Instant::now();
//! let client = ServiceBuilder::new().layer(BackoffLayer::new()).service(client);
//!
//! // The provider returns 429, 429, 429 with `retry-after: 20`, and then 200.
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! assert!(start.elapsed() >= Duration::from_secs(1 + 2 + 20));
//! # assert!(start.elapsed() <= Duration::from_secs(28));
//! # Ok(())
//! # }
//! ```
//!
//! # The policy of one request
//!
//! The policy is configured once, where the client is built. A single request can override it through a
//! [`Call`](crate::Call) in its extensions.
//!
//! ```
//! # use std::{convert::Infallible, time::Duration};
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_429::{BackoffLayer, Call, backoff::Exponential};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = service_fn(|_: Request<String>| async {
//! #     let response = Response::builder().status(429).header("retry-after", "20");
//! #     Ok::<_, Infallible>(response.body(String::from("the provider's own words")).expect("it is valid"))
//! # });
//! let backoff = BackoffLayer::new()
//!     .attempts(3)
//!     .delays(Exponential::new().first(Duration::from_millis(500)).max(Duration::from_secs(20)))
//!     .max_wait(Duration::from_secs(30))
//!     .deadline(Duration::from_secs(60))
//!     .on_status(|status| status == 502);
//! let client = ServiceBuilder::new().layer(backoff).service(client);
//!
//! # let start = tokio::time::Instant::now();
//! let hurried = Request::post("https://api.example/v1/chat/completions")
//!     .extension(Call::new().deadline(Duration::from_secs(5)))
//!     .body(String::from("{}"))?;
//! // The provider says `retry-after: 20`. 20 s exceeds the deadline, so the layer returns immediately.
//! let response = client.oneshot(hurried).await?;
//! assert_eq!((response.status().as_u16(), response.body().as_str()), (429, "the provider's own words"));
//! assert!(start.elapsed() < Duration::from_secs(1));
//! # Ok(())
//! # }
//! ```
//!
//! # Calls that share a limit
//!
//! A layer coordinates all calls that pass through it, through its clones and through their services. Calls
//! with the same origin, credentials and model share a limit. While a rejection of one call is in force, the
//! others wait in line, because they would be rejected too. They also wait if the provider reports that
//! nothing is left, or fewer tokens than they [need](crate::Cost). The line is FIFO, and a rejected call
//! keeps its place. Only a call that needs fewer tokens may go first, and only where it does not delay the
//! others. The layer sends as many calls at a time as the limit is expected to let through. If too many
//! requests were in flight, the next call is sent when one ends. A wait in line is no attempt.
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use tokio::time::Instant;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_429::BackoffLayer;
//!
//! # let mut runtime = tokio::runtime::Builder::new_current_thread();
//! # runtime.enable_time().start_paused(true).build()?.block_on(async {
//! let start = Instant::now();
//! let provider = service_fn(move |_: Request<String>| async move {
//!     let is_limited = start.elapsed() < Duration::from_secs(5);
//!     let response = Response::builder().status(if is_limited { 429 } else { 200 });
//!     response.header("retry-after", "5").body(String::new())
//! });
//! let client = BackoffLayer::new().layer(provider);
//! let request = || Request::get("https://api.example/").body(String::new());
//!
//! let first = tokio::spawn(client.clone().oneshot(request()?));
//! tokio::time::sleep(Duration::from_secs(1)).await; // The first call was rejected.
//! let second = client.oneshot(request()?).await?;
//! assert_eq!(second.status(), 200);
//! let trail = second.extensions().get::<tower_429::trail::Trail>().expect("a trail");
//! assert_eq!(trail.to_string(), "1. 200", "it was sent once, when the limit had ended");
//! assert_eq!(first.await??.status(), 200);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! 1. A call that is alone on its limit waits as if there were no line: 1, 2, 4 s without a hint.
//! 2. A call waits in line only if the limit is expected to open within [`max_wait`](BackoffLayer::max_wait)
//!    and before the deadline. All its waits in line together last at most
//!    [`attempts`](BackoffLayer::attempts) times `max_wait`. A call that does not wait, or has waited for as
//!    long as it may, is sent. So the caller gets the provider's own response.
//! 3. No call waits in line because of an overload without a hint, or because of a rejection that time does
//!    not help.
//! 4. While nothing is known about a limit, 16 requests go out at once. This number doubles every quarter of
//!    a second. After a rejection the layer learns how many requests pass in which time. A
//!    [key pool](crate::key_rotation) learns it in the same way if the provider does not report it.
//! 5. There is no line if key rotation, fallback or another Backoff is inside or outside this layer. Those
//!    layers decide better when to send with which key.
//! 6. The layer stores a keyed hash of the credentials, never the credentials.
//!
//! [`independent`](BackoffLayer::independent) switches the line off.
//!
//! # Beside a pool that waits
//!
//! A [key pool](crate::key_rotation) with
//! [`wait_when_exhausted`](crate::KeyRotationLayer::wait_when_exhausted) waits for every limit on requests,
//! tokens and requests in flight. A single key needs no pool, because calls under this layer alone wait in
//! the same kind of line. Beside a pool that waits, or a [fallback](crate::fallback) that waits, this layer
//! is still needed for the following cases. Put it outside:
//!
//! 1. The provider is overloaded (503, 529, 498). Another key does not help, so key rotation returns the response.
//! 2. The provider is down, and [`on_unavailable`](BackoffLayer::on_unavailable) is set; or a condition of your own holds.
//! 3. The call may wait for longer than the pool's max wait, or the pool has let it wait for 16 rejections.
//!
//! The examples `service` and `batch` have the layer in a stack of each kind.
//!
//! # Conditions of your own
//!
//! [`on_status`](BackoffLayer::on_status), [`retry_if`](BackoffLayer::retry_if) and
//! [`on_error`](BackoffLayer::on_error) take closures. [`on_unavailable`](BackoffLayer::on_unavailable) stands
//! for the signs of an outage. A condition that needs the body belongs in a service
//! inside the layers, which puts a [`Rejection`](crate::rejection::Rejection) into the extensions of the
//! response; see [`Reason::Custom`](crate::rejection::Reason::Custom).

mod delays;
mod layer;
mod limits;
mod strategy;
mod turn;

pub use crate::retry::{AsError, IfError, IfUnavailable, NoErrors, ResponseHead, RetryOnError};
pub use delays::{
    DecorrelatedJitter, DecorrelatedJitterIter, Delays, Exponential, ExponentialIter,
};
pub use layer::BackoffLayer;

/// The service of a [`BackoffLayer`].
pub type Backoff<S, D = Exponential, P = NoErrors> = crate::retry::Retry<S, BackoffLayer<D, P>>;

/// The future of [`Backoff`].
pub type ResponseFuture<S, B, R, D = Exponential, P = NoErrors> =
    crate::retry::ResponseFuture<S, B, R, BackoffLayer<D, P>>;
