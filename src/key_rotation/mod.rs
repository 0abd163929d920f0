//! Ask again with another key.
//!
//! 1. A [`KeyPool`] puts one of its [`Key`]s on each request: as `Authorization: Bearer`, in a header
//!    of its own, or in the query; in place of whatever stood there.
//! 2. A refusal that another key may cure (rate limited, quota exhausted, key rejected) cools the
//!    key, and the same request goes out at once with the next key that is free, each at most once
//!    per call. An overloaded provider is not a matter of keys: that answer is returned.
//! 3. Keys of one [group](Key::group) share their limits, so a limit cools the whole group: rotating
//!    inside it would be a second 429. A rejected key cools only itself.
//! 4. A cooldown only grows, and ends by itself or by a success:
//!
//!    | refusal | cools | for |
//!    |---|---|---|
//!    | rate limited | the group | the hint, or else 60 s ([`cooldown`](KeyPoolBuilder::cooldown)) |
//!    | rate limited, by the day | the group | the hint, or else an hour |
//!    | quota exhausted | the group | an hour, doubling |
//!    | key rejected | the key | 60 s, doubling |
//!
//!    None is longer than 24 hours.
//! 5. When every key cools, the request is [tried anyway](KeyRotationLayer::new) with the key that
//!    frees first, or [answered at once](KeyRotationLayer::respond_when_exhausted). The
//!    [`Refusal`](crate::refusal::Refusal) that leaves this layer tells when the *first* key frees.
//! 6. A key never travels to an origin that it was not given for; see [`KeyPool`].
//! 7. A limit on a model is none on another where the model is known: from the path, from a body in
//!    memory, or from [fallback](crate::fallback) around it if that has read the body. Of a body that
//!    still streams it is not known, so what is refused then cools the key for every model.
//!
//! Its place in a stack is inside backoff (another key first, then patience) and inside fallback.
//! Outside fallback it works too, but then a request that falls back to another origin goes there
//! without a key, for this pool's keys are not that origin's.
//!
//! # What rotation is not for
//!
//! Keys are one's own projects, teams, regions or tenants. Most providers count per organisation or
//! project, and some forbid using several accounts to get round a limit: rotation does not help
//! there, and evading a provider's terms is not what this layer is for. Tell the pool which keys
//! belong together by their [group](Key::group).

mod decision;
mod key;
mod layer;
mod pool;
mod service;
mod session;

pub use key::Key;
pub use layer::{KeyRotationLayer, Respond, TryAnyway, Wait, WhenExhausted};
pub use pool::{KeyPool, KeyPoolBuilder, KeyState, LimitedModel, PoolError};
pub use service::{KeyRotation, ResponseFuture};
pub use session::Session;
