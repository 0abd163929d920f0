//! Random events: no waiter is forgotten, and every reservation is released.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use super::world::{Answer, Waiter, World, keys};
use crate::{
    key_rotation::{
        Key,
        pool::{choice::KeyRequest, keys::Order},
    },
    quota::{Demand, QueuePlace, Share},
    rejection::{Bucket, Dimension, NamedAccount, Reason, Rejection, Scope, Window},
    request::Cost,
};

#[derive(Clone, Debug)]
enum Event {
    /// A call that waits if no key is free.
    Call(KeyRequest),
    /// A call that may not wait.
    TakeAnyway(KeyRequest),
    /// A call that waits for another key after a rejection.
    Rejoin(KeyRequest),
    /// All waiters that are due poll.
    PollDue,
    /// One waiter polls without having been woken.
    Poll(usize),
    Leave(usize),
    Answer(usize, Answer),
    /// An open body ends.
    Close(usize),
    /// A call reserves another key before it releases this one.
    AnswerAndNext(usize, Answer),
    /// A response names an account.
    Named(usize, usize),
    Add(Key),
    Remove(usize),
    Replace(usize, Key),
    Pass(Duration),
}

fn request() -> impl Strategy<Value = KeyRequest> {
    let model = option::of(prop_oneof![Just("m"), Just("n")]);
    let session = option::of(0..12_u64);
    // The pool has four keys at first, and others are added.
    let pinned = option::weighted(0.2, (1..7).prop_map(|number| format!("key-{number}")));
    let tokens = || prop_oneof![0..20_000_u64, Just(0), Just(u64::MAX)];
    let cost = (tokens(), tokens()).prop_map(|(input, output)| Cost::new(input, output));
    // All background calls of a pool have the same reserve.
    let reserve = option::weighted(0.4, Just(0.1));
    let demand = (cost, reserve).prop_map(|(cost, reserve)| match reserve {
        Some(reserve) => Demand::new(cost).in_background(Share::new(reserve)),
        None => Demand::new(cost),
    });
    (model, session, pinned, demand).prop_map(|(model, session, pinned, demand)| KeyRequest {
        model: model.map(Into::into),
        tried: Vec::new(),
        session,
        demand,
        pinned: pinned.map(Into::into),
    })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just(Key::new("new")),
        Just(Key::new("new").group("a")),
        Just(Key::new("new").group("d")),
    ]
}

/// Returns durations, also some that no clock can represent.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0..3_000_u64).prop_map(Duration::from_millis),
        4 => (0..120_u64).prop_map(Duration::from_secs),
        1 => (0..100_u64).prop_map(|hours| Duration::from_secs(hours * 3_600)),
        1 => (0..u64::MAX).prop_map(Duration::from_secs),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::from_secs(i64::MAX as u64 - 1_000_000)),
        1 => Just(Duration::MAX),
    ]
}

fn bucket() -> impl Strategy<Value = Bucket> {
    let dimension = prop_oneof![
        4 => Just(Dimension::Requests),
        1 => Just(Dimension::Tokens),
        1 => Just(Dimension::Concurrency),
    ];
    let scope = option::weighted(0.3, prop_oneof![Just(Scope::Account), Just(Scope::Model)]);
    let count = || {
        option::weighted(
            0.9,
            prop_oneof![8 => 0..6_u64, 1 => 0..1_000_u64, 1 => Just(u64::MAX)],
        )
    };
    let window = option::weighted(0.3, prop_oneof![Just(Window::Minute), Just(Window::Day)]);
    let reset = option::weighted(0.9, duration());
    (dimension, window, scope, count(), count(), reset).prop_map(
        |(dimension, window, scope, limit, remaining, reset)| Bucket {
            dimension,
            window,
            scope,
            limit,
            remaining,
            reset,
            cost: None,
        },
    )
}

