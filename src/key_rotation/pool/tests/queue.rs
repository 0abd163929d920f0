//! Who is told what, and when.

use std::time::Duration;

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::state::{Order, Want},
    },
    refusal::{Bucket, Dimension, Reason, Refusal},
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
    let hint = Refusal {
        retry_after: Some(secs(600)),
        ..Refusal::new(Reason::RateLimited)
    };
    world.answer(0, &Answer::Refusal(hint, vec![]));
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
