//! Retry with another model, or at another origin.
//!
//! 1. The layer sends the request with its own model first. After a rejection that another model may help
//!    against (rate limited, quota exhausted, overloaded), it sends the same request at once to the next
//!    [`Target`]. Each target is used at most once per call. After a wait, each target may be used once
//!    again. A target that equals the request itself counts once.
//! 2. A limited target is on cooldown for as long as the hint says. Without a hint, the cooldown is 1 s, and
//!    doubles up to [`cooldown`](FallbackLayer::cooldown) (60 s) while the requests after its end are
//!    rejected. An exhausted quota has a cooldown of an hour. So has the limit of a day or of a plan, if
//!    there is no hint. Later calls start at the first target that is free, so they return to the preferred
//!    target by themselves. All services of a layer share these cooldowns.
//!
//!    A rejection without a hint always moves its own call to the next target, but does not always close the
//!    target. Three overloads in a row (503, 529, 498) close it for a third of the time that the overload has
//!    lasted, at least 1 s. A 429 closes it at once, until it turns out that most requests pass right after
//!    such a rejection. Then only a run that is too long for chance closes the target. This is three in a row
//!    if 5 % are rejected, and at most seven. So a target that rejects one request of twenty stays preferred.
//!    Others use fixed numbers: Linkerd
//!    [seven failures in a row](https://linkerd.io/2/reference/circuit-breaking/), Envoy
//!    [five](https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier).
//!
//!    If a target reports nothing, the layer learns how many requests pass in which time, as a
//!    [key pool](crate::key_rotation) does. It sends further requests to the next target.
//!
//!    The remaining requests and tokens that a target reports are used too, unless an inner key pool uses
//!    them. So a request that needs more tokens than a target has left goes to the next target. If every
//!    target is limited, the request is sent to the target that frees first, or the call
//!    [waits](FallbackLayer::wait_when_exhausted). The [`Rejection`](crate::rejection::Rejection) that leaves
//!    this layer has a `retry_after` only if the provider has said when the first target frees. A wait that
//!    ends at a provider's hint takes up to 100 ms longer, at random.
//!
//!    If the provider says that the key may not use the model, the request also goes to the next target. In
//!    this case the target gets no cooldown, because the key of another caller may use the model.
//! 3. The layer changes the model where the request names it, and nothing else:
//!
//!    | where | whose |
//!    |---|---|
//!    | the top-level `"model"` of a JSON body | OpenAI and compatible providers, Anthropic |
//!    | `.../models/{model}:generateContent` | Gemini, Vertex AI |
//!    | `/openai/deployments/{deployment}/...` | Azure |
//!    | `/model/{id}/invoke`, `/model/{id}/converse` | Bedrock |
//!
//!    In a body only the bytes of that value change. Order, spacing, number formats and unknown fields stay,
//!    as prompt caches need it. `content-length` is set to the new length, and digests of the old bytes are
//!    removed.
//!
//!    If the model changes, the layer removes `idempotency-key` and `x-idempotency-key`, because a server
//!    rejects a key that it knows from another request. A retry with the same model keeps them.
//!
//!    A body is JSON if it is UTF-8 and one JSON text by the grammar of RFC 8259, without a byte order
//!    mark. What follows the model is checked only before the model is changed.
//! 4. A request that names no model (not JSON, compressed, an array) is sent as it is, and the trail says
//!    so. [`Target::same_model_at`] needs no model and works for every body.
//! 5. A target at another origin gets none of the caller's credentials. These are removed: `authorization`,
//!    `proxy-authorization`, `cookie`, `x-api-key`, `api-key`, `x-goog-api-key`, `x-amz-security-token`,
//!    `cf-access-client-id`, `cf-access-client-secret`, every header with a
//!    [sensitive](http::HeaderValue::is_sensitive) value, whatever [key rotation](crate::key_rotation) has
//!    added, query parameters such as `key`, and `host`. [`is_credential_header`] and
//!    [`is_credential_parameter`] know the names. A caller must mark a credential in any other header as
//!    sensitive. [`Target::header`] adds the target's own credential, or a key pool for its origin does.
//! 6. A streaming body streams through. If it is to be changed, it is first read to its end, up to
//!    [`replay_limit`](FallbackLayer::replay_limit). A body with trailers is not changed.
//! 7. A request can opt out with [`Call::without_fallback`](crate::Call::without_fallback).
//!
//! The layer sends to its targets whatever the path of the request is. So do not route embeddings through a
//! layer whose targets are chat models.
//!
//! The layer does not translate formats: a target must accept the request's format. A request that is
//! signed (AWS SigV4) must be signed inside this layer, because the signature covers what the layer changes.
//!
//! Place it outside key rotation and inside backoff, so that the stack tries another key first, then another
//! model. [Waiting](FallbackLayer::wait_when_exhausted) belongs here, because a call that waits in an inner
//! layer does not reach another model that has capacity.
//!
//! # An example
//!
//! ```
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_429::FallbackLayer;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = service_fn(|request: Request<String>| async move {
//! #     let response = match request.body().contains(r#""gpt-4o""#) {
//! #         true => Response::builder().status(429).header("retry-after", "20"),
//! #         false => Response::builder(),
//! #     };
//! #     Ok::<_, Infallible>(response.body(request.into_body()).expect("it is valid"))
//! # });
//! let client = ServiceBuilder::new().layer(FallbackLayer::new(["gpt-4o-mini"])).service(client);
//!
//! let request = Request::post("https://api.example/v1/chat/completions")
//!     .body(String::from(r#"{"model": "gpt-4o", "temperature": 0.70}"#))?;
//! let echoed = client.oneshot(request).await?;
//! assert_eq!(echoed.body(), r#"{"model": "gpt-4o-mini", "temperature": 0.70}"#);
//! # Ok(())
//! # }
//! ```
//!
//! A target can be at another provider: [`Target::at`] sets its address, [`Target::header`] its credential
//! and [`Target::query`] a parameter such as Azure's `api-version`. The page of
//! [`rejection`](crate::rejection#what-a-provider-needs) lists addresses.

mod decision;
mod layer;
mod original;
mod target;
mod targets;

pub use crate::request::{is_credential_header, is_credential_parameter};
pub use crate::retry::{AsError, IfError, IfUnavailable, NoErrors, ResponseHead, RetryOnError};
pub use layer::FallbackLayer;
pub use target::{Target, TargetError};

/// The service of a [`FallbackLayer`].
pub type Fallback<S, P = NoErrors> = crate::retry::Retry<S, FallbackLayer<P>>;

/// The future of [`Fallback`].
pub type ResponseFuture<S, B, R, P = NoErrors> =
    crate::retry::ResponseFuture<S, B, R, FallbackLayer<P>>;