fn rejection() -> impl Strategy<Value = Rejection> {
    let reason = prop_oneof![
        6 => Just(Reason::RateLimited),
        1 => Just(Reason::QuotaExhausted),
        1 => Just(Reason::KeyRejected),
    ];
    let scope = option::weighted(
        0.3,
        prop_oneof![Just(Scope::Key), Just(Scope::Account), Just(Scope::Model)],
    );
    let window = option::weighted(0.2, Just(Window::Day));
    let dimension = option::weighted(0.2, Just(Dimension::Concurrency));
    (reason, option::of(duration()), scope, window, dimension).prop_map(
        |(reason, retry_after, scope, window, dimension)| Rejection {
            retry_after,
            dimension,
            scope,
            window,
            ..Rejection::new(reason)
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        1 => Just(Answer::Unsent),
        1 => Just(Answer::Failed),
        1 => Just(Answer::Dropped),
        4 => vec(bucket(), 0..3).prop_map(Answer::Success),
        1 => Just(Answer::Streamed),
        3 => (rejection(), vec(bucket(), 0..2))
            .prop_map(|(rejection, reports)| Answer::Rejection(rejection, reports)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let any = || 0..64_usize;
    let pass = prop_oneof![
        3 => (0..1_500_u64).prop_map(Duration::from_millis),
        2 => (1..90_u64).prop_map(Duration::from_secs),
        1 => (1..30_u64).prop_map(|hours| Duration::from_secs(hours * 3_600)),
    ];
    prop_oneof![
        8 => request().prop_map(Event::Call),
        1 => request().prop_map(Event::TakeAnyway),
        1 => request().prop_map(Event::Rejoin),
        4 => Just(Event::PollDue),
        1 => any().prop_map(Event::Poll),
        1 => any().prop_map(Event::Leave),
        6 => (any(), answer()).prop_map(|(index, answer)| Event::Answer(index, answer)),
        1 => any().prop_map(Event::Close),
        2 => (any(), answer()).prop_map(|(index, answer)| Event::AnswerAndNext(index, answer)),
        2 => (any(), any()).prop_map(|(index, account)| Event::Named(index, account)),
        1 => key().prop_map(Event::Add),
        1 => any().prop_map(Event::Remove),
        1 => (any(), key()).prop_map(|(index, key)| Event::Replace(index, key)),
        3 => pass.prop_map(Event::Pass),
    ]
}

impl World {
    fn happens(&mut self, event: &Event, clock_is_late: Duration) {
        // A task that was delayed between reading the clock and taking the lock has an earlier time.
        let now = self.now - clock_is_late;
        let pick = |index: usize, of: usize| (of > 0).then(|| index % of);
        match event {
            Event::Call(request) => {
                if !self.take_in_turn(request, now) {
                    self.join(request.clone(), QueuePlace::New);
                }
            }
            Event::TakeAnyway(request) => self.take_anyway(request, now),
            Event::Rejoin(request) => self.join(request.clone(), QueuePlace::Again),
            Event::PollDue => self.poll_due(),
            Event::Poll(index) => {
                if let Some(index) = pick(*index, self.waiters.len()) {
                    self.poll(index, now);
                }
            }
            Event::Leave(index) => {
                if let Some(index) = pick(*index, self.waiters.len()) {
                    self.leave(index);
                }
            }
            Event::Answer(index, answer) => {
                if let Some(index) = pick(*index, self.held.len()) {
                    self.answer(index, answer);
                }
            }
            Event::Close(index) => {
                if let Some(index) = pick(*index, self.open.len()) {
                    self.close(index);
                }
            }
            Event::AnswerAndNext(index, answer) => {
                if let Some(index) = pick(*index, self.held.len()) {
                    let tried = KeyRequest {
                        tried: vec![self.held[index].candidate.id()],
                        ..KeyRequest::default()
                    };
                    self.take_anyway(&tried, now);
                    self.answer(index, answer);
                }
            }
            Event::Named(index, account) => {
                if let Some(index) = pick(*index, self.held.len()) {
                    let account = NamedAccount::of(["one", "two", "three"][account % 3], None);
                    self.name(index, &account);
                }
            }
            Event::Add(key) => self.add(key.clone()),
            Event::Remove(index) => self.remove(*index),
            Event::Replace(index, key) => self.replace(*index, key.clone()),
            Event::Pass(time) => self.now += *time,
        }
    }

    /// Asserts that the head of each class has been woken, or has a timer that ends before it could get a key, or waits
    /// for a response in flight.
    fn no_waiter_is_forgotten(&self) -> Result<(), TestCaseError> {
        let is_first = |waiter: &&Waiter| self.inner.is_head(waiter.id);
        let heads: Vec<_> = self.waiters.iter().filter(is_first).collect();
        // If a waiter could get a key now, a head is about to poll. The pool serves all classes at that poll.
        let mut keys = self.inner.candidates.clone();
        let a_head_polls = heads
            .iter()
            .any(|waiter| waiter.is_woken() || waiter.alarm.is_some_and(|alarm| alarm <= self.now));
        for waiter in self.waiters.iter().filter(|waiter| !waiter.is_woken()) {
            prop_assert!(
                a_head_polls || !self.has_key(&mut keys, waiter, self.now),
                "there is a key for {:?}, and no waiter polls",
                waiter.id,
            );
        }
        // Here only time passes.
        let mut keys = self.inner.candidates.clone();
        for after in LATER {
            let at = self.now + Duration::from_millis(after);
            for waiter in &heads {
                // An update of one limit can open another a moment before its waiter polls.
                let polls =
                    waiter.is_woken() || waiter.alarm.is_some_and(|alarm| alarm <= at + LATE);
                prop_assert!(
                    polls || !self.has_key(&mut keys, waiter, at),
                    "there is a key in {after} ms for {:?}, which polls in {:?}",
                    waiter.id,
                    waiter.alarm.map(|alarm| alarm - self.now),
                );
            }
        }
        for waiter in heads {
            let polls = waiter.is_woken() || waiter.alarm.is_some();
            prop_assert!(
                polls || self.inner.has_granted() || !self.held.is_empty() || !self.open.is_empty(),
                "{:?} waits for a response, and none is in flight",
                waiter.id,
            );
        }
        Ok(())
    }

    /// Ends all calls, also those in flight, and asserts that no state remains.
    fn nothing_is_left(mut self) -> Result<(), TestCaseError> {
        while !self.waiters.is_empty() {
            self.leave(0);
        }
        while !self.held.is_empty() {
            self.answer(0, &Answer::Dropped);
        }
        while !self.open.is_empty() {
            self.close(0);
        }
        prop_assert_eq!(self.out(), 0);
        prop_assert!(self.inner.is_clean());
        Ok(())
    }
}

/// The longest delay of a poll.
const LATE: Duration = Duration::from_secs(1);

/// Times after now at which waiters are checked, in milliseconds.
const LATER: [u64; 24] = [
    0,
    1,
    10,
    100,
    250,
    500,
    1_000,
    2_000,
    3_000,
    5_000,
    10_000,
    20_000,
    30_000,
    60_000,
    61_000,
    90_000,
    120_000,
    300_000,
    1_800_000,
    3_600_000,
    3_700_000,
    7_300_000,
    90_000_000,
    200_000_000,
];

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::FillFirst),
        Just(Order::RoundRobin),
        Just(Order::LeastLoaded),
    ]
}

proptest! {
    #[test]
    fn no_waiter_is_forgotten_and_every_reservation_is_released(
        order in order(),
        longest_guess in duration(),
        count in 1..=4_usize,
        late in 0..5_u64,
        events in vec(event(), 1..60),
    ) {
        let mut world = World::new(order, longest_guess, &keys()[..count]);
        world.now += Duration::from_secs(10);
        for (number, event) in events.iter().enumerate() {
            let late = if number % 3 == 0 { late } else { 0 };
            world.happens(event, Duration::from_millis(late));
            world.no_waiter_is_forgotten()?;
        }
        world.nothing_is_left()?;
    }
}
