//! The service and the future behind [`Backoff`](crate::backoff::Backoff),
//! [`KeyRotation`](crate::key_rotation::KeyRotation) and [`Fallback`](crate::fallback::Fallback).
//!
//! Each layer sends, classifies the outcome, decides, and may send again. The layers differ only in what
//! they decide, so their service is one type with the layer as its configuration.
//!
//! # The stack
//!
//! ```
//! # use bytes::Bytes;
//! # use http_body_util::Full;
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//! use tower_429::{BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer};
//!
//! # let hyper_client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
//! let keys = KeyPool::new(["sk-one", "sk-two", "sk-three"])?;
//! // Retries with another key at once. If all keys are limited, waits at most a second, then returns to Fallback.
//! let keys = KeyRotationLayer::new(keys)
//!     .reject_when_exhausted()
//!     .wait_when_exhausted(Duration::from_secs(1));
//! // Retries with another model at once. If all are limited, waits for the first that has capacity.
//! let models = FallbackLayer::new(["gpt-4o-mini"]).wait_when_exhausted(Duration::from_secs(60));
//! let client = ServiceBuilder::new()
//!     .layer(BackoffLayer::new()) // retries later
//!     .layer(models)              // retries with another model
//!     .layer(keys)                // retries with another key
//!     .layer(InspectLayer::new()) // reads error bodies for the other three
//!     .service(hyper_client);
//! # use {hyper::body::Incoming, tower_429::inspect::InspectedBody};
//! # fn is_client<S: tower::Service<http::Request<Full<Bytes>>, Response = http::Response<InspectedBody<Incoming>>>>(_: S) {}
//! # is_client(client);
//! # Ok::<(), tower_429::key_rotation::PoolError>(())
//! ```
//!
//! `client` has the same request and error types as `hyper_client`; only `InspectLayer` changes a type. The
//! response body is an `InspectedBody<Incoming>`, which yields the same frames. Without `InspectLayer` the
//! response type stays the same too, but the layers see only response heads. When the layers give up, they
//! return the provider's last response.
//!
//! # What each layer handles
//!
//! | rejection | Backoff | KeyRotation | Fallback |
//! |---|---|---|---|
//! | rate limited, per second or minute | wait for the hint (the provider's retry delay), else for its own delay | cooldown for the key or its group; next free key at once | next model |
//! | rate limited, per plan window (5 hours, session), day or longer | return | cooldown until the hint, else probe hourly; next key | next model |
//! | quota exhausted (402; 400, 403 and 429 that say so) | return | cooldown for an hour, doubling; next key | next model |
//! | overloaded (498, 503, 529; 429 that say so) | wait | return (another key would not help) | next model |
//! | key rejected (401; 400 and 403 that say so) | return | cooldown for this key only; next key | return, opt-in |
//! | permission denied (missing scope, no access to the model) | return | next key; cooldown at most for this key and model | next model if one was denied, else return |
//! | too large (413; 403 and 429 that say so) | return | return | return, opt-in |
//! | other statuses, errors of the client | opt-in | return | opt-in |
//!
//! A hint is the provider's retry delay. The layers learn part of this from the status and the headers. A 429
//! is a rate limit, and headers may name its window and a hint. With `x-should-retry: false` the layer does
//! not wait. Everything else is only in the body, which [`InspectLayer`](crate::InspectLayer) reads.
//!
//! # The order of the layers
//!
//! Every order works. The outer layer acts when the inner ones have no option left, so the order decides what
//! a limit costs. The simulation measures this with `-- --orders`. The setup has one key, a preferred model
//! with 20 requests per 6 s, and a fallback with 200. Responses report the limits in headers, and 32 workers
//! send 300 requests. Each cell shows the time relative to the minimum, and the number of 429s:
//!
//! | from outer to inner | only Backoff waits | KeyRotation waits | Fallback waits | Fallback waits, KeyRotation waits at most 1 s, then responds |
//! |---|---|---|---|---|
//! | Backoff, Fallback, KeyRotation | 1.08, 62 | 13.69, 1 | 1.02, 36 | 1.02, 1 |
//! | Fallback, KeyRotation | 80 of 300 failed | 13.69, 1 | 1.02, 36 | 1.02, 1 |
//! | Fallback, Backoff, KeyRotation | 5.93, 166 | 13.69, 1 | 5.93, 166 | 5.93, 1 |
//! | Fallback, KeyRotation, Backoff | 5.88, 164 | 13.69, 5 | 5.88, 164 | 2.04, 3 |
//! | Backoff, KeyRotation, Fallback | 1.08, 33 | 8.80, 0 | 1.03, 2 | 13 of 300 failed |
//! | KeyRotation, Backoff, Fallback | 1.08, 44 | 8.80, 0 | 1.03, 2 | 280 of 300 failed |
//! | KeyRotation, Fallback, Backoff | 2.04, 41 | 8.80, 0 | 1.99, 3 | 280 of 300 failed |
//!
//! If KeyRotation and Fallback both wait, the figures are those of KeyRotation. **Use the last column of the
//! first row**: it is the stack above. Over loopback (`-- --orders --loopback`), with hyper's client and body
//! type, the first row was 1.08, 13.69, 1.02 and 1.02. The counts of 429s were 63, 1, 42 and 2.
//!
//! - If there is another model, let Fallback wait instead of KeyRotation. A call that waits for a key never
//!   reaches the other model, which has capacity.
//! - Put Backoff outside Fallback. Inside, it waits for the preferred model even if the other one is free.
//! - If there are several keys, or if a target is at another origin, keep KeyRotation inside Fallback. Outside,
//!   a call changes the model before it changes the key, and the pool does not see the origin of a target.
//! - Without a fallback, let KeyRotation wait as long as a call may take.
//!
//! `InspectLayer` is next to the client in every order, because layers inside it do not see its results. A
//! second `InspectLayer` does no harm.
//!
//! # Timeouts
//!
//! Put a timeout for each attempt inside the layers, as in the example `axum_outbound`, and a timeout for the
//! whole call outside. Set the outer timeout and the deadline to the same length. The deadline prevents waits
//! that do not fit, and the timeout cancels the send that is in progress. A call that is cancelled in this
//! way counts as `timed_out` and is logged as a warning. Without a deadline it counts as `dropped`, as if the
//! caller had gone.
//!
//! ```
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//! use tower_429::{BackoffLayer, KeyPool, KeyRotationLayer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limit = Duration::from_secs(30);
//! let layers = ServiceBuilder::new()
//!     .timeout(limit)                                   // the whole call
//!     .layer(BackoffLayer::new().deadline(limit))
//!     .layer(KeyRotationLayer::new(KeyPool::new(["sk-one", "sk-two"])?))
//!     .timeout(Duration::from_secs(10));                // each attempt
//! # drop(layers);
//! # Ok(())
//! # }
//! ```
//!
//! # Compared with
//!
//! | | a policy for `tower::retry` | `tower-resilience` | `reqwest-retry` | tower-429 |
//! |---|---|---|---|---|
//! | waits for `retry-after` | if you write it | no: the delay depends on the attempt number | no: on the number and the elapsed time | yes |
//! | request | what your policy can clone | `Clone` | reqwest's; a streaming body is an error | any body; bounded recording |
//! | another key or model | if you write it, from the second send on | its fallback calls your function; the response must be `Clone` | no | yes |
//! | wraps | any service | any service | `reqwest-middleware` | HTTP |
//! | 5xx and transport errors | if you write it | errors, and responses by a predicate | yes | opt-in |
//!
//! When another crate is the better choice:
//!
//! - `tower::retry` if the service is not HTTP, or if a policy of a few lines is enough. It is part of tower,
//!   and [`BackoffLayer::budget`](crate::BackoffLayer::budget) accepts its budget.
//! - `tower-resilience` if you want circuit breakers, bulkheads, hedging, client-side rate limits and their
//!   metrics. It works in one stack with these layers.
//! - `reqwest-retry` if you use `reqwest-middleware` already and want to retry 5xx and broken connections. That
//!   is its default; here it is opt-in.
//!
//! Over real HTTP, with hyper's client (`cargo run --release --example simulation -- --loopback`), four keys with
//! 50 requests per 6 s each served 800 calls in 18.36 s of at least 18.2 s, with one 429. A policy by hand for
//! `tower::retry` took 18.34 s, with 321.
//!
//! This crate enforces no limits of your own and does not translate between providers' formats.
//!
//! # When it does not compile
//!
//! If a bound is not satisfied, the compiler says of a method call such as `client.oneshot(request)` only that
//! "its trait bounds were not satisfied" (E0599). It shows the first line of the service's type, where a comment
//! repeats this advice: write the call as a function. Then the compiler names the bound and says what to do:
//!
//! ```text
//! tower::ServiceExt::oneshot(client, request)
//! ```
//!
//! Each of these lines compiles if one bound is satisfied. `http_client` is the service inside the layers:
//!
//! ```
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! use std::{io, mem, pin::Pin};
//! use tower::{ServiceExt, service_fn};
//! use tower_429::{backoff::{Delays, Exponential}, replay::RequestBody};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let mut http_client = service_fn(async |_: Request<Full<Bytes>>| {
//! #     Ok::<_, io::Error>(Response::new(String::new()))
//! # });
//! # let body = || Full::<Bytes>::default();
//! # let request = || Request::new(body());
//! // The client sends requests of `http`. `reqwest::Client` needs `ReqwestClient` around it.
//! ServiceExt::<Request<Full<Bytes>>>::ready(&mut http_client).await?;
//! // It is `Clone`. Otherwise put `tower::buffer::BufferLayer` between.
//! let _ = http_client.clone();
//! // The request body can be sent again. A `Vec<u8>` cannot, but `Full::<Bytes>::from(vec)` can.
//! let _ = RequestBody::into_replay(body());
//! // `on_error` takes this error type. `tower::timeout` and `tower::buffer` box the error.
//! let answer: Result<_, io::Error> = http_client.oneshot(request()).await;
//! let mut response = answer?;
//! // `InspectLayer` needs an `Unpin` body. Otherwise box it inside the layer, with `UnsyncBoxBody`.
//! let _ = Pin::new(response.body_mut());
//! // `reject_when_exhausted` needs a body with `Default`. `InspectLayer` next to the client has one.
//! let _ = mem::take(response.body_mut());
//! // `delays` takes a type or a closure that makes an iterator from a seed.
//! let _ = Delays::for_call(&Exponential::new(), 7);
//! # Ok::<(), io::Error>(())
//! # })?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! `ReqwestClient` is for reqwest 0.13. If `cargo tree -i reqwest` reports that there are two versions, another
//! crate uses the other. The page of [`client`](crate::client) shows what to do.

