use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::{
    group::GroupSource,
    ids::{GroupId, KeyId},
    keys::Keys,
    limits::KeyLimits,
};
use crate::{
    quota::KnownLimit,
    rejection::{Dimension, Reason, Window},
};

/// The state of a key, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KeyState {
    /// Its label.
    pub label: Arc<str>,
    /// The group whose limits it shares: the given name, or else the account that responses name, or else the
    /// label of the first key that it is inferred to share its limits with.
    pub group: Option<Arc<str>>,
    /// From where the group is known; `None` without a group.
    pub group_source: Option<GroupSource>,
    /// Why the key, or its group, is on cooldown for every model; `None` if it is free.
    pub cooldown_reason: Option<Reason>,
    /// Until when the key is on cooldown for every model; `None` if it is free.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "cooldown_left_ms",
            serialize_with = "crate::serialize::optional_left"
        )
    )]
    pub cooldown_until: Option<Instant>,
    /// Whether only a response's report that nothing is left closes the key, and no rejection does.
    pub cooldown_is_reported: bool,
    /// Whether the rejection that closes the key was received from another process (feature `share`).
    pub cooldown_is_remote: bool,
    /// The models for which the key, or its group, is limited.
    pub limited_models: Vec<LimitedModel>,
    /// What is known of each limit of the key and of its group: first for every model, then by model.
    pub limits: Vec<LimitSnapshot>,
    /// The number of requests that it was put on.
    pub uses: u64,
    /// The number of rejections that concern keys, without those that an inner layer has handled.
    pub rejections: u64,
    /// The number of calls that hold the key: reserved for their requests, or in flight.
    pub in_flight: usize,
}

/// A model for which a key is limited, while it may be free for others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimitedModel {
    /// Its name.
    pub model: Arc<str>,
    /// The reason.
    pub reason: Reason,
    /// Until when.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "left_ms", serialize_with = "crate::serialize::left")
    )]
    pub until: Instant,
    /// Whether only a response's report that nothing is left closes it, and no rejection does.
    pub is_reported: bool,
    /// Whether the rejection that closes it was received from another process (feature `share`).
    pub is_remote: bool,
}

/// What is known of one limit of a key.
///
/// A limit is known from the headers of responses, from a rejection that names it, or because it was
/// [learned](Self::is_learned). A provider may have limits that are not known. A report that requests have
/// contradicted is left out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_429::{KeyPool, KeyRotationLayer, rejection::{Dimension, Window}};
///
/// let pool = KeyPool::new(["sk-one"])?;
/// let client = KeyRotationLayer::new(pool.clone()).layer(service_fn(async |_: Request<String>| {
///     let response = Response::builder()
///         .header("x-ratelimit-limit-tokens", "30000")
///         .header("x-ratelimit-remaining-tokens", "29000")
///         .header("x-ratelimit-reset-tokens", "2s");
///     Ok::<_, Infallible>(response.body(String::new()).expect("a response"))
/// }));
/// let request = Request::post("https://api.openai.com/v1/chat/completions");
/// client.oneshot(request.body(r#"{"model":"gpt-5"}"#.to_owned())?).await?;
///
/// let [limit] = &pool.snapshot()[0].limits[..] else { panic!("one limit") };
/// assert_eq!((limit.dimension, limit.window), (Dimension::Tokens, Some(Window::Minute)));
/// assert_eq!(limit.model.as_deref(), Some("gpt-5"));
/// assert_eq!((limit.remaining, limit.limit), (29_000, Some(30_000)));
/// assert_eq!((limit.reserved, limit.is_learned), (0, false));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimitSnapshot {
    /// What the limit counts. This is the unit of the numbers below.
    pub dimension: Dimension,
    /// The time over which it counts; `None` if that is not known, or no [`Window`] has that length.
    pub window: Option<Window>,
    /// The model for which it counts; `None` if it counts for every model, or the model is not known.
    pub model: Option<Arc<str>>,
    /// How much may be used in a window, or in flight at once.
    pub limit: Option<u64>,
    /// What the pool takes to be left now, less what is [reserved](Self::reserved).
    ///
    /// After the end of a window this is the whole limit. If it is not known whether the whole limit is
    /// available again at once, it is a small number of requests that grows until the provider reports.
    pub remaining: u64,
    /// What the calls need that hold a key: reserved for their requests, or in flight. It is not yet in the
    /// provider's reports. Keys of a [group](KeyState::group) share it.
    pub reserved: u64,
    /// When the window ends, or when a limit that refills steadily is full again; `None` if that is not known.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "resets_in_ms",
            serialize_with = "crate::serialize::optional_left"
        )
    )]
    pub resets: Option<Instant>,
    /// Whether the provider has not said it, so that it is an estimate from the requests that have passed and
    /// those that were rejected.
    pub is_learned: bool,
}

// === impl LimitSnapshot ===

impl LimitSnapshot {
    fn new(model: Option<&Arc<str>>, known: KnownLimit) -> Self {
        Self {
            dimension: known.dimension,
            window: known.window,
            model: model.cloned(),
            limit: known.limit,
            remaining: known.remaining,
            reserved: known.reserved,
            resets: known.resets,
            is_learned: known.is_learned,
        }
    }
}

// === impl KeyLimits ===

impl KeyLimits {
    /// Returns the known limits of a key and of its group, by model.
    fn known(&self, key: KeyId, group: GroupId, now: Instant) -> Vec<LimitSnapshot> {
        let of_all = self.keys.get(key).into_iter().chain(self.groups.get(group));
        let of_all = of_all.map(|limit| (None, limit));
        let of_models = self.models.iter().filter_map(|(name, model)| {
            let limit = model.groups.get(group)?;
            Some((Some(name), limit))
        });
        let known = of_all.chain(of_models).flat_map(|(model, limit)| {
            let (limit, traits) = limit;
            let known = limit.known_limits(traits, now);
            known.map(move |known| LimitSnapshot::new(model, known))
        });
        let mut known: Vec<_> = known.collect();
        known.sort_by(|one, other| one.model.cmp(&other.model));
        known
    }
}

// === impl KeyState ===

impl KeyState {
    pub(super) fn of(keys: &Keys, index: usize, now: Instant) -> Self {
        let entry = &keys.entries[index];
        let (group, group_source) = keys.group_of(index).unzip();
        let end = keys.end_of_all(index, now);
        let models = keys
            .limits
            .limited_models(entry.info.id, entry.group_id, now);
        Self {
            label: entry.info.label.clone(),
            group,
            group_source,
            cooldown_until: end.as_ref().map(|end| end.at),
            cooldown_is_reported: end.as_ref().is_some_and(|end| end.is_reported),
            cooldown_is_remote: end.as_ref().is_some_and(|end| end.is_remote),
            cooldown_reason: end.map(|end| end.rejection.reason),
            limited_models: models
                .map(|(model, end)| LimitedModel {
                    model,
                    reason: end.rejection.reason,
                    until: end.at,
                    is_reported: end.is_reported,
                    is_remote: end.is_remote,
                })
                .collect(),
            limits: keys.limits.known(entry.info.id, entry.group_id, now),
            uses: entry.info.uses.load(Ordering::Relaxed),
            rejections: entry.rejections,
            in_flight: usize::try_from(keys.in_flight(index)).unwrap_or(usize::MAX),
        }
    }
}
