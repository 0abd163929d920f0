//! The scheduler of a pool and its callers, driven by events at times that the test gives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    key_rotation::{
        Key,
        pool::{
            choice::{KeyClass, KeyRequest},
            keys::{KeyReservation, Keys, Order},
            placement::{Placement, PreparedKey},
        },
    },
    quota::{Candidates, Demand, Inner, LimitTable as _, Prospect, QueuePlace, WaiterId, Waiting},
    rejection::{Bucket, NamedAccount, Rejection},
};

/// Whether a waiter was woken since its last poll.
#[derive(Default)]
pub(super) struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) class: KeyClass,
    /// When its timer ends.
    pub(super) alarm: Option<Instant>,
    bell: Arc<Bell>,
}

impl Waiter {
    pub(super) fn is_woken(&self) -> bool {
        self.bell.0.load(Ordering::Relaxed)
    }
}

pub(super) struct World {
    pub(super) inner: Inner<Keys>,
    pub(super) now: Instant,
    pub(super) waiters: Vec<Waiter>,
    /// The reservations of calls in flight.
    pub(super) held: Vec<KeyReservation>,
    /// The reservations of responses whose bodies are open.
    pub(super) open: Vec<KeyReservation>,
    placement: Placement,
    /// How many keys were prepared.
    prepared: usize,
}

/// How an attempt ends.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The request was not sent.
    Unsent,
    /// The call failed.
    Failed,
    /// The call was dropped.
    Dropped,
    Success(Vec<Bucket>),
    /// A success whose body stays open.
    Streamed,
    Rejection(Rejection, Vec<Bucket>),
}

impl World {
    pub(super) fn new(order: Order, longest_guess: Duration, keys: &[Key]) -> Self {
        let mut world = Self {
            inner: Inner::new(Keys::new(order, longest_guess, 7)),
            now: Instant::now(),
            waiters: Vec::new(),
            held: Vec::new(),
            open: Vec::new(),
            placement: Placement::bearer(),
            prepared: 0,
        };
        for key in keys {
            world.add(key.clone());
        }
        world
    }

    pub(super) fn keys(&mut self) -> &mut Keys {
        &mut self.inner.candidates
    }

    /// Runs a closure as if under the lock.
    fn act<T>(&mut self, act: impl FnOnce(&mut Inner<Keys>) -> T) -> T {
        let result = act(&mut self.inner);
        self.inner.take_wakeups().wake();
        result
    }

    pub(super) fn add(&mut self, key: Key) {
        let label = self.keys().default_label();
        let key = self.prepare(key, label);
        let now = self.now;
        self.act(|inner| {
            if inner.candidates.add(key).is_ok() {
                inner.serve(now);
            }
        });
    }

    pub(super) fn remove(&mut self, index: usize) {
        let (label, now) = (self.label(index), self.now);
        self.act(|inner| {
            if inner.candidates.remove(&label).is_ok() {
                inner.serve(now);
            }
        });
    }

    pub(super) fn replace(&mut self, index: usize, key: Key) {
        let (label, now) = (self.label(index), self.now);
        let key = self.prepare(key, label.clone());
        self.act(|inner| {
            if inner.candidates.replace(&label, key).is_ok() {
                inner.serve(now);
            }
        });
    }

    /// Prepares a key with a new secret, because events repeat keys and a pool rejects a duplicate secret.
    fn prepare(&mut self, mut key: Key, label: Arc<str>) -> PreparedKey {
        self.prepared += 1;
        key.secret.push_str(&format!("-{}", self.prepared));
        let key = self.placement.prepare(key, label);
        key.expect("a usable key")
    }

    fn label(&mut self, index: usize) -> Arc<str> {
        let entries = &self.keys().entries;
        entries[index % entries.len()].info.label().clone()
    }

    /// Takes a key like a call that may wait. Returns whether it got one.
    pub(super) fn take_in_turn(&mut self, request: &KeyRequest, now: Instant) -> bool {
        let Ok(reservation) = self.act(|inner| inner.reserve_in_turn(request, now)) else {
            return false;
        };
        self.hold(reservation, now);
        true
    }

    /// Takes a key like a call that may not wait. A call that is pinned to a removed key is sent without a key.
    pub(super) fn take_anyway(&mut self, request: &KeyRequest, now: Instant) {
        let reserved = match self.keys().reserve(request, now) {
            Ok(reservation) => Some(reservation),
            Err(exhausted) => {
                let free_at = exhausted.forecast().free_at;
                let is_past = free_at.is_some_and(|at| at <= now);
                assert!(!is_past || !request.tried.is_empty(), "{exhausted:?}");
                self.keys().reserve_anyway(&exhausted, request, now)
            }
        };
        if let Some(reservation) = reserved {
            self.hold(reservation, now);
        }
    }

    fn hold(&mut self, mut reservation: KeyReservation, now: Instant) {
        self.act(|inner| inner.mark_sent(&mut reservation, now));
        self.held.push(reservation);
    }

