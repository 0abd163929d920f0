//! Retry with another key.
//!
//! 1. A [`KeyPool`] puts one of its [`Key`]s on each request: as `Authorization: Bearer`, in another
//!    header, or in the query. The key replaces the credential that was there.
//! 2. If another key may help (rate limited, quota exhausted, key rejected), the rejection puts the key on
//!    cooldown and the layer sends the same request at once with the next free key. Each key is used at
//!    most once per call, or per wait: a key that frees while the call waits may be used again. An
//!    overloaded provider has nothing to do with keys: that response is returned.
//! 3. Keys of one [group](Key::group) share their limits, so a limit puts the whole group on cooldown:
//!    another key of the group would get a second 429. A rejected key affects only itself.
//! 4. A cooldown only grows, and ends with time or with a success:
//!
//!    | rejection | on cooldown | for |
//!    |---|---|---|
//!    | rate limited | the group | the hint, or else the rest of the window if its length is known, or else 1 s, doubling up to [`cooldown`](KeyPoolBuilder::cooldown) (60 s) |
//!    | rate limited without a hint, where most such rejections come by chance | nothing, unless too many come in a row | |
//!    | rate limited, by the day or a plan's hours | the group | the hint, or else an hour |
//!    | quota exhausted | the group | an hour, doubling |
//!    | key rejected | the key | 60 s, doubling |
//!    | key may not use this model | the key, for this model | 60 s, doubling |
//!    | key may not send this request (a missing scope) | nothing | |
//!
//!    No cooldown is longer than 24 hours. Only requests that are sent after a cooldown's end double the
//!    next, and after a success the first length applies again. A hint is used as it is. If the request that
//!    is sent right after its end is rejected too, the next cooldown lasts at least 200 ms, and doubles.
//! 5. A limit belongs to the group and the requested model, if the model is known: from the path, from a
//!    body in memory, or from an outer [fallback](crate::fallback) that has read the body. A limit on one
//!    model leaves the key to the others. The model of a streaming body is not known, so its rejection
//!    puts the key on cooldown for every model. An exhausted or unpaid account does so too.
//! 6. If every key is on cooldown, the request is [sent anyway](KeyRotationLayer::new) with the key that
//!    frees first, [rejected at once](KeyRotationLayer::reject_when_exhausted), or
//!    [queued](KeyRotationLayer::wait_when_exhausted). The [`Rejection`](crate::rejection::Rejection) that
//!    leaves this layer is that of the *first* key that frees. Its `retry_after` is what is left of the
//!    provider's hint. If there is only a guess, an outer [backoff](crate::backoff) uses its own delays,
//!    and its retries probe keys before the end of the guess.
//! 7. A key is never sent to an origin that it was not given for; see [`KeyPool`].
//! 8. A request can name its key ([`PinnedKey`]), or keep its own credential ([`OwnKey`]).
//!
//! Place it inside backoff (another key first, then a wait) and inside fallback. Inside a fallback, queue
//! for a second at most and [reject](KeyRotationLayer::reject_when_exhausted) then, so that the call goes on
//! to another model. Outside fallback the layer works with two limits. A request that falls back to another
//! origin has no key there, because the keys of this pool are not for that origin. And the pool ignores what
//! responses report about another model, so it does not wait for that model's limits.
//!
//! # How many requests a key gets
//!
//! The pool leaves a key before the provider rejects it. It knows the capacity from four sources, and the
//! least of them counts:
//!
//! | source | what it says |
//! |---|---|
//! | rejections | nothing until the cooldown ends; after a guess one request first, and many if that is not rejected |
//! | [buckets](crate::rejection::buckets) of any response | what is left in requests and in tokens, less what is in flight since; nothing until the reset once it is exhausted |
//! | rejections because of requests in flight | as many at once as the rejection names, or as were in flight when it came; now and then one more |
//! | counting, if nothing is reported | how many passed in the last window; now and then one more, then two, four |
//!
//! A request that needs more tokens than are left waits, or goes to another key. What it
//! [costs](crate::Cost) is estimated, and corrected by what the provider counts.
//! [`Call::cost`](crate::Call::cost) and [`KeyRotationLayer::cost`] replace the estimate. If a limit
//! refills steadily, the pool knows at each moment how much is back. A request that needs more than a whole
//! limit is sent when all of it is left. So the caller gets the provider's own response.
//!
//! Requests in flight have a limit of their own at some providers. A rejection that says so puts no key on
//! cooldown while other requests are in flight: the next call is sent when one of them ends.
//!
//! An unknown key starts slowly: two requests, and one more for every sixteen that have
//! passed. While no response comes, the two double every 250 ms, up to twelve. What rejections have shown of
//! one key is expected of the others. A call that may not wait is sent anyway; it only prefers keys with
//! capacity.
//!
//! If nothing is reported, the pool learns how long a window lasts. The message of a rejection may say it
//! ("5 requests per second"). Otherwise one request at a time finds out when the limit is open again: after
//! 1 s, 2 s more, 4 s more and so on. All keys share the result for a model. From then on no key
//! sends more than a window's number within any time that is as long as a window. This fits fixed and sliding
//! windows, and token buckets, which look like small windows.
//!
//! A request that was not rejected within a second has passed, however long its response takes. If
//! rejections come faster, that time is three times as long as the slowest of them took, at least 150 ms.
//!
//! A 429 without a hint may say nothing of the next request, if a provider sheds load at random. The pool
//! observes the requests that are sent in the second after it. If most pass, the rejection came by chance.
//! Where that is the rule, it takes more rejections in a row than chance explains to put a key on cooldown:
//! three if 5 % are rejected, seven at most.
//!
//! Reports are verified once: if the choice is otherwise to wait for a reset, one request is sent all the
//! same. If it is rejected, reports of this kind are trusted from then on. If four more requests succeed than
//! the report allows, it is ignored for an hour. After a reset the pool observes whether the whole limit is
//! available again or, as with sliding windows, only a part.
//!
//! # Who waits, and who is next
//!
//! Calls that [wait](KeyRotationLayer::wait_when_exhausted) are served first come first served, as many as
//! there is capacity for, and up to 100 ms apart, so that their requests do not arrive as one. After a wait
//! that ends at a provider's hint, each is sent at a random moment 20 to 100 ms later, because servers close
//! idle connections at the hint's end. A call that finds a free key is sent at once. A call that cannot get
//! a key before its max wait or deadline returns immediately, also if the estimate later moves past it, and
//! if only keys are left that are rejected or whose quota is exhausted. A call waits at most 16 times after
//! a rejection. A waiting call holds nothing of the client, such as a permit of an inner concurrency limit,
//! and one that is dropped leaves no trace.
//!
//! If the first call needs more tokens than are left of a window, smaller calls behind it use the rest.
//! They do not delay it, because it waits for the reset in any case. If the limit refills steadily, none
//! goes before it.
//!
//! Calls with [`Priority::Background`](crate::Priority::Background) wait behind all others, and leave a part of
//! each limit to them.
//!
//! | choice | takes | prompt caches, most often kept per organisation | tail latency |
//! |---|---|---|---|
//! | fill first (default) | the same key until it has no capacity | warm | one key's requests queue at the provider while others idle |
//! | [`round_robin`](KeyPoolBuilder::round_robin) | the next key for each call | each conversation finds every cache cold | even |
//! | [`least_loaded`](KeyPoolBuilder::least_loaded) | of two keys drawn, the one with more capacity | as round robin | the best if quotas or providers' speeds differ |
//! | [`Session`] on the request | the session's key; if it is on cooldown, only its sessions move, and come back | warm, with any order | a busy key is preferred for a second |
//!
//! # What rotation is not for
//!
//! Keys are your own projects, teams, regions or tenants. Most providers count per organisation or project,
//! and some forbid several accounts as a way around a limit. Rotation does not help there, and evading a
//! provider's terms is not what this layer is for. Set the [group](Key::group) of keys that belong
//! together. If it is not set, the pool finds out where responses name the account, or where their counts fall
//! together.

mod affinity;
mod decision;
mod env;
mod key;
mod layer;
mod metrics;
mod pool;
mod request_key;
mod session;

pub use key::Key;
pub use layer::{KeyRotationLayer, Reject, SendAnyway, WhenExhausted};
pub use pool::{
    GroupSource, KeyPool, KeyPoolBuilder, KeyState, LimitSnapshot, LimitedModel, PoolError,
};
pub use request_key::{OwnKey, PinnedKey};
pub use session::Session;

/// The service of a [`KeyRotationLayer`].
pub type KeyRotation<S, X = SendAnyway> = crate::retry::Retry<S, KeyRotationLayer<X>>;

/// The future of [`KeyRotation`].
pub type ResponseFuture<S, B, R, X = SendAnyway> =
    crate::retry::ResponseFuture<S, B, R, KeyRotationLayer<X>>;
