//! What several processes with the same keys know and lease together (feature `share`).
//!
//! Each process learns the limits of its keys, and takes all of each for its own. With
//! [`replicas`](crate::key_rotation::KeyPoolBuilder::replicas) it takes a fixed part. With this module the
//! processes behave as one: they exchange what responses report, and lease what is left from one [`Engine`].
//! [`InMemory`] is an engine for the pools of one process.
//!
//! ```
//! use tower_429::{KeyPool, share::{InMemory, Name, share}};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let (share, driver) = share(InMemory::new(), Name::new("prod/openai"));
//! tokio::spawn(driver);
//! let pool = KeyPool::builder(["sk-1", "sk-2"])
//!     .for_origin("https://api.openai.com")
//!     .shared(share.clone())
//!     .build()?;
//! share.ready().await; // Optional: what other processes know is known from the first call on.
//! assert_eq!(pool.snapshot().len(), 2);
//! # Ok::<(), tower_429::key_rotation::PoolError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is shared
//!
//! - **Facts**: rejections that close a limit, what providers report to be left, and how many requests were sent, have
//!   passed and were rejected. Each process publishes those of its own requests. To compute what is left, it counts the
//!   requests of all. [`Facts`] merges the facts.
//! - **What was learned**: how many requests may be in flight, and the [`LearnedTraits`] of the provider. Each process
//!   learns them from its own requests or adopts them from others. Whether a rejection came by chance is not shared.
//!   Each process infers that from its own requests.
//! - **Leases**: a process sends a request under a limit only if it has leased a place of it. The engine grants no
//!   more places than the limit has for all. A process wants what its waiting calls would take now, and leases places
//!   ahead for about as many calls as it has sent in the last 100 ms. Places that no call uses go back at once when
//!   the key is limited. Otherwise they begin to go back after 60 ms without a call. A call that finds a place does
//!   not wait. A call that finds none waits in its turn until the engine grants one. Where requests in flight are
//!   limited, a streamed response holds its place until its body ends.
//!
//! # When exchanges are made
//!
//! The [`Driver`] makes an exchange only if there is a reason:
//!
//! | reason | time since the last exchange |
//! |---|---|
//! | a call found no place, a request was rejected, or a limit is new | 5 ms, doubled while the engine grants nothing, at most 40 ms |
//! | other new facts | 60 ms |
//! | places are kept that no call uses | 60 ms |
//! | calls wait while requests of other processes are in flight | 100 ms |
//! | none | 1 s |
//!
//! While the engine is away, the next attempt follows 100 to 200 ms after one that has failed.
//!
//! # Several pools, and operators
//!
//! Pools of one process with the same keys need [scopes](Sharing::scoped) of their own. [`Sharing::snapshot`] shows
//! how many processes are live, what this one has leased, and when the engine responded.
//!
//! # When the engine is away
//!
//! An exchange that fails, or takes longer than 100 ms, is the end of sharing until one succeeds. Meanwhile no
//! call waits for the engine. Each process takes the n-th part of what is left, by the number of processes in
//! the last response, for a minute, and else by `replicas`. A process that is killed keeps what it holds for two
//! seconds. An engine that comes back empty grants nothing for 0.3 s, until the processes have reported what
//! they hold.
//!
//! No clock is compared: messages carry ages and remaining times. No key, label, model or address leaves the
//! process; see [`Name`].

mod driver;
mod engine;
mod fact;
mod id;
mod member;
mod memory;
mod message;
mod nudge;
mod snapshot;
mod timing;

use std::{
    fmt,
    future::poll_fn,
    mem,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Poll, Waker},
};

use tokio::time::Instant;

pub use driver::Driver;
pub use engine::Engine;
pub use fact::{Fact, Facts, LearnedTraits, RejectedFact, Report};
pub use id::{Id, Name};
pub(crate) use member::{Member, Outbox, Update};
pub use memory::InMemory;
pub use message::{
    ExchangeRequest, ExchangeResponse, Grant, LeaseRequest, LimitRequest, LimitResponse, Unit,
};
use nudge::Nudge;
pub(crate) use nudge::Urgency;
pub(crate) use snapshot::LeaseSums;
pub use snapshot::{LeasedUnit, SharingSnapshot, SharingState};
pub use timing::{HOLDS_FOR, LEARNS_FOR, LIVES_FOR};
pub(crate) use timing::{KEPT_FOR, TIMEOUT};

/// What pools and layers are given so that they share; see the [module page](self). A clone is the same process.
#[derive(Clone)]
pub struct Sharing(Arc<SharingScope>);

/// The process, and the name under which its pools share.
struct SharingScope {
    name: Name,
    process: Arc<SharingProcess>,
}

/// Ends the driver when it is dropped.
struct SharingProcess(Arc<SharingCore>);

/// What is logged and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharingEvent<'a> {
    /// The engine is there again, or for the first time.
    Connected,
    /// The engine is away, and why.
    Away(&'a str),
    /// An exchange has ended, and whether it has succeeded.
    Exchanged(bool),
    /// So much is leased in this unit.
    Granted(Unit, u64),
    /// Leases have ended because the engine is away.
    Expired,
}

