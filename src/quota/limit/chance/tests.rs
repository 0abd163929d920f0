#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

use std::time::Duration;

use super::*;

/// Responses of one limit. Requests are sent every tenth of a second, and each response arrives immediately.
struct Responses {
    rejection_run: RejectionRun,
    chance: Chance,
    now: Instant,
}

// === impl Responses ===

impl Responses {
    fn new() -> Self {
        Self {
            rejection_run: RejectionRun::default(),
            chance: Chance::default(),
            now: Instant::now(),
        }
    }

    fn pass(&mut self) {
        self.now += Duration::from_millis(100);
        self.rejection_run.send(self.now);
        self.rejection_run
            .pass(&mut self.chance, self.now, self.now);
    }

    fn reject(&mut self) {
        self.now += Duration::from_millis(100);
        self.rejection_run.send(self.now);
        let when = (self.now, self.now);
        self.rejection_run
            .reject(&mut self.chance, when, (0, 0), FEW, None);
    }

    fn is_verdict(&self, least: u32) -> bool {
        self.rejection_run.is_verdict(&self.chance, least)
    }

    /// Rejects one of `one_in` requests.
    fn share(&mut self, one_in: u32, rounds: u32) {
        for _ in 0..rounds {
            self.reject();
            (1..one_in).for_each(|_| self.pass());
        }
    }

    /// Returns how many consecutive rejections are a verdict.
    fn run(mut self) -> u32 {
        for run in 1..=20 {
            self.reject();
            if self.is_verdict(1) {
                return run;
            }
        }
        panic!("twenty in a row cannot be chance");
    }
}

#[test]
fn first_rejection_is_a_verdict_unless_more_are_needed() {
    let mut responses = Responses::new();
    responses.reject();
    assert!(responses.is_verdict(1));
    assert!(!responses.is_verdict(OVERLOADED_RUN));
    responses.reject();
    responses.reject();
    assert!(responses.is_verdict(OVERLOADED_RUN));
}

#[test]
fn success_in_between_ends_a_run() {
    let mut responses = Responses::new();
    responses.reject();
    responses.reject();
    responses.pass();
    responses.reject();
    assert!(!responses.is_verdict(2));
}

#[test]
fn longer_run_is_needed_if_more_requests_are_rejected_by_chance() {
    let needed = |one_in| {
        let mut responses = Responses::new();
        responses.share(one_in, 12);
        responses.run()
    };
    let (twentieth, fifth) = (needed(20), needed(5));
    assert!((2..=3).contains(&twentieth), "{twentieth}");
    assert!((4..=6).contains(&fifth), "{fifth}");
    assert!(needed(4) <= LONGEST_RUN);
}

#[test]
fn rejections_that_are_followed_by_more_are_not_chance() {
    let mut responses = Responses::new();
    for _ in 0..5 {
        (0..10).for_each(|_| responses.pass());
        (0..10).for_each(|_| responses.reject());
    }
    assert!(!responses.chance.is_likely());
    (0..3).for_each(|_| responses.pass());
    assert_eq!(responses.run(), 1);
}

#[test]
fn chance_is_forgotten_once_it_has_ended() {
    let mut responses = Responses::new();
    responses.share(20, 20);
    assert!(responses.chance.is_likely());
    for _ in 0..60 {
        (0..10).for_each(|_| responses.pass());
        (0..10).for_each(|_| responses.reject());
    }
    assert!(!responses.chance.is_likely());
}

#[test]
fn turn_is_seen_once() {
    let mut responses = Responses::new();
    assert!(!responses.rejection_run.take_turn(&responses.chance));
    responses.share(10, 3);
    assert!(responses.rejection_run.take_turn(&responses.chance));
    assert!(!responses.rejection_run.take_turn(&responses.chance));
}

#[test]
fn rejections_of_requests_in_flight_together_are_one() {
    let mut responses = Responses::new();
    responses.reject();
    let (sent, now) = (responses.now - Duration::from_millis(50), responses.now);
    for _ in 0..9 {
        let chance = &mut responses.chance;
        responses
            .rejection_run
            .reject(chance, (sent, now), (0, 0), FEW, None);
    }
    assert!(!responses.is_verdict(2));
}

#[test]
fn request_between_two_rejections_that_is_not_rejected_ends_a_run() {
    let mut responses = Responses::new();
    responses.reject();
    responses.now += Duration::from_secs(1);
    let when = (responses.now, responses.now);
    let chance = &mut responses.chance;
    responses
        .rejection_run
        .reject(chance, when, (1, 0), FEW, None);
    assert!(!responses.is_verdict(2));
}

#[test]
fn counts_do_not_overflow_if_nothing_has_ever_passed() {
    let mut responses = Responses::new();
    responses.chance = Chance {
        rejected: u32::MAX,
        by_limit: u32::MAX,
        turns: u32::MAX,
        ..Chance::default()
    };
    for _ in 0..20 {
        responses.reject();
    }
    assert!(!responses.chance.is_likely());
    assert!(responses.is_verdict(LONGEST_RUN));
}
