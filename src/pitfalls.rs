//! What the layers cannot see, and what to do about it.
//!
//! # Clients with retries of their own
//!
//! Some clients retry by themselves. Around the layers or inside them, their attempts multiply: three attempts
//! of the client with five of `BackoffLayer` are up to fifteen sends. They also ignore what the layers know of
//! the limits. So switch them off:
//!
//! | client | what it retries by default | off |
//! |---|---|---|
//! | async-openai 0.43 | 429, 5xx and failed connections, three times | `with_http_service` with a service of your own, as in `examples/async_openai` |
//! | octocrab 0.54 | 429, 5xx and errors, three times without a wait | `add_retry_config(RetryConfig::None)`; none with a service of your own, as in `examples/octocrab` |
//! | kube 5 | 429, 503 and 504, up to 15 times | `config.default_retry = false`; none with `Client::new(service, ..)` |
//! | object_store | 5xx and failed connections, ten times | `with_retry(RetryConfig { max_retries: 0, ..Default::default() })` |
//! | opentelemetry-otlp | since pull request 3660 (after 0.32): transient failures, three times; before, only with a feature `experimental-*-retry` | `with_retry_policy(RetryPolicy::disabled())` |
//! | AWS SDK for Rust | throttling and others, three attempts | `retry_config(RetryConfig::disabled())` |
//! | openai, anthropic (Python) | 408, 409, 429 and 5xx, twice | `max_retries=0` |
//! | openai, anthropic (Node) | the same | `maxRetries: 0` |
//! | reqwest 0.13 | requests that the server has not processed (HTTP/2) | not necessary |
//!
//! The source is the code of each client, for Python and Node their documentation, in November 2026. Behind the
//! example `gateway` the SDKs need this too.
//!
//! # gRPC
//!
//! A gRPC server rejects a request with the status 200 and a `grpc-status`. The layers do not read it. A
//! response without messages has it in its head ("Trailers-Only"), and there a service inside the layers can
//! name the rejection. 8 is `RESOURCE_EXHAUSTED`:
//!
//! ```
//! # use std::{cell::Cell, convert::Infallible};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # use tower_429::{BackoffLayer, trail::Trail};
//! use http::{Request, Response};
//! use tower_429::rejection::{Reason, Rejection};
//!
//! # let sent = Cell::new(0);
//! # let channel = service_fn(|_: Request<String>| {
//! #     sent.set(sent.get() + 1);
//! #     let status = if sent.get() == 1 { "8" } else { "0" };
//! #     let response = Response::builder().header("grpc-status", status).body(String::new());
//! #     async { Ok::<_, Infallible>(response.expect("a response")) }
//! # });
//! # let mut runtime = tokio::runtime::Builder::new_current_thread();
//! # runtime.enable_time().start_paused(true).build()?.block_on(async {
//! let client = ServiceBuilder::new()
//!     .layer(BackoffLayer::new())
//!     .map_response(|mut response: Response<String>| {
//!         if response.headers().get("grpc-status").is_some_and(|status| status == "8") {
//!             response.extensions_mut().insert(Rejection::new(Reason::RateLimited));
//!         }
//!         response
//!     })
//!     .service(channel);
//! # let response = client.oneshot(Request::new(String::new())).await?;
//! # let trail = response.extensions().get::<Trail>().ok_or("no trail")?;
//! # assert_eq!(trail.attempts().len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! After a message has been sent, the status is in the trailers, and no layer can retry.
//!
//! # Redirects, hedges and other services that send again
//!
//! [`max_sends`](crate::BackoffLayer::max_sends) counts what the layers send. A service inside them that sends
//! again, such as a follower of redirects, is not counted. A service between them is not stopped by it.
//!
//! - A follower of redirects belongs outside `KeyRotationLayer`, so that the pool sees each origin. Inside, it
//!   may take a key to another origin. Switch the one in reqwest off with `redirect(Policy::none())`, and put
//!   `tower_http::follow_redirect::FollowRedirectLayer` outside the layers.
//! - A hedge belongs between or around the layers, and not inside the innermost.
//!
//! # Load shed and timeouts inside
//!
//! `tower::load_shed` and `tower::timeout` inside the layers end an attempt with an error, and no layer acts on
//! errors by default.
//!
//! - Put `load_shed` outside the layers, or retry its error with
//!   `on_error(|error: &BoxError| error.is::<Overloaded>())`.
//! - A timeout of each attempt belongs inside. To retry it, use `on_error(|error: &BoxError|
//!   error.is::<Elapsed>())`. The provider may have processed the request.
//!
//! # tokio's timer
//!
//! The layers wait with tokio's timer. A call outside tokio, or in a runtime without
//! [`enable_time`](tokio::runtime::Builder::enable_time), panics before it is sent. `#[tokio::main]` enables it.
//! `InspectLayer` alone panics only if an error body is late.
//!
//! # CONNECT
//!
//! The layers see the request that opens a tunnel, and nothing that goes through it. It has no origin. If it is
//! the first request, a pool for which no origin is set binds to it, and puts a key on it. So let the client's
//! connector open the tunnel, and set [`for_origin`](crate::key_rotation::KeyPoolBuilder::for_origin).
//!
//! # Regions of Vertex
//!
//! A request to Vertex has its region in the host and in the path, and a target replaces only the host. So
//! remove the region from the path, and give the target its own:
//!
//! ```
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::{Layer, ServiceExt, service_fn};
//! use tower_429::{FallbackLayer, fallback::Target};
//!
//! let europe = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4";
//! let europe = Target::same_model_at(europe)?.strip_prefix("/v1/projects/p/locations/us-central1");
//! let layer = FallbackLayer::new([europe]);
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! # let provider = service_fn(|request: Request<String>| async move {
//! #     let status = if request.uri().path().contains("us-central1") { 429 } else { 200 };
//! #     let response = Response::builder().status(status).body(request.uri().to_string());
//! #     Ok::<_, Infallible>(response.expect("a response"))
//! # });
//! # let us = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1";
//! # let path = "publishers/google/models/gemini-2.5-pro:generateContent";
//! # let request = Request::post(format!("{us}/{path}")).body(String::new())?;
//! # let response = layer.layer(provider).oneshot(request).await?;
//! # let host = "https://europe-west4-aiplatform.googleapis.com";
//! # let expected = format!("{host}/v1/projects/p/locations/europe-west4/{path}");
//! # assert_eq!(*response.body(), expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Or send to the global endpoint, `https://aiplatform.googleapis.com` with `locations/global`. Its limits are
//! not those of a region.
//!
//! # One `Call` for each request
//!
//! Requests with clones of one [`Call`](crate::Call) have separate budgets, but [`Call::trail`](crate::Call::trail)
//! is that of the last one. To read the trail of a request that fails, give it a `Call::new()` of its own.