/// One process.
pub(crate) struct SharingCore {
    name: Name,
    replica: Id,
    members: Mutex<Vec<Weak<dyn Member>>>,
    nudge: Nudge,
    /// The [`SharingState`].
    state: AtomicU8,
    /// The number of processes in the last response, and when that came.
    last_response: Mutex<Option<(u32, Instant)>>,
    /// Whether nothing is left that shares.
    has_ended: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    observer: OnceLock<fn(&str, SharingEvent<'_>)>,
}

/// Returns what pools share through, and the driver that makes it happen.
///
/// Nothing waits for the engine here, and nothing fails if it is not there.
pub fn share(engine: impl Engine, name: Name) -> (Sharing, Driver) {
    let core = Arc::new(SharingCore {
        name: name.clone(),
        replica: Id::random(),
        members: Mutex::new(Vec::new()),
        nudge: Nudge::new(),
        state: AtomicU8::new(SharingState::Starting as u8),
        last_response: Mutex::new(None),
        has_ended: AtomicBool::new(false),
        waiting: Mutex::new(Vec::new()),
        observer: OnceLock::new(),
    });
    let process = Arc::new(SharingProcess(core.clone()));
    let scope = SharingScope { name, process };
    (Sharing(Arc::new(scope)), Driver::new(core, engine))
}

// === impl Sharing ===

impl Sharing {
    /// Waits until the first exchange has ended, whether it has succeeded or not.
    ///
    /// That is within 100 ms once the driver is polled. A process that waits for it at its start knows from its
    /// first call on which keys others have found limited.
    pub async fn ready(&self) {
        poll_fn(|cx| {
            let is_ready = || self.state() != SharingState::Starting;
            if is_ready() {
                return Poll::Ready(());
            }
            lock(&self.core().waiting).push(cx.waker().clone());
            match is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Returns the same process for one of several pools or layers that have the same keys or targets.
    ///
    /// Two pools of one process must not share one limit through one name, because the engine takes what one of them
    /// publishes for the state of the other. With a scope of its own each pool shares only with the pools of that
    /// scope in other processes. All scopes of a process use the same exchanges.
    ///
    /// ```
    /// use tower_429::{KeyPool, share::{InMemory, Name, share}};
    ///
    /// let (sharing, _driver) = share(InMemory::new(), Name::new("prod/openai"));
    /// let pools = ["chat", "embeddings"].map(|scope| {
    ///     KeyPool::builder(["sk-1", "sk-2"])
    ///         .for_origin("https://api.openai.com")
    ///         .shared(sharing.scoped(scope))
    ///         .build()
    /// });
    /// assert!(pools.iter().all(|pool| pool.is_ok()));
    /// ```
    #[must_use]
    pub fn scoped(&self, scope: &str) -> Self {
        Self(Arc::new(SharingScope {
            name: self.0.name.scoped(scope),
            process: self.0.process.clone(),
        }))
    }

    fn core(&self) -> &SharingCore {
        &self.0.process.0
    }

    pub(crate) fn state(&self) -> SharingState {
        match self.core().state.load(Ordering::SeqCst) {
            0 => SharingState::Starting,
            1 => SharingState::Connected,
            _ => SharingState::Away,
        }
    }

    /// Sets the observer, which logs and counts.
    pub(crate) fn observe(&self, observer: fn(&str, SharingEvent<'_>)) {
        // A clone may have been given to a pool before, with the same observer.
        let _ = self.core().observer.set(observer);
    }

    pub(crate) fn name(&self) -> &Name {
        &self.0.name
    }

    /// Adds a pool. The driver keeps it only as long as others do.
    pub(crate) fn attach(&self, member: Weak<dyn Member>) {
        lock(&self.core().members).push(member);
        self.notify(Urgency::Facts);
    }

    /// Notes why the driver should make an exchange. It wakes no task.
    pub(crate) fn raise(&self, urgency: Urgency) {
        self.core().nudge.raise(urgency);
    }

    /// Wakes the driver if there is something to do. Call it under no lock.
    pub(crate) fn wake(&self) {
        self.core().nudge.wake();
    }

    /// Notes why the driver should make an exchange, and wakes it. Call it under no lock.
    pub(crate) fn notify(&self, urgency: Urgency) {
        self.raise(urgency);
        self.wake();
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing")
            .field("name", &self.0.name)
            .field("replica", &self.core().replica)
            .finish_non_exhaustive()
    }
}

// === impl SharingProcess ===

impl Drop for SharingProcess {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::SeqCst);
        // The last exchange frees what this process holds.
        self.0.nudge.raise(Urgency::Wanted);
        self.0.nudge.wake();
    }
}

// === impl SharingCore ===

impl SharingCore {
    /// Returns the pools that are in use.
    fn members(&self) -> Vec<Arc<dyn Member>> {
        let mut members = lock(&self.members);
        members.retain(|member| member.strong_count() > 0);
        members.iter().filter_map(Weak::upgrade).collect()
    }

    /// Passes an event to the observer.
    fn notify_observer(&self, event: SharingEvent<'_>) {
        if let Some(observer) = self.observer.get() {
            observer(self.name.as_str(), event);
        }
    }

    /// Returns whether nothing is left that shares.
    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Returns the number of processes in the last response, and when that came.
    fn last_response(&self) -> Option<(u32, Instant)> {
        *lock(&self.last_response)
    }

    /// Notes that an exchange has succeeded.
    fn set_connected(&self) {
        if self.set_state(SharingState::Connected) != SharingState::Connected as u8 {
            self.notify_observer(SharingEvent::Connected);
        }
    }

    /// Notes that the engine is away.
    fn set_away(&self, why: &str) {
        let before = self.set_state(SharingState::Away);
        if before != SharingState::Away as u8 {
            self.notify_observer(SharingEvent::Away(why));
        }
        if before == SharingState::Connected as u8 {
            self.notify_observer(SharingEvent::Expired);
        }
    }

    /// Returns the state before.
    fn set_state(&self, state: SharingState) -> u8 {
        let before = self.state.swap(state as u8, Ordering::SeqCst);
        if before == SharingState::Starting as u8 {
            let waiting = mem::take(&mut *lock(&self.waiting));
            waiting.into_iter().for_each(Waker::wake);
        }
        before
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
