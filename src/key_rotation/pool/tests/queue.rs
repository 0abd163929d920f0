//! Which waiters are woken, and when.

use std::time::Duration;

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::{
            choice::KeyRequest,
            ids::KeyId,
            keys::{KeyReservation, Order},
        },
    },
    quota::{Demand, Prospect, QueuePlace, Share},
    rejection::{Bucket, Dimension, Reason, Rejection},
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Returns a pool of one key. The provider has reported this remainder, but not when the window ends.
fn one_key(left: u64) -> World {
    let mut world = World::new(Order::FillFirst, secs(60), &[Key::new("a")]);
    world.take_anyway(&KeyRequest::default(), world.now);
    let report = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(left),
        reset: None,
        cost: None,
    };
    world.answer(0, &Answer::Success(vec![report]));
    world
}

#[test]
fn all_waiters_are_woken_if_the_wait_becomes_long() {
    let mut world = one_key(1);
    assert!(world.take_in_turn(&KeyRequest::default(), world.now));
    for _ in 0..3 {
        world.join(KeyRequest::default(), QueuePlace::New);
    }
    let alarms = |world: &World| {
        world
            .waiters
            .iter()
            .map(|waiter| waiter.alarm)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        alarms(&world),
        [None; 3],
        "only a response can open the key"
    );
    let hint = Rejection {
        retry_after: Some(secs(600)),
        ..Rejection::new(Reason::RateLimited)
    };
    world.answer(0, &Answer::Rejection(hint, vec![]));
    assert!(world.waiters.iter().all(|waiter| waiter.is_woken()));
}

#[test]
fn busy_key_that_is_removed_is_not_reserved() {
    let mut world = one_key(1);
    world.add(Key::new("b"));
    let request = KeyRequest::default();
    while world.take_in_turn(&request, world.now) {}
    let now = world.now;
    let exhausted = world.keys().reserve(&request, now).unwrap_err();
    assert!(exhausted.is_busy());
    world.remove(1);
    world.remove(0);
    let reservation = world.keys().reserve_anyway(&exhausted, &request, now);
    assert!(world.contains(&reservation.expect("another key")));
}

#[test]
fn sessions_wait_in_one_class_per_key_however_many_they_are() {
    let keys = ["a", "b", "c"].map(Key::new);
    let mut world = World::new(Order::FillFirst, secs(60), &keys);
    while world.take_in_turn(&KeyRequest::default(), world.now) {}
    for session in 0..1_000 {
        world.join(of_session(session), QueuePlace::New);
    }
    assert_eq!(world.inner.lines(), 3);
}

fn of_session(session: u64) -> KeyRequest {
    KeyRequest {
        session: Some(session),
        ..KeyRequest::default()
    }
}

/// Returns a pool of two busy keys, and the key that session 0 prefers.
fn two_busy_keys() -> (World, KeyId) {
    let keys = ["a", "b"].map(Key::new);
    let mut world = World::new(Order::FillFirst, secs(60), &keys);
    let now = world.now;
    let preferred = world.keys().choose(&of_session(0), None, now).unwrap();
    let preferred = world.keys().entries[preferred].info.id();
    while world.take_in_turn(&KeyRequest::default(), now) {}
    (world, preferred)
}

fn hold_of(world: &World, is_preferred: bool, preferred: KeyId) -> usize {
    let mut held = world.held.iter();
    let is = |id| (id == preferred) == is_preferred;
    held.position(|it| is(it.candidate.id())).unwrap()
}

#[test]
fn waiting_session_takes_another_key_if_its_own_closes() {
    let (mut world, preferred) = two_busy_keys();
    world.join(of_session(0), QueuePlace::New);
    let hint = Rejection {
        retry_after: Some(secs(600)),
        ..Rejection::new(Reason::RateLimited)
    };
    let rejected = hold_of(&world, true, preferred);
    world.answer(rejected, &Answer::Rejection(hint, vec![]));
    let other = hold_of(&world, false, preferred);
    world.answer(other, &Answer::Success(vec![]));
    world.poll_due();
    assert!(world.waiters.is_empty(), "the other key has capacity");
    assert_ne!(world.held.last().unwrap().candidate.id(), preferred);
}

