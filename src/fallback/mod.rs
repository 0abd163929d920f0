//! Retry with another model, or at another origin.
//!
//! 1. The layer first sends the request as it is. If another model may help (rate limited, quota
//!    exhausted, overloaded), it sends the same request at once to the next [`Target`]. Each target is used
//!    at most once per call, or per wait: one that frees while the call waits may be used again. A target
//!    that equals the request itself is not used twice.
//! 2. A limited target is on cooldown for the hint, or else for 1 s, which doubles up to
//!    [`cooldown`](FallbackLayer::cooldown) (60 s) while the requests after its end are rejected. The
//!    cooldown is an hour for an exhausted quota, and for a limit by the day or a plan's hours without a
//!    hint. Later calls start with the first free target, and so return to the preferred one. All services
//!    of a layer share these cooldowns.
//!    What responses report to be left counts as well, so the layer leaves a target before it rejects,
//!    unless an inner key pool does that. A call that finds every target limited is sent to the one that
//!    frees first, or [waits](FallbackLayer::wait_when_exhausted) in a queue. The
//!    [`Rejection`](crate::rejection::Rejection) that leaves this layer has a `retry_after` only if the
//!    provider has said when the first target frees. A wait that ends at a provider's hint takes up to
//!    100 ms longer, at random.
//!    If the provider says that the key may not use the model, the request goes to the next target too.
//!    This puts no target on cooldown, because another caller's key may use it.
//! 3. Only the model changes, where the request names it:
//!
//!    | where | for |
//!    |---|---|
//!    | the top-level `"model"` of a JSON body | OpenAI and everything like it, Anthropic |
//!    | `.../models/{model}:generateContent` | Gemini, Vertex AI |
//!    | `/openai/deployments/{deployment}/...` | Azure |
//!    | `/model/{id}/invoke`, `/model/{id}/converse` | Bedrock |
//!
//!    In a body only the bytes of that value change (order, spacing, number formats and unknown
//!    fields stay, as prompt caches need it). `content-length` is set to the new length, and digests of the
//!    old bytes are removed.
//!
//!    `idempotency-key` and `x-idempotency-key` are removed where the model changes, in the body or in the
//!    path, because a server rejects a key that it knows from another request. They stay on plain retries.
//!
//!    A body is JSON if it is UTF-8 and one JSON text by the grammar of RFC 8259, without a byte order
//!    mark. The rest behind the model is checked only when the model is to be changed.
//! 4. A request that names no model (not JSON, compressed, an array) is sent as it is, and the trail
//!    says so. [`Target::same_model_at`] needs no model and works for every body.
//! 5. A target elsewhere gets none of the caller's credentials: `authorization`,
//!    `proxy-authorization`, `cookie`, `x-api-key`, `api-key`, `x-goog-api-key`, every header of which
//!    a value [is sensitive](http::HeaderValue::is_sensitive), whatever
//!    [key rotation](crate::key_rotation) has put on, parameters of the query such as `key`, and
//!    `host` stay behind. A credential in a header of another name must be marked so by the caller.
//!    [`Target::header`] gives it its own, or a key pool for its origin does.
//! 6. A streaming body streams through; only if it is to be changed is it read whole, up to
//!    [`replay_limit`](FallbackLayer::replay_limit). A body with trailers is not changed.
//! 7. A request may say [`Call::without_fallback`](crate::Call::without_fallback).
//!
//! A target is used for every path. Do not route embeddings through a layer whose targets are chat models.
//!
//! The format of the request is not translated: a target must use the same one. If requests are signed (AWS
//! SigV4), sign them inside this layer, because it changes what is signed.
//!
//! Place it outside key rotation and inside backoff: another key first, then another model.
//! [Waiting](FallbackLayer::wait_when_exhausted) belongs here, because a call that waits in an inner layer
//! does not reach another model that has capacity.

mod decision;
mod layer;
mod original;
mod service;
mod target;
mod targets;

pub use crate::trigger::{AsError, IfError, NoErrors, RetryOnError};
pub use layer::FallbackLayer;
pub use service::{Fallback, ResponseFuture};
pub use target::{Target, TargetError};