    /// Takes a place in the queue and polls.
    pub(super) fn join(&mut self, request: KeyRequest, place: QueuePlace) {
        let now = self.now;
        let class = self.keys().class(&request, now);
        let id = self.act(|inner| inner.enqueue(&class, (place, request.demand), now));
        self.waiters.push(Waiter {
            id,
            class,
            alarm: None,
            bell: Arc::default(),
        });
        self.poll(self.waiters.len() - 1, now);
    }

    /// Polls the waiter at this index, which leaves the queue if it gets a key.
    pub(super) fn poll(&mut self, index: usize, now: Instant) {
        let waiter = &self.waiters[index];
        waiter.bell.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(waiter.bell.clone());
        let (id, class) = (waiter.id, waiter.class.clone());
        match self.act(|inner| inner.poll(id, &class, &waker, now)) {
            Ok((reservation, at)) => {
                // Time passes until the request is sent.
                self.now = self.now.max(at);
                self.hold(reservation, at.max(now));
                self.waiters.swap_remove(index);
            }
            Err(forecast) => {
                let at = forecast.free_at;
                // The key that the call is pinned to was removed, so the call is sent without a key.
                if at.is_none() && forecast.prospect == Prospect::Never {
                    return self.leave(index);
                }
                let after = at.map(|at| at.saturating_duration_since(now));
                assert_ne!(after, Some(Duration::ZERO), "it would poll again and again");
                self.waiters[index].alarm = at;
            }
        }
    }

    /// Polls the waiters that were woken or whose timer has ended, until none is due.
    pub(super) fn poll_due(&mut self) {
        for _ in 0..10_000 {
            let is_due = |waiter: &Waiter| {
                waiter.is_woken() || waiter.alarm.is_some_and(|at| at <= self.now)
            };
            match self.waiters.iter().position(is_due) {
                Some(index) => self.poll(index, self.now),
                None => return,
            }
        }
        panic!("waiters wake each other forever");
    }

    pub(super) fn leave(&mut self, index: usize) {
        let (waiter, now) = (self.waiters.swap_remove(index), self.now);
        self.act(|inner| inner.leave(waiter.id, &waiter.class, now));
    }

    /// Ends the attempt at this index. Time passes until its request was sent.
    pub(super) fn answer(&mut self, index: usize, answer: &Answer) {
        let reservation = self.held.swap_remove(index);
        self.now = self.now.max(reservation.sent);
        let (when, now) = ((reservation.sent, self.now), self.now);
        self.act(|inner| {
            let keys = &mut inner.candidates;
            match answer {
                Answer::Unsent | Answer::Failed | Answer::Dropped => {}
                Answer::Streamed => {
                    keys.succeeded(&reservation, &[], when);
                    inner.candidates.limits.open_body(reservation.scope);
                }
                Answer::Success(reports) => keys.succeeded(&reservation, reports, when),
                Answer::Rejection(rejection, reports) => {
                    keys.rejected(&reservation, rejection, reports, when);
                }
            }
            inner.release(&reservation, matches!(answer, Answer::Dropped), now);
        });
        if matches!(answer, Answer::Streamed) {
            self.open.push(reservation);
        }
    }

    /// Ends an open body.
    pub(super) fn close(&mut self, index: usize) {
        let (reservation, now) = (self.open.swap_remove(index), self.now);
        self.act(|inner| {
            inner.candidates.limits.close_body(reservation.scope);
            inner.serve(now);
        });
    }

    /// Processes a response that names the account of its key.
    pub(super) fn name(&mut self, index: usize, account: &NamedAccount) {
        let (reservation, now) = (self.held[index].clone(), self.now);
        self.act(|inner| {
            inner.candidates.named(&reservation, account, now);
            inner.serve(now);
        });
    }

    /// Returns whether a waiter could get a key at `now`.
    pub(super) fn has_key(&self, keys: &mut Keys, waiter: &Waiter, now: Instant) -> bool {
        let waiting = self.inner.waiter(waiter.id).unwrap_or(Waiting {
            since: now,
            demand: Demand::default(),
        });
        keys.reserve_for(&waiter.class, waiting, now).is_ok()
    }

    /// Returns the largest number of requests that a limit counts as in flight.
    pub(super) fn out(&self) -> u64 {
        self.inner.candidates.limits.out().max().unwrap_or_default()
    }

    /// Returns whether the key of a reservation is in the pool.
    pub(super) fn contains(&self, reservation: &KeyReservation) -> bool {
        let id = reservation.candidate.id();
        self.inner.candidates.index(id).is_some()
    }
}

/// Returns keys of two groups, and one without a group.
pub(super) fn keys() -> [Key; 4] {
    [
        Key::new("a1").group("a"),
        Key::new("a2").group("a"),
        Key::new("b"),
        Key::new("c").group("c"),
    ]
}