#![allow(private_bounds)] // The traits are private, because only the layers of this crate implement them.

mod completing;
mod deciding;
mod drain;
mod future;
mod inner;
mod message;
mod preparing;
mod retry_on;
mod settings;
mod strategy;
mod unavailable;

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::replay::RequestBody;
pub use future::ResponseFuture;
pub(crate) use inner::{CloneService, InnerService};
pub use message::ResponseHead;
pub use retry_on::{AsError, IfError, IfUnavailable, NoErrors, RetryOnError};
pub(crate) use retry_on::{OfKind, RetryOn};
pub(crate) use settings::{CommonSettings, OnAttempt, setters};
pub(crate) use strategy::{Config, Decision, Outcome, Prepare, RequestView, Strategy};

/// A service that sends a request again as the layer `C` decides.
// If a method call does not compile because of a bound, the compiler shows the first line of the type, and no
// message of the traits.
#[rustfmt::skip]
pub struct Retry<S, C> { // Not a service? `tower::ServiceExt::oneshot(client, request)` says why.
    inner: S,
    config: Arc<C>,
}

// === impl Retry ===

impl<S, C> Retry<S, C> {
    pub(crate) fn new(inner: S, config: C) -> Self {
        let config = Arc::new(config);
        Self { inner, config }
    }
}

impl<S, B, R, E, C> Service<Request<B>> for Retry<S, C>
where
    S: InnerService<B, Body = R, Failure = E>,
    B: RequestBody,
    R: Body,
    C: Config<Strategy: Strategy<R, E>>,
{
    type Response = Response<R>;
    type Error = E;
    type Future = ResponseFuture<S, B, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        // The instance that was polled ready sends first.
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(ready, request, self.config.clone())
    }
}

impl<S: Clone, C> Clone for Retry<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: self.config.clone(),
        }
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for Retry<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish()
    }
}
