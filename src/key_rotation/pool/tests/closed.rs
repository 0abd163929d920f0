//! The cached state of a large pool in which all keys are closed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::world::{Answer, World};
use crate::{
    key_rotation::{
        Key,
        pool::{
            choice::KeyRequest,
            closed::LARGE,
            exhausted::Exhausted,
            keys::{Keys, Order},
        },
    },
    quota::timing::REJECTION_LATENCY,
    rejection::{Reason, Rejection},
};

/// The chosen key, or when the first one opens.
type Found = Result<usize, (bool, Option<(bool, Instant)>, Option<Instant>)>;

fn found(chosen: Result<usize, Exhausted>) -> Found {
    chosen.map_err(|exhausted| {
        let free_at = exhausted.forecast().free_at;
        let first = exhausted.first.map(|(is_checked, at, _)| (is_checked, at));
        (exhausted.is_busy(), first, free_at)
    })
}

/// Chooses a key with the cached state, and also without it.
fn choose_both(keys: &mut Keys, request: &KeyRequest, now: Instant) -> [Found; 2] {
    let mut uncached = keys.clone();
    uncached.limits.closed.forget();
    [keys, &mut uncached].map(|keys| {
        let model = keys.limits.slot(request.model.as_ref(), now);
        found(keys.choose(request, model, now))
    })
}

/// Returns whether the times differ only by as much as a probe of another key can move them when it begins or ends.
fn is_soon(cached: &Found, found: &Found, now: Instant) -> bool {
    let at = |found: &Found| found.as_ref().map_or_else(|it| it.2, |_| Some(now));
    match (at(cached), at(found)) {
        (Some(one), Some(other)) => {
            let (one, other) = (one.max(now), other.max(now));
            one.max(other) - one.min(other) <= REJECTION_LATENCY
        }
        _ => false,
    }
}

fn rejection(random: &mut fastrand::Rng) -> Rejection {
    let reason = match random.u8(..10) {
        0 => Reason::KeyRejected,
        _ => Reason::RateLimited,
    };
    Rejection {
        retry_after: Some(Duration::from_secs(random.u64(10..200))),
        ..Rejection::new(reason)
    }
}

#[test]
fn cached_choice_in_a_large_pool_equals_a_full_search() {
    let mut cached = 0;
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let order = [Order::FillFirst, Order::RoundRobin][seed as usize % 2];
        let keys: Vec<_> = (0..LARGE + 6).map(|n| Key::new(n.to_string())).collect();
        let mut world = World::new(order, Duration::from_secs(60), &keys);
        for step in 0..2_000 {
            let model = match random.u8(..4) {
                0 => None,
                other => Some(Arc::from(["large", "small"][usize::from(other % 2)])),
            };
            let request = KeyRequest {
                model,
                ..KeyRequest::default()
            };
            let now = world.now;
            let [one, other] = choose_both(world.keys(), &request, now);
            assert!(
                one == other || is_soon(&one, &other, now),
                "seed {seed}, step {step}: {one:?}, not {other:?}"
            );
            let has_none = world.held.is_empty();
            match random.u8(..20) {
                0 if !has_none => world.answer(0, &Answer::Failed),
                1 if step > 1_000 && !has_none => world.answer(0, &Answer::Success(Vec::new())),
                2 => world.now += Duration::from_millis(random.u64(..900)),
                3 => world.now += Duration::from_secs(random.u64(..3)),
                4 if random.u8(..20) == 0 => world.replace(random.usize(..), Key::new("new")),
                5..=13 if !has_none => {
                    let index = random.usize(..world.held.len());
                    let answer = Answer::Rejection(rejection(&mut random), Vec::new());
                    world.answer(index, &answer);
                }
                _ => world.take_anyway(&request, now),
            }
            let slot = world.keys().limits.slot(request.model.as_ref(), now);
            let closed = &mut world.keys().limits.closed;
            cached += u32::from(closed.clone().take(slot).is_some());
        }
    }
    assert!(cached > 1_000, "{cached}");
}
