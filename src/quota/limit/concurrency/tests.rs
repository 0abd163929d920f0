//! Ceilings as dialogues between a caller that always has requests, and a provider that limits requests in flight.

#![allow(clippy::disallowed_methods)]

use super::*;
use crate::{
    quota::{
        demand::Demand,
        limit::{LimitState, ProviderTraits, SlowStart},
        timing::LONGEST_GUESS,
    },
    rejection::{Dimension, Reason, Rejection},
    request::Cost,
};

const COST: Cost = Cost::new(100, 10);

const REJECTED_IN: Duration = Duration::from_millis(50);

/// What the rejections of a provider say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Words,
    Limit,
    Nothing,
}

/// A provider with a number of slots, and its only caller.
struct Dialogue {
    limit: LimitState,
    traits: ProviderTraits,
    slots: usize,
    says: Says,
    now: Instant,
    /// When each request was sent, when its response arrives, and whether it passes.
    pending: Vec<(Instant, Instant, bool)>,
    passed: usize,
    rejected: usize,
}

// === impl Dialogue ===

impl Dialogue {
    fn new(slots: usize, says: Says) -> Self {
        Self {
            limit: LimitState::default(),
            traits: ProviderTraits::default(),
            slots,
            says,
            now: Instant::now() + Duration::from_secs(1_000),
            pending: Vec::new(),
            passed: 0,
            rejected: 0,
        }
    }

    fn rejection(&self) -> Rejection {
        let mut rejection = Rejection::new(Reason::RateLimited);
        if self.says != Says::Nothing {
            rejection.dimension = Some(Dimension::Concurrency);
        }
        if self.says == Says::Limit {
            rejection.numbers.limit = u64::try_from(self.slots).ok();
            rejection.retry_after = Some(Duration::from_secs(1));
        }
        rejection
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.send();
            self.now += Duration::from_millis(5);
            self.answer();
        }
    }

    fn send(&mut self) {
        let demand = (Demand::new(COST), SlowStart::Careful);
        while self.pending.len() < 64 {
            let capacity = self.limit.capacity(&mut self.traits, demand, self.now);
            if !matches!(capacity, Capacity::Available(_) | Capacity::Verify(_)) {
                return;
            }
            self.limit.reserve(&mut self.traits, COST, self.now);
            self.limit.mark_sent(&mut self.traits, demand.0, self.now);
            let in_flight = self.pending.iter().filter(|(.., passes)| *passes).count();
            let passes = in_flight < self.slots;
            let number = u64::try_from(self.pending.len()).unwrap_or_default();
            let takes = match passes {
                true => Duration::from_millis(300 + number * 37 % 200),
                false => REJECTED_IN,
            };
            self.pending.push((self.now, self.now + takes, passes));
        }
    }

    fn answer(&mut self) {
        let now = self.now;
        while let Some(at) = self.pending.iter().position(|(_, at, _)| *at <= now) {
            let (sent, _, passes) = self.pending.swap_remove(at);
            let when = (sent, now);
            if passes {
                let nothing = (COST, [].iter());
                self.limit.succeeded(&mut self.traits, nothing, when);
                self.passed += 1;
            } else {
                let rejection = self.rejection();
                let nothing = (COST, &[][..]);
                let traits = &mut self.traits;
                self.limit
                    .rejected(traits, &rejection, nothing, when, LONGEST_GUESS);
                self.rejected += 1;
            }
            self.limit.release(&mut self.traits, COST, Some(sent));
        }
    }
}

#[test]
fn ceiling_is_found_whatever_the_rejections_say() {
    // The slots, what rejections say, and how many rejections are allowed per minute.
    let dialogues = [
        (5, Says::Words, 16),
        (5, Says::Limit, 12),
        (5, Says::Nothing, 24),
        (1, Says::Words, 16),
        (1, Says::Limit, 12),
        (1, Says::Nothing, 24),
        (20, Says::Words, 16),
        (20, Says::Nothing, 40),
    ];
    for (slots, says, wasted) in dialogues {
        let mut dialogue = Dialogue::new(slots, says);
        dialogue.run(Duration::from_secs(60));
        let Dialogue {
            passed, rejected, ..
        } = dialogue;
        // A response takes 0.4 s on average.
        let most = slots * 60 * 10 / 4;
        assert!(rejected <= wasted, "{slots}, {says:?}: {rejected} rejected");
        assert!(passed * 10 > most * 8, "{slots}, {says:?}: {passed} passed");
    }
}

