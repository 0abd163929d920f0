//! The keys of one provider, shared by all layers that use them.

mod accounts;
mod builder;
mod choice;
mod closed;
mod contents;
mod error;
mod exhausted;
mod group;
mod ids;
mod keys;
mod lease;
mod level;
mod limits;
mod merged_groups;
mod merged_limits;
mod notices;
mod operate;
mod placement;
mod reported_counts;
mod reserve;
mod search;
#[cfg(feature = "share")]
mod share_ids;
#[cfg(feature = "share")]
mod sharing;
mod snapshot;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::Uri;

use super::Key;
use crate::{clock, quota::Scheduler, request::Origin};
pub use builder::KeyPoolBuilder;
pub(super) use choice::KeyRequest;
pub use error::PoolError;
pub(super) use exhausted::Exhausted;
pub use group::GroupSource;
pub(super) use keys::{KeyReservation, Keys};
pub(super) use lease::Lease;
pub(super) use level::{closes_nothing, is_of_every_model};
use placement::Placement;
pub use snapshot::{KeyState, LimitSnapshot, LimitedModel};

/// A set of keys, and what is known of each.
///
/// A clone is the same pool. All layers, services and tasks share it, and keys may be added, removed and
/// replaced while they run.
///
/// ```
/// use tower_429::key_rotation::{Key, KeyPool};
///
/// let pool = KeyPool::new(["sk-one", "sk-two"])?;
/// pool.add(Key::new("sk-three").label("spare"))?;
/// pool.remove("key-1")?;
/// let labels: Vec<_> = pool.snapshot().iter().map(|key| key.label.to_string()).collect();
/// assert_eq!(labels, ["key-2", "spare"]);
/// # Ok::<(), tower_429::key_rotation::PoolError>(())
/// ```
///
/// # Where its keys go
///
/// A pool puts its keys only on requests for its origins: those of
/// [`for_origin`](KeyPoolBuilder::for_origin), or else the first origin that the pool serves. In the second
/// case it also leaves out requests that another layer sends to another origin than the caller did. A
/// request for which no pool of the layer has a key passes through unchanged. So does one whose path and
/// query are too long to hold a key as well (over 65,534 bytes).
#[derive(Clone)]
pub struct KeyPool(Arc<PoolData>);

struct PoolData {
    placement: Placement,
    origins: Origins,
    scheduler: Scheduler<Keys>,
}

enum Origins {
    Named(Vec<Origin>),
    /// The first that it serves; `Some(None)` is that of requests that name no host.
    First(OnceLock<Option<Origin>>),
}

// === impl KeyPool ===

impl KeyPool {
    /// Returns a pool that sends its keys as `Authorization: Bearer` and uses one until it is limited.
    ///
    /// # Errors
    ///
    /// If there is no key, a key cannot be sent, or two have one label or one secret.
    pub fn new<K: Into<Key>>(keys: impl IntoIterator<Item = K>) -> Result<Self, PoolError> {
        Self::builder(keys).build()
    }

    /// Returns a builder.
    pub fn builder<K: Into<Key>>(keys: impl IntoIterator<Item = K>) -> KeyPoolBuilder {
        KeyPoolBuilder::new(keys.into_iter().map(Into::into).collect())
    }

    /// Adds a key; it is used from the next choice on.
    ///
    /// # Errors
    ///
    /// If the key cannot be sent, or its label is taken, or the pool has the same secret.
    pub fn add(&self, key: impl Into<Key>) -> Result<(), PoolError> {
        self.change(|keys| {
            let key = self.0.placement.prepare(key.into(), keys.default_label())?;
            keys.add(key)
        })
    }

    /// Removes a key. Requests in flight with it go on, and their responses no longer count.
    ///
    /// # Errors
    ///
    /// If there is no such key, or it is the last.
    pub fn remove(&self, label: &str) -> Result<(), PoolError> {
        self.change(|keys| keys.remove(label))
    }

    /// Replaces the key with this label. The new key takes over the label unless it has its own.
    ///
    /// What is known of the old key, its cooldown and counts, is forgotten. Its [sessions](super::Session) are
    /// spread over all keys, because the key that a session prefers depends on the secrets.
    ///
    /// # Errors
    ///
    /// If there is no such key, the new one cannot be sent, its label is taken, or another key is the same
    /// secret.
    pub fn replace(&self, label: &str, key: impl Into<Key>) -> Result<(), PoolError> {
        let key = self.0.placement.prepare(key.into(), label.into())?;
        self.change(|keys| keys.replace(label, key))
    }

    /// Returns the state of each key.
    pub fn snapshot(&self) -> Vec<KeyState> {
        let now = clock::now();
        self.0.scheduler.with(|inner| {
            let keys = &inner.candidates;
            let states = (0..keys.entries.len()).map(|index| KeyState::of(keys, index, now));
            states.collect()
        })
    }

    /// Changes the keys, then serves the waiters: their keys may be others now.
    fn change(
        &self,
        change: impl FnOnce(&mut Keys) -> Result<(), PoolError>,
    ) -> Result<(), PoolError> {
        let now = clock::now();
        self.0.scheduler.with(|inner| {
            change(&mut inner.candidates)?;
            inner.serve(now);
            Ok(())
        })
    }

    fn from_parts(placement: Placement, origins: Vec<Origin>, keys: Keys) -> Self {
        let origins = match origins.is_empty() {
            true => Origins::First(OnceLock::new()),
            false => Origins::Named(origins),
        };
        #[cfg(feature = "share")]
        let scheduler = match &placement.sharing {
            Some(sharing) => Scheduler::sharing(keys, sharing.share.clone()),
            None => Scheduler::new(keys),
        };
        #[cfg(not(feature = "share"))]
        let scheduler = Scheduler::new(keys);
        Self(Arc::new(PoolData {
            placement,
            origins,
            scheduler,
        }))
    }

    /// Returns whether its origins were named.
    pub(super) fn is_for_named_origins(&self) -> bool {
        matches!(self.0.origins, Origins::Named(_))
    }

    /// Returns whether its keys may go to `origin`, on a request that the caller has sent to `addressed`.
    pub(super) fn serves(&self, origin: Option<&Origin>, addressed: Option<&Origin>) -> bool {
        match &self.0.origins {
            Origins::Named(origins) => origin.is_some_and(|origin| origins.contains(origin)),
            Origins::First(first) => {
                origin == addressed && first.get_or_init(|| origin.cloned()).as_ref() == origin
            }
        }
    }

    /// Returns whether it has a key with this label.
    pub(super) fn has_key(&self, label: &str) -> bool {
        let scheduler = &self.0.scheduler;
        scheduler.with(|inner| inner.candidates.find(label).is_some())
    }

    /// Returns whether each of its keys can be put on a request for `uri`.
    pub(super) fn fits(&self, uri: &Uri) -> bool {
        self.0.placement.fits(uri)
    }
}

impl fmt::Debug for KeyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPool")
            .field("keys", &self.snapshot())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
