//! Ask again with another key.
//!
//! 1. A [`KeyPool`] puts one of its [`Key`]s on each request: as `Authorization: Bearer`, in a header
//!    of its own, or in the query; in place of whatever stood there.
//! 2. A rejection that another key may cure (rate limited, quota exhausted, key rejected) cools the
//!    key, and the same request goes out at once with the next key that is free, each at most once per
//!    call, or per wait: a key that frees while the call waits may be asked again. An overloaded provider
//!    is not a matter of keys: that answer is returned.
//! 3. Keys of one [group](Key::group) share their limits, so a limit cools the whole group: rotating
//!    inside it would be a second 429. A rejected key cools only itself.
//! 4. A cooldown only grows, and ends by itself or by a success:
//!
//!    | rejection | cools | for |
//!    |---|---|---|
//!    | rate limited | the group | the hint, or else 1 s, doubling up to [`cooldown`](KeyPoolBuilder::cooldown) (60 s) |
//!    | rate limited, by the day or a plan's hours | the group | the hint, or else an hour |
//!    | quota exhausted | the group | an hour, doubling |
//!    | key rejected | the key | 60 s, doubling |
//!    | key may not use this model | the key, for this model | 60 s, doubling |
//!    | key may not send this request (a missing scope) | nothing | |
//!
//!    None is longer than 24 hours. Only requests that are sent after a cooldown's end double the next,
//!    and a success begins at the first again. A hint is taken as it is, but if the request that is sent
//!    right after its end is refused too, the next cooldown lasts 200 ms at least, and doubles.
//! 5. A limit is the group's for the model that was asked, where that is known (from the path, from a
//!    body in memory, or from [fallback](crate::fallback) around it if that has read the body): a limit
//!    on one model leaves the key to the others. Of a body that still streams it is not known, so what
//!    is refused then cools the key for every model; so does what an account has spent or owes.
//! 6. When every key cools, the request is [tried anyway](KeyRotationLayer::new) with the key that
//!    frees first, [answered at once](KeyRotationLayer::reject_when_exhausted), or
//!    [waits](KeyRotationLayer::wait_when_exhausted) in turn. The
//!    [`Rejection`](crate::rejection::Rejection) that leaves this layer is that of the *first* key that frees.
//!    Its `retry_after` is what is left of the provider's hint. Where there is no more than a guess,
//!    [backoff](crate::backoff) outside uses its own delays, and its retries probe keys before the end
//!    of the guess.
//! 7. A key never travels to an origin that it was not given for; see [`KeyPool`].
//!
//! Its place in a stack is inside backoff (another key first, then a wait) and inside fallback. Inside a
//! fallback it waits a second at most and [responds](KeyRotationLayer::reject_when_exhausted) then, so
//! that the call goes on to another model.
//! Outside fallback it works too, but then a request that falls back to another origin goes there
//! without a key, for this pool's keys are not that origin's; and what the answers of a lesser model
//! tell of its limits is not heard, so its rejection is answered by another key or handed on, not waited for.
//!
//! # How many go out with a key
//!
//! A key is left before it is refused. How much it takes, the pool knows from three sources, and the
//! least of them counts:
//!
//! | source | what it says |
//! |---|---|
//! | rejections | nothing until the cooldown ends; if its end was a guess, one request goes first, and many when that was not refused |
//! | [buckets](crate::rejection::buckets) of any answer | what is left, less what is in flight since; nothing until the reset once it is spent |
//! | counting, where nothing is told | how many passed until the last rejection, and over which time; then one more, two, four |
//!
//! A key of which nothing is known yet starts slowly: two requests, one more for every two answers,
//! and twice as many every 250 ms, for answers may take long. What rejections have taught of one key is
//! expected of the others. A call that may not wait goes out anyway; it only prefers keys with room.
//!
//! What a provider tells is tested once: where the choice is to wait for a reset, one request is sent
//! all the same. If it is refused, the provider is believed from then on; if four more pass than can
//! be, what it tells of that is not heard for an hour. After a reset it is seen whether there is all
//! of the limit again or, as where windows slide, only a little.
//!
//! # Who waits, and who is next
//!
//! Calls that [wait](KeyRotationLayer::wait_when_exhausted) are served first come first served, as
//! many as there is room for, and up to 100 ms apart, so that they do not arrive as one. After a wait that
//! ends at a provider's hint, they leave 20 to 100 ms after it, each at a random moment: at the hint's end
//! itself, servers close idle connections. A call that finds a free key leaves at once. A call whose
//! max_wait, or deadline, does not reach to when a key frees is told at once, and so it is if that
//! moment moves away, or if only keys are left that are rejected or whose quota is spent. A call waits
//! at most 16 times after it was refused. A call that waits holds nothing of the client, such as a permit of a limit on
//! concurrency further in, and one that is dropped leaves no trace.
//!
//! | choice | takes | prompt caches, most often kept per organisation | tail latency |
//! |---|---|---|---|
//! | sticky (default) | the same key until it has no room | warm | one key's requests queue at the provider while others idle |
//! | [`round_robin`](KeyPoolBuilder::round_robin) | the next key for each call | each conversation meets every cache cold | even |
//! | [`least_loaded`](KeyPoolBuilder::least_loaded) | of two keys drawn, the one with more room | as round robin | the best where quotas or providers' speeds differ |
//! | [`Session`] on the request | the session's own key; of a key that cools, only its sessions move, and come back | warm, whatever the pool's order | that of the key: a busy one is waited for |
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
mod metrics;
mod pool;
mod session;

pub use key::Key;
pub use layer::{KeyRotationLayer, Reject, SendAnyway, WhenExhausted};
pub use pool::{KeyPool, KeyPoolBuilder, KeyState, LimitedModel, PoolError};
pub use session::Session;

/// The service of a [`KeyRotationLayer`].
pub type KeyRotation<S, X = SendAnyway> = crate::retry::Retry<S, KeyRotationLayer<X>>;

/// The future of [`KeyRotation`].
pub type ResponseFuture<S, B, R, X = SendAnyway> =
    crate::retry::ResponseFuture<S, B, R, KeyRotationLayer<X>>;