#[test]
fn raised_ceiling_is_found_by_tests() {
    let mut dialogue = Dialogue::new(4, Says::Words);
    dialogue.run(Duration::from_secs(60));
    dialogue.slots = 8;
    dialogue.run(Duration::from_secs(600));
    let before = dialogue.passed;
    dialogue.run(Duration::from_secs(60));
    let passed = dialogue.passed - before;
    assert!(passed > 8 * 60 * 10 / 4 * 7 / 10, "{passed} passed");
}

#[test]
fn rejection_below_what_was_in_flight_together_is_not_explained() {
    let (mut concurrency, mut kind) = (Concurrency::default(), shown());
    let now = Instant::now() + Duration::from_secs(1_000);
    let ago = |millis| now - Duration::from_millis(millis);
    concurrency.prove(6, (ago(400), now), Duration::from_millis(150));
    let mut reject = |others| concurrency.reject_silently(&mut kind, others, (ago(50), now));
    assert_eq!(reject(8), Some(8));
    assert_eq!(reject(7), Some(7), "seven were in flight together");
    assert_eq!(reject(6), None);
    assert_eq!(reject(6), None, "that disproves it");
    assert_eq!(reject(9), None);
    assert!(!kind.is_shown() && !kind.may_probe(), "not soon again");
}

#[test]
fn only_a_stated_ceiling_is_kept_if_silent_ones_are_not_real() {
    let now = Instant::now() + Duration::from_secs(1_000);
    let full = Capacity::Full(None);
    let kept = |mut concurrency: Concurrency| {
        assert_eq!(concurrency.capacity(8, None, None), full);
        concurrency.forget_silent();
        concurrency.capacity(8, None, None) == full
    };
    let mut silent = Concurrency::default();
    assert_eq!(silent.reject_silently(&mut shown(), 8, (now, now)), Some(8));
    let mut adopted = Concurrency::default();
    adopted.suspect(8, (now, now));
    assert!(adopted.adopt());
    let mut said = silent.clone();
    assert_eq!(said.reject(8, None, now), 8);
    assert!(!kept(silent));
    assert!(!kept(adopted));
    assert!(kept(said));
}

#[test]
fn suspicion_counts_the_fewest_of_a_burst() {
    let (mut concurrency, now) = (Concurrency::default(), Instant::now());
    let later = |millis| now + Duration::from_millis(millis);
    for (others, at) in [(7, 50), (6, 51), (5, 52)] {
        concurrency.suspect(others, (now, later(at)));
    }
    assert!(!concurrency.has_room(5));
    assert!(concurrency.has_room(4), "one has ended");
    concurrency.suspect(9, (later(1_000), later(1_050)));
    assert!(concurrency.has_room(8), "another burst");
    concurrency.suspect(0, (later(2_000), later(2_050)));
    assert!(!concurrency.has_room(0), "nothing else was in flight");
}

#[test]
fn two_rejected_probes_end_the_search() {
    let (mut kind, now) = (SilentCeilings::default(), Instant::now());
    for _ in 0..2 {
        assert!(kind.may_probe());
        kind.reserve(1, now);
        kind.send(1, now);
        assert!(!kind.reject(2, now), "a request of another limit");
        assert!(kind.reject(1, now));
    }
    assert!(!kind.may_probe());
}

/// Returns the state after requests in flight have been shown to cause the rejections without a text.
fn shown() -> SilentCeilings {
    let (mut kind, now) = (SilentCeilings::default(), Instant::now());
    let later = now + Duration::from_millis(150);
    while !kind.is_shown() {
        kind.reserve(1, now);
        kind.send(1, now);
        kind.settle(Duration::from_millis(150), later);
    }
    kind
}