#[test]
fn waiting_session_prefers_its_key_for_a_second() {
    let (mut world, preferred) = two_busy_keys();
    let two_left = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(2),
        reset: Some(secs(600)),
        cost: None,
    };
    // The remainder of the preferred key is in flight. The other key has a large remainder.
    world.take_anyway(&of_session(0), world.now);
    for is_preferred in [true, false] {
        let index = hold_of(&world, is_preferred, preferred);
        let remaining = if is_preferred { 2 } else { 50 };
        let bucket = Bucket {
            remaining: Some(remaining),
            ..two_left
        };
        world.answer(index, &Answer::Success(vec![bucket]));
    }
    let began = world.now;
    world.join(of_session(0), QueuePlace::New);
    while let Some(waiter) = world.waiters.first() {
        world.now = waiter.alarm.unwrap();
        world.poll_due();
    }
    assert_ne!(world.held.last().unwrap().candidate.id(), preferred);
    assert_eq!(world.now - began, secs(1));
}

#[test]
fn waiting_session_gets_its_key_if_all_keys_open_together() {
    for session in 0..8 {
        let keys = ["a", "b", "c"].map(Key::new);
        let mut world = World::new(Order::FillFirst, secs(60), &keys);
        let now = world.now;
        let preferred = world.keys().choose(&of_session(session), None, now);
        let preferred = world.keys().entries[preferred.unwrap()].info.id();
        for label in ["key-1", "key-2", "key-3"] {
            world.take_anyway(&pinned(label), now);
            let hint = Rejection {
                retry_after: Some(secs(10)),
                ..Rejection::new(Reason::RateLimited)
            };
            world.answer(0, &Answer::Rejection(hint, vec![]));
        }
        world.join(of_session(session), QueuePlace::New);
        world.now += secs(20);
        world.poll_due();
        assert_eq!(world.held[0].candidate.id(), preferred, "{session}");
    }
}

fn pinned(label: &str) -> KeyRequest {
    KeyRequest {
        pinned: Some(label.into()),
        ..KeyRequest::default()
    }
}

#[test]
fn pinned_calls_wait_in_their_own_class_and_get_no_other_key() {
    let keys = ["a", "b"].map(Key::new);
    let mut world = World::new(Order::FillFirst, secs(60), &keys);
    while world.take_in_turn(&KeyRequest::default(), world.now) {}
    let is_of = |label: &str, held: &KeyReservation| **held.candidate.label() == *label;
    let first_of = |world: &World, label: &str| {
        let mut held = world.held.iter();
        held.position(|held| is_of(label, held)).expect(label)
    };
    world.join(pinned("key-2"), QueuePlace::New);
    world.join(KeyRequest::default(), QueuePlace::New);
    assert_eq!(world.inner.lines(), 2);
    let index = first_of(&world, "key-1");
    world.answer(index, &Answer::Success(vec![]));
    world.poll_due();
    assert_eq!(world.waiters.len(), 1, "the call behind it takes the key");
    assert!(is_of("key-1", world.held.last().unwrap()));
    let index = first_of(&world, "key-2");
    world.answer(index, &Answer::Success(vec![]));
    world.poll_due();
    assert!(world.waiters.is_empty());
    assert!(is_of("key-2", world.held.last().unwrap()));
}

#[test]
fn pinned_call_does_not_change_the_key_in_use() {
    for order in [Order::FillFirst, Order::RoundRobin, Order::LeastLoaded] {
        let mut world = World::new(order, secs(60), &["a", "b", "c"].map(Key::new));
        world.take_anyway(&pinned("key-2"), world.now);
        assert_eq!(&**world.held[0].candidate.label(), "key-2");
        assert_eq!(world.keys().current, 0);
    }
}

