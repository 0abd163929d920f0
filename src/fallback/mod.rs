//! Ask another model, or elsewhere.
//!
//! 1. The request's own model is asked first. On a rejection that another model may cure (rate
//!    limited, quota exhausted, overloaded) the same request goes out at once to the next
//!    [`Target`], each at most once per call, or per wait: one that frees while the call waits may be
//!    asked again; one that equals the request's own is not asked twice.
//! 2. A limited target is remembered until its cooldown ends: the hint, or else 1 s, which doubles up to
//!    [`cooldown`](FallbackLayer::cooldown) (60 s) while the requests after its end are refused; an hour
//!    for a quota that is exhausted, and for a limit by the day or a plan's hours without a hint. Later calls start
//!    at the first target that is free, and so come back to the preferred one by themselves. All services
//!    of a layer share this memory.
//!    What the answers of a target tell is left of it counts as well, so it is left before it refuses,
//!    unless a key pool further in sees to that. A call that finds every target limited asks the one
//!    that frees first, or [waits](FallbackLayer::wait_when_exhausted). The
//!    [`Rejection`](crate::rejection::Rejection) that leaves this layer has a `retry_after` only if the
//!    provider has said when the first target frees. A wait that ends at a provider's
//!    hint takes up to 100 ms longer, at random.
//!    If the provider says that the key may not use the model, the request goes to the next target too.
//!    Nothing is remembered then, because another caller's key may use it.
//! 3. The model is changed where the request names it, and nothing else is:
//!
//!    | where | whose |
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
//! 4. A request that names no model (not JSON, compressed, an array) is sent as it is; the trail says
//!    so. [`Target::same_model_at`] needs no model and works for every body.
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
//! A target is asked whatever the path is, so endpoints such as embeddings belong in no layer that
//! names chat models.
//!
//! The request's format is not translated: a target must speak the same one. A request that is
//! signed (AWS SigV4) must be signed inside this layer, for what is changed is signed otherwise.
//!
//! Its place in a stack is outside key rotation and inside backoff: another key first, then another
//! model. [Waiting](FallbackLayer::wait_when_exhausted) belongs here, because a call that waits further
//! in does not reach another model that has capacity.

mod decision;
mod layer;
mod original;
mod target;
mod targets;

pub use crate::retry::{AsError, IfError, NoErrors, ResponseHead, RetryOnError};
pub use layer::FallbackLayer;
pub use target::{Target, TargetError};

/// The service of a [`FallbackLayer`].
pub type Fallback<S, P = NoErrors> = crate::retry::Retry<S, FallbackLayer<P>>;

/// The future of [`Fallback`].
pub type ResponseFuture<S, B, R, P = NoErrors> =
    crate::retry::ResponseFuture<S, B, R, FallbackLayer<P>>;
