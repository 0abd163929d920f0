#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

use std::time::Duration;

use super::*;
use crate::request::Cost;

/// A queue of two classes, and the served waiters.
struct Dialogue {
    queue: WaitQueue<&'static str, Demand>,
    now: Instant,
}

impl Dialogue {
    fn new(floor: f64) -> Self {
        Self {
            queue: WaitQueue::new(Share::new(floor)),
            now: Instant::now(),
        }
    }

    fn join(&mut self, class: &'static str, place: QueuePlace, demand: Demand) -> WaiterId {
        self.queue.enqueue(&class, (place, demand), self.now)
    }

    /// Serves `count` waiters. Returns them in their order.
    fn serve(&mut self, mut count: usize) -> Vec<WaiterId> {
        let served = self.queue.serve(self.now, |_, waiting| match count {
            0 => Err(Forecast::default()),
            _ => {
                count -= 1;
                Ok(waiting.demand)
            }
        });
        served.into_iter().map(|(id, _)| id).collect()
    }

    /// Serves no waiter, because there is no capacity before `at`.
    fn fail_until(&mut self, at: Instant) {
        let served = self.queue.serve(self.now, |_, _| Err(Forecast::at(at)));
        assert!(served.is_empty());
    }

    /// Returns when a waiter of the first class polls again.
    fn poll(&mut self, id: WaiterId) -> Option<Instant> {
        let polled = self.queue.poll(id, &"a", Waker::noop());
        polled.unwrap_err().free_at
    }
}

fn background() -> Demand {
    Demand::default().in_background(Share::new(0.1))
}

#[test]
fn background_calls_wait_behind_all_interactive_ones_of_any_class() {
    let mut queue = Dialogue::new(0.0);
    let early = queue.join("a", QueuePlace::New, background());
    let back = queue.join("a", QueuePlace::Again, background());
    let other = queue.join("b", QueuePlace::New, background());
    let late = queue.join("b", QueuePlace::New, Demand::default());
    let last = queue.join("a", QueuePlace::New, Demand::default());
    assert_eq!(queue.serve(9), [late, last, back, early, other]);
    assert!(queue.queue.is_clean());
}

#[test]
fn places_are_kept_within_a_priority() {
    let mut queue = Dialogue::new(0.0);
    let user = queue.join("a", QueuePlace::New, Demand::default());
    let batch: Vec<_> = (0..4)
        .map(|_| queue.join("a", QueuePlace::New, background()))
        .collect();
    let behind = queue.join("a", QueuePlace::Behind(2), background());
    assert_eq!(queue.queue.remove(batch[0], &"a"), None);
    let kept = queue.join("a", QueuePlace::Kept(batch[0]), background());
    assert_eq!(kept, batch[0]);
    let expected = [user, batch[0], batch[1], behind, batch[2], batch[3]];
    assert_eq!(queue.serve(9), expected);
}

#[test]
fn interactive_calls_do_not_wait_behind_background_calls() {
    let mut queue = Dialogue::new(0.05);
    let id = queue.join("a", QueuePlace::New, background());
    assert!(!queue.queue.has_before(false));
    assert!(queue.queue.has_before(true));
    assert_eq!(queue.queue.waiting(&"a", false), 0);
    assert_eq!(queue.queue.waiting(&"a", true), 1);
    queue.join("b", QueuePlace::New, Demand::default());
    assert!(queue.queue.has_before(false));
    queue.queue.remove(id, &"a");
    assert_eq!(queue.queue.len(), 1);
}

#[test]
fn every_twentieth_grant_goes_to_a_background_call() {
    let mut queue = Dialogue::new(0.05);
    for _ in 0..3 {
        queue.join("batch", QueuePlace::New, background());
    }
    for _ in 0..100 {
        queue.join("users", QueuePlace::New, Demand::default());
    }
    let mut served = Vec::new();
    for _ in 0..60 {
        served.extend(queue.serve(1));
    }
    let numbers = (1..).zip(served);
    let of_batch = numbers.filter(|(_, id)| id.is_background);
    let numbers: Vec<_> = of_batch.map(|(number, _)| number).collect();
    assert_eq!(numbers, [20, 40, 60]);
}

#[test]
fn floor_grants_ignore_the_reserve_and_other_grants_respect_it() {
    let mut queue = Dialogue::new(0.5);
    for _ in 0..3 {
        queue.join("users", QueuePlace::New, Demand::default());
        queue.join("batch", QueuePlace::New, background());
    }
    let now = queue.now;
    let served = queue.queue.serve(now, |_, waiting| Ok(waiting.demand));
    let reserves: Vec<_> = served
        .into_iter()
        .map(|(id, demand)| (id.is_background, demand.reserve().is_some()))
        .collect();
    let (user, by_floor) = ((false, false), (true, false));
    assert_eq!(reserves, [user, by_floor, user, by_floor, user, by_floor]);
    queue.join("batch", QueuePlace::New, background());
    let served = queue.queue.serve(now, |_, waiting| Ok(waiting.demand));
    assert!(served.iter().all(|(_, demand)| demand.reserve().is_some()));
}

#[test]
fn interactive_calls_continue_if_the_background_call_does_not_fit() {
    let mut queue = Dialogue::new(0.5);
    let large = Demand::new(Cost::new(1_000, 0)).in_background(Share::new(0.1));
    queue.join("batch", QueuePlace::New, large);
    for _ in 0..9 {
        queue.join("users", QueuePlace::New, Demand::default());
    }
    let now = queue.now;
    let served = queue
        .queue
        .serve(now, |_, waiting| match waiting.demand.is_background() {
            true => Err(Forecast::default()),
            false => Ok(waiting.demand),
        });
    assert_eq!(served.len(), 9);
    assert_eq!(queue.queue.waiting(&"batch", true), 1);
}

#[test]
fn no_grant_is_due_to_background_calls_that_arrived_later() {
    let mut queue = Dialogue::new(0.05);
    for _ in 0..50 {
        queue.join("users", QueuePlace::New, Demand::default());
    }
    queue.serve(30);
    let batch = queue.join("batch", QueuePlace::New, background());
    assert!(!queue.serve(19).contains(&batch));
    assert_eq!(queue.serve(1), [batch]);
}

#[test]
fn only_the_head_is_due_when_there_may_be_capacity() {
    let mut queue = Dialogue::new(0.0);
    let [head, second] = [(); 2].map(|()| queue.join("a", QueuePlace::New, Demand::default()));
    let at = queue.now + Duration::from_secs(1);
    queue.fail_until(at);
    let is_due = |id, now| queue.queue.is_due(id, &"a", now);
    assert!(!is_due(head, queue.now));
    assert!(is_due(head, at));
    assert!(!is_due(second, at));
    assert!(is_due(second, at + HEAD_TIMEOUT), "the head did not poll");
}

#[test]
fn call_that_is_the_head_again_is_woken_in_time() {
    let mut queue = Dialogue::new(0.0);
    let head = queue.join("a", QueuePlace::New, Demand::default());
    let at = queue.now + Duration::from_secs(1);
    queue.fail_until(at);
    assert_eq!(queue.poll(head), Some(at));
    let before = queue.join("a", QueuePlace::Again, Demand::default());
    assert_eq!(queue.poll(head), Some(at + HEAD_TIMEOUT));
    assert_eq!(queue.queue.remove(before, &"a"), None);
    queue.fail_until(at);
    assert_eq!(queue.queue.take_wakeups().woken.len(), 1);
    assert_eq!(queue.poll(head), Some(at));
    queue.fail_until(at);
    assert!(queue.queue.take_wakeups().woken.is_empty());
}
