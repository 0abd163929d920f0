//! Which key, where several have room.

use std::time::Duration;

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::state::{Order, Want},
    },
    rejection::{Bucket, Dimension, Reason, Rejection},
};

#[test]
fn a_key_that_is_to_be_probed_has_room_for_one_and_so_less_than_others() {
    let secs = Duration::from_secs;
    let mut world = World::new(Order::LeastLoaded, secs(60), &["a", "b"].map(Key::new));
    let told = Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(100),
        remaining: Some(50),
        reset: Some(secs(3_600)),
    };
    let want = Want::default();
    let ids = [0, 1].map(|index| world.desk.state.keys()[index].id);
    for id in ids {
        while world.held.last().is_none_or(|loan| loan.id != id) {
            world.take_anyway(&want, world.now);
        }
    }
    let of = |world: &World, id| world.held.iter().position(|loan| loan.id == id).unwrap();
    let index = of(&world, ids[0]);
    world.answer(index, &Answer::Success(vec![told]));
    let index = of(&world, ids[1]);
    let rejected = Rejection::new(Reason::KeyRejected);
    world.answer(index, &Answer::Rejection(rejected, vec![]));
    while !world.held.is_empty() {
        world.answer(0, &Answer::Failed);
    }
    world.now += secs(61);
    let state = &mut world.desk.state;
    let chosen = (0..1_000).map(|_| state.choose(&want, world.now).unwrap());
    let probes = chosen.filter(|index| *index == 1).count();
    // Only where it is drawn twice.
    assert!((150..350).contains(&probes), "{probes} of a thousand");
}
