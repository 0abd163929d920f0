//! Who is told what, and when.

use std::{cmp::Reverse, time::Duration};

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::state::{KeyId, Order, Want, score},
    },
    rejection::{Bucket, Dimension, Reason, Rejection, Scope},
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// One key, of which the provider has said that so much is left, but not for how long.
fn one_key(left: u64) -> World {
    let mut world = World::new(Order::Sticky, secs(60), &[Key::new("a")]);
    world.take_anyway(&Want::default(), world.now);
    let told = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(left),
        reset: None,
    };
    world.answer(0, &Answer::Success(vec![told]));
    world
}

#[test]
fn all_who_wait_are_told_when_an_answer_says_that_they_wait_for_long() {
    let mut world = one_key(1);
    assert!(world.take_in_turn(&Want::default(), world.now));
    for _ in 0..3 {
        world.join(Want::default(), false);
    }
    let alarms = |world: &World| {
        world
            .waiters
            .iter()
            .map(|waiter| waiter.alarm)
            .collect::<Vec<_>>()
    };
    assert_eq!(alarms(&world), [None; 3], "only an answer can tell");
    let hint = Rejection {
        retry_after: Some(secs(600)),
        ..Rejection::new(Reason::RateLimited)
    };
    world.answer(0, &Answer::Rejection(hint, vec![]));
    assert!(world.waiters.iter().all(|waiter| waiter.is_woken()));
}

#[test]
fn a_key_that_was_busy_and_is_removed_is_not_taken() {
    let mut world = one_key(1);
    world.add(Key::new("b"));
    let want = Want::default();
    while world.take_in_turn(&want, world.now) {}
    let exhausted = world
        .desk
        .state
        .take(&want, world.now)
        .map(|_| ())
        .unwrap_err();
    assert!(exhausted.is_busy());
    world.remove(1);
    world.remove(0);
    let (loan, _) = world.desk.state.take_anyway(&exhausted, &want, world.now);
    assert!(world.desk.state.entry_of(&loan).is_some());
}

#[test]
fn sessions_wait_in_as_many_lines_as_there_are_keys_however_many_they_are() {
    let keys = ["a", "b", "c"].map(Key::new);
    let mut world = World::new(Order::Sticky, secs(60), &keys);
    while world.take_in_turn(&Want::default(), world.now) {}
    for session in 0..1_000 {
        world.join(of_session(session), false);
    }
    assert_eq!(world.desk.state.queue.lines(), 3);
}

fn of_session(session: u64) -> Want {
    Want {
        session: Some(session),
        ..Want::default()
    }
}

#[test]
fn a_session_that_waits_goes_to_another_key_when_its_own_closes_and_back_when_that_opens() {
    let keys = ["a", "b"].map(Key::new);
    let mut world = World::new(Order::Sticky, secs(60), &keys);
    let own = world.desk.state.choose(&of_session(0), world.now).unwrap();
    let own = world.desk.state.keys()[own].id;
    // Enough are out with both.
    while world.take_in_turn(&Want::default(), world.now) {}
    let waits_for = |world: &World| {
        world
            .desk
            .state
            .queue
            .own(world.waiters[0].id, &of_session(0))
    };
    world.join(of_session(0), false);
    assert_eq!(waits_for(&world), Some(own));
    let of_own = |world: &World| world.held.iter().position(|loan| loan.id == own);
    let hint = Rejection {
        retry_after: Some(Duration::from_millis(100)),
        ..Rejection::new(Reason::RateLimited)
    };
    let refused = of_own(&world).unwrap();
    world.answer(refused, &Answer::Rejection(hint, vec![]));
    assert!(waits_for(&world).is_some_and(|other| other != own));
    world.look_due();
    // Before more may go out with the other.
    while let Some(waiter) = world.waiters.first() {
        world.now = waiter.alarm.unwrap();
        world.look_due();
    }
    assert_eq!(world.held.last().unwrap().id, own);
}

#[test]
fn what_is_known_of_a_group_is_forgotten_with_its_last_key() {
    let grouped = |key: &str| Key::new(key).group("a");
    let mut world = World::new(Order::RoundRobin, secs(60), &[grouped("a1"), grouped("a2")]);
    world.add(Key::new("b"));
    let want = Want {
        model: Some("m".into()),
        ..Want::default()
    };
    for _ in 0..3 {
        assert!(world.take_in_turn(&want, world.now));
        world.answer(0, &Answer::Success(vec![]));
    }
    let known = |world: &World| world.desk.state.known_groups();
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

#[test]
fn who_comes_back_into_a_line_as_its_first_looks_in_time() {
    let keys = ["a", "b", "c"].map(Key::new);
    let mut world = World::new(Order::Sticky, secs(60), &keys);
    let ids: Vec<_> = world
        .desk
        .state
        .keys()
        .iter()
        .map(|entry| entry.id)
        .collect();
    let prefers = |order: [KeyId; 2]| {
        let mut sessions = 0..;
        let found = sessions.find(|session| {
            let mut ids = ids.clone();
            ids.sort_by_key(|id| Reverse(score(*session, *id)));
            ids[..2] == order
        });
        found.unwrap()
    };
    let (who_returns, other) = (prefers([ids[2], ids[0]]), prefers([ids[0], ids[2]]));
    let limited = |millis| Rejection {
        retry_after: Some(Duration::from_millis(millis)),
        scope: Some(Scope::Key),
        ..Rejection::new(Reason::RateLimited)
    };
    let two_left = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(2),
        reset: None,
    };
    // The third key: what is left is in flight, so that only an answer can tell of more; then it closes.
    world.take_anyway(&of_session(who_returns), world.now);
    world.answer(0, &Answer::Success(vec![two_left]));
    for _ in 0..3 {
        world.take_anyway(&of_session(who_returns), world.now);
    }
    world.answer(0, &Answer::Rejection(limited(1_000), vec![]));
    // The first key starts slowly: it is full, and takes more each 250 ms.
    for _ in 0..40 {
        world.take_anyway(&of_session(other), world.now);
    }
    let opens = world.now + secs(1);
    world.join(of_session(who_returns), false);
    world.join(of_session(other), false);
    let alarm = |world: &World| world.waiters.iter().filter_map(|waiter| waiter.alarm).min();
    while let Some(next) = alarm(&world).filter(|at| *at < opens) {
        world.now = next;
        world.look_due();
    }
    // The third key opens, and who prefers it waits for it; then it is refused once more.
    world.now = opens;
    world.look(0, opens);
    let third = ids[2];
    let of_third = world.held.iter().position(|loan| loan.id == third);
    let refused = Answer::Rejection(limited(50_000), vec![]);
    world.answer(of_third.unwrap(), &refused);
    // The other, who is to look, is dropped before it does.
    world.leave(1);
    let later = opens + secs(2);
    let waiter = &world.waiters[0];
    let looks = waiter.is_woken() || waiter.alarm.is_some_and(|at| at <= later);
    assert!(world.desk.state.clone().choose(&waiter.want, later).is_ok());
    assert!(looks, "there is a key by then");
}