#[test]
fn no_key_is_reserved_for_a_call_whose_key_was_removed() {
    let mut world = World::new(Order::FillFirst, secs(60), &["a", "b"].map(Key::new));
    let (request, now) = (pinned("key-1"), world.now);
    while world.take_in_turn(&request, now) {}
    let exhausted = world.keys().reserve(&request, now).unwrap_err();
    assert!(exhausted.is_busy() && !exhausted.is_pin_lost());
    world.remove(0);
    let reserved = world.keys().reserve_anyway(&exhausted, &request, now);
    assert!(reserved.is_none());
    let exhausted = world.keys().reserve(&request, now).unwrap_err();
    assert!(exhausted.is_pin_lost());
    assert_eq!(exhausted.forecast().prospect, Prospect::Never);
}

#[test]
fn limits_of_a_group_are_forgotten_with_its_last_key() {
    let grouped = |key: &str| Key::new(key).group("a");
    let mut world = World::new(Order::RoundRobin, secs(60), &[grouped("a1"), grouped("a2")]);
    world.add(Key::new("b"));
    let request = KeyRequest {
        model: Some("m".into()),
        ..KeyRequest::default()
    };
    for _ in 0..3 {
        assert!(world.take_in_turn(&request, world.now));
        world.answer(0, &Answer::Success(vec![]));
    }
    let known = |world: &World| world.inner.candidates.limits.known_groups();
    assert_eq!(
        known(&world),
        4,
        "of two groups, for all models and for one"
    );
    world.remove(0);
    assert_eq!(known(&world), 4);
    world.remove(0);
    assert_eq!(known(&world), 2);
    world.replace(0, Key::new("c"));
    assert_eq!(known(&world), 0);
}

fn background() -> KeyRequest {
    KeyRequest {
        demand: Demand::default().in_background(Share::new(0.1)),
        ..KeyRequest::default()
    }
}

/// Makes the provider report this remainder of 100 for a minute.
fn report_left(world: &mut World, index: usize, left: u64) {
    let report = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(left),
        reset: Some(secs(60)),
        cost: None,
    };
    world.answer(index, &Answer::Success(vec![report]));
}

#[test]
fn background_calls_leave_the_last_tenth_to_interactive_ones() {
    let mut world = one_key(50);
    // Old use by interactive calls no longer counts as expected use.
    world.now += secs(120);
    world.take_anyway(&background(), world.now);
    report_left(&mut world, 0, 12);
    let taken = |world: &mut World, request: &KeyRequest| {
        (0..100)
            .take_while(|_| world.take_in_turn(request, world.now))
            .count()
    };
    assert_eq!(taken(&mut world, &background()), 2);
    assert_eq!(taken(&mut world, &KeyRequest::default()), 10);
}

#[test]
fn interactive_call_goes_before_background_calls_that_wait() {
    let mut world = one_key(50);
    world.take_anyway(&KeyRequest::default(), world.now);
    report_left(&mut world, 0, 2);
    for _ in 0..3 {
        assert!(!world.take_in_turn(&background(), world.now));
        world.join(background(), QueuePlace::New);
    }
    assert_eq!(world.waiters.len(), 3);
    assert!(world.take_in_turn(&KeyRequest::default(), world.now));
    assert!(world.take_in_turn(&KeyRequest::default(), world.now));
    assert!(!world.take_in_turn(&KeyRequest::default(), world.now));
    world.join(KeyRequest::default(), QueuePlace::New);
    // In the next window, the interactive one of four waiting calls goes first.
    world.now += secs(60);
    world.poll_due();
    let first = world.held.get(2).expect("a call that was served");
    assert!(!first.demand().is_background());
}

#[test]
fn background_calls_use_the_rest_of_a_window_before_it_ends() {
    let mut world = one_key(50);
    world.take_anyway(&KeyRequest::default(), world.now);
    report_left(&mut world, 0, 5);
    world.join(background(), QueuePlace::New);
    let began = world.now;
    while let Some(waiter) = world.waiters.first() {
        world.now = waiter.alarm.expect("it polls again");
        world.poll_due();
    }
    let waited = world.now - began;
    assert!((secs(25)..secs(40)).contains(&waited), "{waited:?}");
}
