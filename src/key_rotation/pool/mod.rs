//! The handle around the state: a lock held for a moment, never across an await.

mod builder;
mod denied;
mod departures;
mod desk;
mod lanes;
mod number;
mod queue;
mod sessions;
mod state;
mod sync;
mod ticket;

#[cfg(test)]
mod tests;

use std::{
    fmt, mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Uri, request};
use tokio::time::Instant;

use super::Key;
use crate::{
    clock,
    rejection::{Bucket, Reason, Rejection},
    request::{Origin, credentials::Credential},
};
use builder::Scheme;
pub use builder::{KeyPoolBuilder, PoolError};
use desk::Desk;
use state::{Entry, Loan, State};
pub(super) use state::{Exhausted, KeyId, Prospect, Want, denied_model, is_of_every_model};
use sync::{Mutex, MutexGuard, PoisonError};
pub(super) use ticket::{Standing, Ticket};

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
/// caller addressed it to. A request for which no pool of the layer has a key passes through as it is, and
/// so does one whose path and query are too long to hold a key beside them (over 65,534 bytes).
#[derive(Clone)]
pub struct KeyPool(Arc<Shared>);

struct Shared {
    scheme: Scheme,
    origins: Origins,
    desk: Mutex<Desk>,
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
    /// Why it cools for every model, it or its group; `None` if it is free.
    pub cooldown_reason: Option<Reason>,
    /// Until when it cools for every model; `None` if it is free.
    pub cooldown_until: Option<Instant>,
    /// The models for which it, or its group, is limited.
    pub limited_models: Vec<LimitedModel>,
    /// How many requests it was put on.
    pub uses: u64,
    /// How many rejections came that concern keys, but for those that a layer further in has overcome.
    pub rejections: u64,
    /// How many calls have it now: it is set aside for their requests, or those are not answered yet.
    pub in_flight: usize,
}

/// A model for which a key is limited, while it may be free for others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitedModel {
    /// Its name.
    pub model: Arc<str>,
    /// Why.
    pub reason: Reason,
    /// Until when.
    pub until: Instant,
}

/// A key on loan to one attempt; given back when it is dropped.
pub(super) struct Lease {
    pool: KeyPool,
    loan: Loan,
    badge: Arc<Badge>,
    /// Whether its request has gone out and is not answered.
    is_out: bool,
    /// When its request was answered.
    answered_at: Option<Instant>,
}

/// What a key is called, and what it puts on requests.
pub(super) struct Badge {
    pub(super) label: Arc<str>,
    pub(super) credential: Arc<Credential>,
    /// On how many requests it was put, which happens without the lock.
    uses: AtomicU64,
}

// === impl Badge ===

