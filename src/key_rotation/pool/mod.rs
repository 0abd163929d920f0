//! The handle around the state: a lock held for a moment, never across an await.

mod builder;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use http::request;
use tokio::time::Instant;

use super::Key;
use crate::{
    clock,
    credentials::Credential,
    origin::Origin,
    refusal::{Reason, Refusal},
};
use builder::Scheme;
pub use builder::{KeyPoolBuilder, PoolError};
use state::{Entry, State};
pub(super) use state::{Exhausted, KeyId};

/// Keys, and what is known of each.
///
/// A clone is the same pool: one handle is shared by all layers, services and tasks, and keys may be
/// added, removed and replaced while they run.
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
/// A pool puts its keys only on requests for an origin that they were given for: those named by
/// [`for_origin`](KeyPoolBuilder::for_origin), or else the first origin that the pool serves. In the
/// second case they also stay off a request that another layer has sent somewhere else than the
/// caller addressed it to. A request for which no pool of the layer has a key passes through as it is.
#[derive(Clone)]
pub struct KeyPool(Arc<Shared>);

struct Shared {
    scheme: Scheme,
    origins: Origins,
    state: Mutex<State>,
}

enum Origins {
    Named(Vec<Origin>),
    /// The first that it serves; `Some(None)` is that of requests that name no host.
    First(OnceLock<Option<Origin>>),
}

/// What is known of a key, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyState {
    /// Its name.
    pub label: Arc<str>,
    /// With which others it shares its limits.
    pub group: Option<Arc<str>>,
    /// Why it cools, it or its group; `None` if it is free.
    pub cools_for: Option<Reason>,
    /// Until when it cools; `None` if it is free.
    pub until: Option<Instant>,
    /// How many requests it was put on.
    pub uses: u64,
    /// How many of them were refused in a way that concerns keys.
    pub refusals: u64,
    /// How many of them are not answered yet.
    pub in_flight: usize,
}

/// A key on loan to one attempt; given back when it is dropped.
pub(super) struct Lease {
    pool: KeyPool,
    id: KeyId,
    label: Arc<str>,
    credential: Credential,
    taken: Instant,
}

// === impl KeyPool ===

impl KeyPool {
    /// A pool that sends its keys as `Authorization: Bearer` and stays with one until it is limited.
    ///
    /// # Errors
    ///
    /// If there is no key, a key cannot be sent, or two have one label.
    pub fn new<K: Into<Key>>(keys: impl IntoIterator<Item = K>) -> Result<Self, PoolError> {
        Self::builder(keys).build()
    }

    /// Starts a pool of which more is to be said.
    pub fn builder<K: Into<Key>>(keys: impl IntoIterator<Item = K>) -> KeyPoolBuilder {
        KeyPoolBuilder::new(keys.into_iter().map(Into::into).collect())
    }

    /// Adds a key; it is used from the next choice on.
    ///
    /// # Errors
    ///
    /// If the key cannot be sent, or its label is taken.
    pub fn add(&self, key: impl Into<Key>) -> Result<(), PoolError> {
        let mut state = self.lock();
        let key = self.0.scheme.entry(key.into(), state.default_label())?;
        state.add(key)
    }

    /// Removes a key. What is in flight with it goes on, and its answers no longer count.
    ///
    /// # Errors
    ///
    /// If there is no such key, or it is the last.
    pub fn remove(&self, label: &str) -> Result<(), PoolError> {
        self.lock().remove(label)
    }

    /// Puts a new key in the place of the one with this label, whose name it takes unless it has one.
    ///
    /// What is known of the old key, its cooldown and counts, is forgotten.
    ///
    /// # Errors
    ///
    /// If there is no such key, the new one cannot be sent, or its label is taken.
    pub fn replace(&self, label: &str, key: impl Into<Key>) -> Result<(), PoolError> {
        let key = self.0.scheme.entry(key.into(), label.into())?;
        self.lock().replace(label, key)
    }

    /// What is known of each key now.
    pub fn snapshot(&self) -> Vec<KeyState> {
        let now = clock::now();
        let state = self.lock();
        let keys = state.keys().iter();
        keys.map(|entry| KeyState::of(entry, state.end(entry, now)))
            .collect()
    }

    fn from_parts(scheme: Scheme, origins: Vec<Origin>, state: State) -> Self {
        let origins = match origins.is_empty() {
            true => Origins::First(OnceLock::new()),
            false => Origins::Named(origins),
        };
        Self(Arc::new(Shared {
            scheme,
            origins,
            state: Mutex::new(state),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its origins were named.
    pub(super) fn is_for_named_origins(&self) -> bool {
        matches!(self.0.origins, Origins::Named(_))
    }

    /// Whether its keys may go to `origin`, on a request that the caller has addressed to `addressed`.
    pub(super) fn serves(&self, origin: Option<&Origin>, addressed: Option<&Origin>) -> bool {
        match &self.0.origins {
            Origins::Named(origins) => origin.is_some_and(|origin| origins.contains(origin)),
            Origins::First(first) => {
                origin == addressed && first.get_or_init(|| origin.cloned()).as_ref() == origin
            }
        }
    }

    pub(super) fn take(&self, now: Instant, tried: &[KeyId]) -> Result<Lease, Exhausted> {
        let mut state = self.lock();
        let entry = state.take(now, tried)?;
        Ok(Lease::new(self, entry, now))
    }

    pub(super) fn take_anyway(&self, now: Instant) -> Lease {
        let mut state = self.lock();
        let entry = state.take_anyway(now);
        Lease::new(self, entry, now)
    }
}

impl fmt::Debug for KeyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPool")
            .field("keys", &self.snapshot())
            .finish_non_exhaustive()
    }
}

// === impl KeyState ===

impl KeyState {
    fn of(entry: &Entry, end: Option<(Instant, &Refusal)>) -> Self {
        Self {
            label: entry.label.clone(),
            group: entry.group.clone(),
            cools_for: end.map(|(_, refusal)| refusal.reason),
            until: end.map(|(until, _)| until),
            uses: entry.uses,
            refusals: entry.refusals,
            in_flight: entry.in_flight,
        }
    }
}

// === impl Lease ===

impl Lease {
    fn new(pool: &KeyPool, entry: &Entry, now: Instant) -> Self {
        Self {
            pool: pool.clone(),
            id: entry.id,
            label: entry.label.clone(),
            credential: entry.credential.clone(),
            taken: now,
        }
    }

    pub(super) fn pool(&self) -> &KeyPool {
        &self.pool
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Puts the key on a request, in place of what stood there.
    pub(super) fn place(&self, head: &mut request::Parts) {
        self.credential.put(head);
    }

    pub(super) fn succeeded(&self) {
        self.pool.lock().succeeded(self.id, self.taken);
    }

    pub(super) fn refused(&self, refusal: &Refusal, now: Instant) {
        self.pool.lock().refused(self.id, refusal, self.taken, now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.lock().give_back(self.id);
    }
}
