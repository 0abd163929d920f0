//! A pool's desk and its customers, driven by events at moments that the test gives.

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
            builder::Scheme,
            desk::{Desk, Wakers},
            queue::{Turn, WaiterId},
            state::{Loan, Order, State, Want},
        },
    },
    rejection::{Bucket, Rejection},
};

/// Whether a waiter was woken since it looked last.
#[derive(Default)]
pub(super) struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) want: Want,
    /// When it looks by itself.
    pub(super) alarm: Option<Instant>,
    bell: Arc<Bell>,
}

impl Waiter {
    pub(super) fn is_woken(&self) -> bool {
        self.bell.0.load(Ordering::Relaxed)
    }
}

pub(super) struct World {
    pub(super) desk: Desk,
    pub(super) now: Instant,
    pub(super) waiters: Vec<Waiter>,
    /// The keys that are out.
    pub(super) held: Vec<Loan>,
    scheme: Scheme,
}

/// How an answer ends.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// None: the request did not go out.
    Unsent,
    /// None: the call failed.
    Failed,
    /// None: the call was dropped.
    Dropped,
    Success(Vec<Bucket>),
    Rejection(Rejection, Vec<Bucket>),
}

impl World {
    pub(super) fn new(order: Order, longest_guess: Duration, keys: &[Key]) -> Self {
        let mut world = Self {
            desk: Desk::new(State::new(order, longest_guess, 7)),
            now: Instant::now(),
            waiters: Vec::new(),
            held: Vec::new(),
            scheme: Scheme::bearer(),
        };
        for key in keys {
            world.add(key.clone());
        }
        world
    }

    pub(super) fn add(&mut self, key: Key) {
        let label = self.desk.state.default_label();
        let key = self.scheme.entry(key, label).expect("a usable key");
        if let Ok(wakers) = self.desk.add(key, self.now) {
            wakers.wake();
        }
    }

    pub(super) fn remove(&mut self, index: usize) {
        let label = self.label(index);
        if let Ok(wakers) = self.desk.remove(&label, self.now) {
            wakers.wake();
        }
    }

    pub(super) fn replace(&mut self, index: usize, key: Key) {
        let label = self.label(index);
        let key = self.scheme.entry(key, label.clone()).expect("a usable key");
        if let Ok(wakers) = self.desk.replace(&label, key, self.now) {
            wakers.wake();
        }
    }

    fn label(&self, index: usize) -> Arc<str> {
        let keys = self.desk.state.keys();
        keys[index % keys.len()].badge.label.clone()
    }

    /// As a call that may wait does; whether it got a key.
    pub(super) fn take_in_turn(&mut self, want: &Want, now: Instant) -> bool {
        match self.desk.take_in_turn(want, now) {
            Ok((loan, _)) => self.held.push(loan),
            Err(_) => return false,
        }
        true
    }

    /// As a call that may not wait does.
    pub(super) fn take_anyway(&mut self, want: &Want, now: Instant) {
        let taken = self.desk.state.take(want, now).map(|(loan, _)| loan);
        let loan = taken.unwrap_or_else(|exhausted| {
            let is_past = exhausted.free_at.is_some_and(|at| at <= now);
            assert!(!is_past || !want.tried.is_empty(), "{exhausted:?}");
            self.desk.state.take_anyway(&exhausted, want, now).0
        });
        self.held.push(loan);
    }

    /// Takes a place in the queue and looks.
    pub(super) fn join(&mut self, want: Want, first: bool) {
        let id = self.desk.state.join(&want, first, self.now);
        self.waiters.push(Waiter {
            id,
            want,
            alarm: None,
            bell: Arc::default(),
        });
        self.look(self.waiters.len() - 1, self.now);
    }

    /// The waiter at this place looks; it leaves with a key if there is one for it.
    pub(super) fn look(&mut self, index: usize, now: Instant) {
        let waiter = &mut self.waiters[index];
        waiter.bell.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(waiter.bell.clone());
        let (turn, wakers) = self.desk.look(waiter.id, &waiter.want, &waker, now);
        wakers.wake();
        match turn {
            Turn::Granted(loan, at) => {
                self.desk.state.goes_out(&loan, at.max(now));
                self.held.push(loan);
                self.waiters.swap_remove(index);
            }
            Turn::Later { look_at, .. } => {
                let at = look_at.map(|at| at.saturating_duration_since(now));
                assert_ne!(at, Some(Duration::ZERO), "it would look again and again");
                waiter.alarm = look_at;
            }
        }
    }

    /// Those who were woken, or whose alarm has gone off, look until nobody is due.
    pub(super) fn look_due(&mut self) {
        for _ in 0..10_000 {
            let is_due = |waiter: &Waiter| {
                waiter.is_woken() || waiter.alarm.is_some_and(|at| at <= self.now)
            };
            match self.waiters.iter().position(is_due) {
                Some(index) => self.look(index, self.now),
                None => return,
            }
        }
        panic!("waiters wake one another without end");
    }

    pub(super) fn leave(&mut self, index: usize) {
        let waiter = self.waiters.swap_remove(index);
        self.desk.leave(waiter.id, &waiter.want, self.now).wake();
    }

    /// The answer to what went out with this key; time passes until it has gone out.
    pub(super) fn answer(&mut self, index: usize, answer: &Answer) {
        let loan = self.held.swap_remove(index);
        self.now = self.now.max(loan.sent);
        let state = &mut self.desk.state;
        let when = (loan.sent, self.now);
        match answer {
            Answer::Unsent | Answer::Failed => {}
            Answer::Dropped => state.given_up(&loan),
            Answer::Success(told) => state.succeeded(&loan, told, when),
            Answer::Rejection(rejection, told) => state.refused(&loan, rejection, told, when),
        }
        self.give_back(&loan).wake();
    }

    fn give_back(&mut self, loan: &Loan) -> Wakers {
        self.desk.give_back(loan, self.now)
    }
}

/// Keys of two groups, and one by itself.
pub(super) fn keys() -> [Key; 4] {
    [
        Key::new("a1").group("a"),
        Key::new("a2").group("a"),
        Key::new("b"),
        Key::new("c").group("c"),
    ]
}
