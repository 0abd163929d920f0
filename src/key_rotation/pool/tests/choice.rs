//! Which key is chosen if several have capacity.

use std::time::Duration;

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::{choice::KeyRequest, keys::Order},
    },
    rejection::{Bucket, Dimension, Reason, Rejection},
};

#[test]
fn key_that_needs_a_probe_has_less_capacity_than_others() {
    let secs = Duration::from_secs;
    let mut world = World::new(Order::LeastLoaded, secs(60), &["a", "b"].map(Key::new));
    let report = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(50),
        reset: Some(secs(3_600)),
        cost: None,
    };
    let request = KeyRequest::default();
    let ids = [0, 1].map(|index| world.keys().entries[index].info.id());
    for id in ids {
        while world
            .held
            .last()
            .is_none_or(|reservation| reservation.candidate.id() != id)
        {
            world.take_anyway(&request, world.now);
        }
    }
    let of = |world: &World, id| {
        world
            .held
            .iter()
            .position(|reservation| reservation.candidate.id() == id)
            .unwrap()
    };
    let index = of(&world, ids[0]);
    world.answer(index, &Answer::Success(vec![report]));
    let index = of(&world, ids[1]);
    let rejected = Rejection::new(Reason::KeyRejected);
    world.answer(index, &Answer::Rejection(rejected, vec![]));
    while !world.held.is_empty() {
        world.answer(0, &Answer::Failed);
    }
    world.now += secs(61);
    let now = world.now;
    let keys = world.keys();
    let chosen = (0..1_000).map(|_| keys.choose(&request, None, now).unwrap());
    let probes = chosen.filter(|index| *index == 1).count();
    // The key is used only if both draws choose it.
    assert!((150..350).contains(&probes), "{probes} of a thousand");
}
