//! A provider that counts per window and reports the remainder on every response. After a report the pool sends no more
//! than the provider allows.

use std::{collections::HashMap, time::Duration};

use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;

use super::world::{Answer, World, keys};
use crate::{
    key_rotation::pool::{choice::KeyRequest, ids::KeyId, keys::Order},
    quota::QueuePlace,
    rejection::{Bucket, Dimension, Reason, Rejection},
};

#[derive(Clone, Debug)]
enum Event {
    Call(Option<u64>),
    Answer(usize),
    Leave(usize),
    Pass(Duration),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => proptest::option::weighted(0.2, 0..3_u64).prop_map(Event::Call),
        8 => (0..64_usize).prop_map(Event::Answer),
        1 => (0..64_usize).prop_map(Event::Leave),
        4 => (0..2_500_u64).prop_map(|millis| Event::Pass(Duration::from_millis(millis))),
    ]
}

const WINDOW: Duration = Duration::from_secs(10);

struct Provider {
    start: Instant,
    limit: u64,
    /// By account and window: how many requests were admitted, and whether a response has reported that.
    windows: HashMap<(usize, u128), (u64, bool)>,
    /// The responses to the requests in flight, in the order of `World::held`.
    answers: Vec<((usize, u128), Answer)>,
    reports_on_rejections: bool,
    /// When the last request was sent to verify that nothing is left, and whether it was rejected.
    test: Option<(Instant, bool)>,
}

/// Returns the account of a key. The first two keys are in one group.
fn account(id: KeyId) -> usize {
    match id.number() {
        1 | 2 => 0,
        number => number as usize,
    }
}

impl Provider {
    /// Admits or rejects a request.
    fn send(&mut self, id: KeyId, at: Instant) -> Result<(), TestCaseError> {
        let since = at.saturating_duration_since(self.start).as_nanos();
        let window = (account(id), since / WINDOW.as_nanos());
        let rest = WINDOW.as_nanos() - since % WINDOW.as_nanos();
        let rest = Duration::from_nanos(u64::try_from(rest).expect("a short while"));
        let (admitted, reported) = self.windows.entry(window).or_default();
        let bucket = |left| Bucket {
            dimension: Dimension::Requests,
            window: None,
            scope: None,
            limit: Some(self.limit),
            remaining: Some(left),
            reset: Some(rest),
            cost: None,
        };
        let answer = if *admitted < self.limit {
            *admitted += 1;
            Answer::Success(vec![bucket(self.limit - *admitted)])
        } else {
            if *reported {
                let known = self.test.is_some_and(|(_, rejected)| rejected);
                prop_assert!(!known, "a rejection has already verified the report");
                let is_out = self
                    .test
                    .is_some_and(|(since, _)| at < since + Duration::from_secs(60));
                prop_assert!(!is_out, "another request already verifies the report");
                self.test = Some((at, false));
            }
            let rejection = Rejection {
                retry_after: Some(rest),
                ..Rejection::new(Reason::RateLimited)
            };
            let reported = self.reports_on_rejections.then(|| bucket(0));
            Answer::Rejection(rejection, reported.into_iter().collect())
        };
        self.answers.push((window, answer));
        Ok(())
    }
}

/// Sends the requests that were reserved since the last call.
fn send(world: &mut World, provider: &mut Provider) -> Result<(), TestCaseError> {
    while provider.answers.len() < world.held.len() {
        let reservation = &world.held[provider.answers.len()];
        let (id, at) = (reservation.candidate.id(), reservation.sent.max(world.now));
        world.now = at;
        provider.send(id, at)?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn pool_sends_no_more_than_the_provider_has_reported(
        order in prop_oneof![Just(Order::FillFirst), Just(Order::RoundRobin), Just(Order::LeastLoaded)],
        limit in 1..12_u64,
        count in 1..=4_usize,
        reports_on_rejections in any::<bool>(),
        events in vec(event(), 1..200),
    ) {
        let mut world = World::new(order, Duration::from_secs(60), &keys()[..count]);
        let mut provider = Provider {
            start: world.now,
            limit,
            windows: HashMap::new(),
            answers: Vec::new(),
            reports_on_rejections,
            test: None,
        };
        for event in &events {
            match event {
                Event::Call(session) => {
                    let request = KeyRequest { session: *session, ..KeyRequest::default() };
                    if !world.take_in_turn(&request, world.now) {
                        world.join(request, QueuePlace::New);
                    }
                }
                Event::Answer(index) if !world.held.is_empty() => {
                    let index = index % world.held.len();
                    let (window, answer) = provider.answers.swap_remove(index);
                    let is_test = provider.test.is_some_and(|(at, _)| at == world.held[index].sent);
                    match (&answer, &mut provider.test) {
                        (Answer::Success(_), _) => {
                            provider.windows.entry(window).or_default().1 = true;
                        }
                        (_, Some((_, refused))) if is_test => *refused = true,
                        _ => {}
                    }
                    world.answer(index, &answer);
                }
                Event::Leave(index) if !world.waiters.is_empty() => {
                    world.leave(index % world.waiters.len());
                }
                Event::Answer(_) | Event::Leave(_) => {}
                Event::Pass(time) => world.now += *time,
            }
            // Tasks that were woken run before the next response arrives.
            world.poll_due();
            send(&mut world, &mut provider)?;
        }
    }
}
