#![allow(clippy::disallowed_methods)]

use std::{task::Waker, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    quota::{MAX_ENTRIES, Prospect, QueuePlace, WaiterId},
    rejection::Reason,
};

const ID: LimitId = LimitId(1);
const TURN: WaitsFor = WaitsFor::Turn(ID);

struct World {
    inner: Inner<CredentialLimits>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            inner: Inner::new(CredentialLimits::new(1)),
            now: Instant::now(),
        }
    }

    /// Reserves capacity, or returns a forecast.
    fn reserve(&mut self) -> Result<LimitReservation, Forecast> {
        let mut reservation = reserve_in_turn(&mut self.inner, ID, Demand::default(), self.now)?;
        self.inner.mark_sent(&mut reservation, self.now);
        Ok(reservation)
    }

    fn reject(&mut self, reservation: &LimitReservation, hint: Option<u64>) {
        let rejection = Rejection {
            retry_after: hint.map(Duration::from_secs),
            ..Rejection::new(Reason::RateLimited)
        };
        let (when, guess) = ((reservation.sent, self.now), Duration::from_secs(60));
        let limits = &mut self.inner.candidates;
        limits.rejected(
            reservation.scope,
            &rejection,
            (Cost::default(), &[]),
            when,
            guess,
        );
        self.inner.release(reservation, false, self.now);
    }

    fn succeed(&mut self, reservation: &LimitReservation) {
        let when = (reservation.sent, self.now);
        let limits = &mut self.inner.candidates;
        limits.succeeded(reservation.scope, (Cost::default(), &[]), when);
        self.inner.release(reservation, false, self.now);
    }

    fn enqueue(&mut self, place: QueuePlace) -> WaiterId {
        let place = (place, Demand::default());
        self.inner.enqueue(&TURN, place, self.now)
    }

    fn poll(&mut self, id: WaiterId) -> Result<LimitReservation, Forecast> {
        let polled = self.inner.poll(id, &TURN, Waker::noop(), self.now);
        polled.map(|(mut reservation, _)| {
            self.inner.mark_sent(&mut reservation, self.now);
            reservation
        })
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

#[test]
fn call_alone_is_delayed_by_a_hint_and_not_by_a_guess() {
    for (hint, is_held) in [(None, false), (Some(5), true)] {
        let mut world = World::new();
        let first = world.reserve().unwrap();
        world.reject(&first, hint);
        assert_eq!(world.reserve().is_err(), is_held);
    }
}

#[test]
fn call_beside_another_is_delayed_by_a_guess() {
    let mut world = World::new();
    let first = world.reserve().unwrap();
    let _second = world.reserve().unwrap();
    world.reject(&first, None);
    let held = world.reserve().unwrap_err();
    let end = world.now + Duration::from_secs(1);
    assert_eq!(held.prospect, Prospect::At(end));
}

#[test]
fn call_in_its_own_delay_is_counted_and_never_served() {
    let mut world = World::new();
    let first = world.reserve().unwrap();
    world.reject(&first, None);
    let now = world.now;
    let own = WaitsFor::OwnDelay(ID);
    let delayed = world
        .inner
        .enqueue(&own, (QueuePlace::New, Demand::default()), now);
    assert_eq!(count_present(&world.inner, ID), 1);
    assert!(world.reserve().is_err());
    world.wait(60_000);
    let polled = world.inner.poll(delayed, &own, Waker::noop(), world.now);
    assert!(polled.is_err());
    assert!(world.reserve().is_ok());
}

#[test]
fn calls_that_wait_are_not_overtaken() {
    let mut world = World::new();
    let sent: Vec<_> = (0..FIRST_BURST).map(|_| world.reserve().unwrap()).collect();
    assert!(world.reserve().is_err(), "the first burst was sent");
    let waiting = world.enqueue(QueuePlace::New);
    assert!(world.poll(waiting).is_err());
    world.succeed(&sent[0]);
    assert!(
        world.reserve().is_err(),
        "the free capacity belongs to the waiter"
    );
    assert!(world.poll(waiting).is_ok());
}

#[test]
fn call_that_can_be_sent_by_now_is_not_overtaken_before_it_polls() {
    let mut world = World::new();
    let _sent: Vec<_> = (0..FIRST_BURST).map(|_| world.reserve().unwrap()).collect();
    let waiting = world.enqueue(QueuePlace::New);
    assert!(world.poll(waiting).is_err());
    world.wait(250);
    assert!(world.reserve().is_err(), "one call waits");
    assert!(world.poll(waiting).is_ok());
    assert!(world.reserve().is_ok());
}

#[test]
fn first_burst_doubles_with_time_until_a_rejection() {
    let mut world = World::new();
    let mut out = 0;
    for _ in 0..4 {
        while world.reserve().is_ok() {
            out += 1;
        }
        world.wait(250);
    }
    assert_eq!(out, FIRST_BURST * 8);
}

#[test]
fn rejected_call_goes_first_except_before_a_probe() {
    let mut world = World::new();
    let first = world.reserve().unwrap();
    let second = world.reserve().unwrap();
    world.reject(&first, Some(5));
    let new: Vec<_> = (0..6).map(|_| world.enqueue(QueuePlace::New)).collect();
    let again = world.enqueue(QueuePlace::Again);
    let kept = world.enqueue(QueuePlace::Kept(new[2]));
    assert_eq!(kept, new[2]);
    let behind = world.enqueue(QueuePlace::Behind(2));
    let mut order = [&new[..], &[again, behind]].concat();
    order.sort_unstable();
    let expected = [&[again, new[0], behind], &new[1..]].concat();
    assert_eq!(order, expected);
    let other = world.enqueue(QueuePlace::Behind(9));
    assert!(order.iter().all(|id| *id < other));
    assert_ne!(world.enqueue(QueuePlace::Behind(2)), behind);
    world.succeed(&second);
}

#[test]
fn limits_are_bounded_though_each_is_limited() {
    let mut world = World::new();
    for number in 0..MAX_ENTRIES + 10 {
        world.wait(1);
        let limits = &mut world.inner.candidates;
        let reservation =
            limits.reserve_anyway(LimitId(number as u64), Demand::default(), world.now);
        world.reject(&reservation, Some(60));
    }
    let known = world.inner.candidates.limits.iter().count();
    assert_eq!(known, MAX_ENTRIES);
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Join,
    Leave(usize),
    Succeed(usize),
    Reject(usize, Option<u64>),
    Abandon(usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let index = 0..64_usize;
    prop_oneof![
        4 => Just(Event::Join),
        1 => index.clone().prop_map(Event::Leave),
        2 => index.clone().prop_map(Event::Succeed),
        2 => (index.clone(), proptest::option::of(0..9_u64))
            .prop_map(|(index, hint)| Event::Reject(index, hint)),
        1 => index.prop_map(Event::Abandon),
        3 => (0..5_000_u64).prop_map(Event::Wait),
    ]
}

fn pick<T>(from: &mut Vec<T>, index: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(index % from.len()))
}

proptest! {
    #[test]
    fn every_waiter_is_served_once_requests_pass(events in prop::collection::vec(event(), 1..80)) {
        let mut world = World::new();
        let (mut waiting, mut sent) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Join => match world.reserve() {
                    Ok(reservation) => sent.push(reservation),
                    Err(_) => waiting.push(world.enqueue(QueuePlace::New)),
                },
                Event::Leave(index) => if let Some(id) = pick(&mut waiting, index) {
                    world.inner.leave(id, &TURN, world.now);
                },
                Event::Succeed(index) => if let Some(it) = pick(&mut sent, index) {
                    world.succeed(&it);
                },
                Event::Reject(index, hint) => if let Some(it) = pick(&mut sent, index) {
                    world.reject(&it, hint);
                    waiting.push(world.enqueue(QueuePlace::Again));
                },
                Event::Abandon(index) => if let Some(it) = pick(&mut sent, index) {
                    world.inner.release(&it, true, world.now);
                },
                Event::Wait(millis) => world.wait(millis),
            }
            waiting.retain(|id| match world.poll(*id) {
                Ok(reservation) => {
                    sent.push(reservation);
                    false
                }
                Err(_) => true,
            });
        }
        for _ in 0..2_000 {
            sent.drain(..).for_each(|it| world.succeed(&it));
            world.wait(250);
            waiting.retain(|id| match world.poll(*id) {
                Ok(reservation) => {
                    sent.push(reservation);
                    false
                }
                Err(_) => true,
            });
        }
        prop_assert!(waiting.is_empty(), "{} wait forever", waiting.len());
        sent.drain(..).for_each(|it| world.succeed(&it));
        prop_assert!(world.inner.is_clean());
        prop_assert_eq!(count_present(&world.inner, ID), 0);
    }
}