impl Badge {
    fn new(label: Arc<str>, credential: Credential) -> Self {
        Self {
            label,
            credential: Arc::new(credential),
            uses: AtomicU64::new(0),
        }
    }
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
        let mut desk = self.lock();
        let key = self
            .0
            .scheme
            .entry(key.into(), desk.state.default_label())?;
        let wakers = desk.add(key, clock::now())?;
        drop(desk);
        wakers.wake();
        Ok(())
    }

    /// Removes a key. What is in flight with it goes on, and its answers no longer count.
    ///
    /// # Errors
    ///
    /// If there is no such key, or it is the last.
    pub fn remove(&self, label: &str) -> Result<(), PoolError> {
        let mut desk = self.lock();
        let wakers = desk.remove(label, clock::now())?;
        drop(desk);
        wakers.wake();
        Ok(())
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
        let mut desk = self.lock();
        let wakers = desk.replace(label, key, clock::now())?;
        drop(desk);
        wakers.wake();
        Ok(())
    }

    /// What is known of each key now.
    pub fn snapshot(&self) -> Vec<KeyState> {
        let now = clock::now();
        let desk = self.lock();
        let keys = desk.state.keys().iter();
        keys.map(|entry| KeyState::of(entry, &desk.state, now))
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
            desk: Mutex::new(Desk::new(state)),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether each of its keys can be put on a request for `uri`.
    pub(super) fn fits(&self, uri: &Uri) -> bool {
        self.0.scheme.fits(uri)
    }

    /// Takes a key that has room.
    pub(super) fn take(&self, want: &Want, now: Instant) -> Result<Lease, Exhausted> {
        let mut desk = self.lock();
        let (loan, entry) = desk.state.take(want, now)?;
        Ok(Lease::new(self, loan, entry))
    }

    /// As [`take`](Self::take), but not before those who wait.
    pub(super) fn take_in_turn(&self, want: &Want, now: Instant) -> Result<Lease, Exhausted> {
        let mut desk = self.lock();
        let (loan, entry) = desk.take_in_turn(want, now)?;
        Ok(Lease::new(self, loan, entry))
    }

    /// Takes a key that cools by a guess alone, to find out whether that is too long; `None` if none
    /// does, or a request finds out already for each.
    pub(super) fn take_early(&self, want: &Want, now: Instant) -> Option<Lease> {
        let mut desk = self.lock();
        let (loan, entry) = desk.state.take_early(want, now)?;
        Some(Lease::new(self, loan, entry))
    }

    /// Takes the key that frees first, or of which enough are out, whatever is known of it.
    pub(super) fn take_anyway(&self, exhausted: &Exhausted, want: &Want, now: Instant) -> Lease {
        let mut desk = self.lock();
        let (loan, entry) = desk.state.take_anyway(exhausted, want, now);
        Lease::new(self, loan, entry)
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
    fn of(entry: &Entry, state: &State, now: Instant) -> Self {
        let end = state.end_of_all(entry, now);
        let models = state.limited_models(entry, now);
        Self {
            label: entry.badge.label.clone(),
            group: entry.group.clone(),
            cooldown_until: end.as_ref().map(|end| end.at),
            cooldown_reason: end.map(|end| end.rejection.reason),
            limited_models: models
                .map(|(model, end)| LimitedModel {
                    model,
                    reason: end.rejection.reason,
                    until: end.at,
                })
                .collect(),
            uses: entry.badge.uses.load(Ordering::Relaxed),
            rejections: entry.rejections,
            in_flight: entry.in_flight,
        }
    }
}

// === impl Lease ===

impl Lease {
    fn new(pool: &KeyPool, loan: Loan, entry: &Entry) -> Self {
        Self {
            pool: pool.clone(),
            loan,
            badge: entry.badge.clone(),
            is_out: false,
            answered_at: None,
        }
    }

    pub(super) fn pool(&self) -> &KeyPool {
        &self.pool
    }

    pub(super) fn id(&self) -> KeyId {
        self.loan.id
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.badge.label
    }

    /// Puts the key on a request that goes out, in place of what stood there.
    pub(super) fn place(&mut self, head: &mut request::Parts) -> &Arc<Credential> {
        self.is_out = true;
        self.badge.uses.fetch_add(1, Ordering::Relaxed);
        self.badge.credential.put(head);
        &self.badge.credential
    }

    /// Its request has an answer, or has failed.
    pub(super) fn is_answered(&mut self, now: Instant) {
        self.is_out = false;
        self.answered_at = Some(now);
    }

    /// Whether its key was refused to others since it was set aside.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.pool.lock().state.is_stale(&self.loan, now)
    }

    /// Whether its key is in the pool no more.
    pub(super) fn is_of_removed(&self) -> bool {
        self.pool.lock().state.entry_of(&self.loan).is_none()
    }

    /// Its request waits for the client.
    pub(super) fn set_aside(&mut self) {
        self.pool.lock().state.set_aside(&mut self.loan);
    }

    /// Its request goes out now, which may be well after the key was taken.
    pub(super) fn goes_out(&mut self, now: Instant) {
        self.loan.sent = now;
        if mem::take(&mut self.loan.is_set_aside) {
            self.pool.lock().state.goes_out(&self.loan, now);
        }
    }

    /// When its request went out.
    pub(super) fn sent(&self) -> Instant {
        self.loan.sent
    }

    /// One that went out and came back at these moments passed; a layer further in may have sent several.
    pub(super) fn succeeded(&self, told: &[Bucket], when: (Instant, Instant)) {
        self.pool.lock().state.succeeded(&self.loan, told, when);
    }

    /// As [`succeeded`](Self::succeeded), of one that was refused.
    pub(super) fn refused(&self, rejection: &Rejection, told: &[Bucket], when: (Instant, Instant)) {
        let mut desk = self.pool.lock();
        desk.state.refused(&self.loan, rejection, told, when);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut desk = self.pool.lock();
        if self.is_out {
            desk.state.given_up(&self.loan);
        }
        let now = self.answered_at.unwrap_or_else(clock::now);
        let wakers = desk.give_back(&self.loan, now);
        drop(desk);
        wakers.wake();
    }
}
