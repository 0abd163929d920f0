#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

mod guesses;
mod hints;
mod properties;

use super::*;
use crate::quota::timing::LONGEST_GUESS;

/// Neither the beginning nor the end of the window is known.
const UNKNOWN: (Option<Instant>, Option<Instant>) = (None, None);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn limited(hint: Option<u64>) -> Rejection {
    Rejection {
        retry_after: hint.map(secs),
        ..Rejection::new(Reason::RateLimited)
    }
}

/// Records a rejection of a request whose window is not known.
fn reject(cooldown: &mut Cooldown, rejection: &Rejection, when: (Instant, Instant)) {
    cooldown.reject(rejection, false, when, LONGEST_GUESS, UNKNOWN);
}

fn left(cooldown: &Cooldown, now: Instant) -> Duration {
    cooldown
        .ends_at(now)
        .map_or(Duration::ZERO, |end| end - now)
}

#[test]
fn cooldown_lasts_for_the_hint_or_a_second_and_a_day_at_most() {
    let now = Instant::now();
    let day = Rejection {
        window: Some(Window::Day),
        ..limited(None)
    };
    let plan = Rejection {
        window: Some(Window::FiveHours),
        ..limited(None)
    };
    let mut soon = Rejection::new(Reason::QuotaExhausted);
    (soon.retry_after, soon.remedies.time) = (Some(secs(3)), Some(true));
    let table = [
        (soon, secs(3)),
        (limited(Some(7)), secs(7)),
        (limited(Some(0)), secs(1)),
        (limited(None), secs(1)),
        (Rejection::new(Reason::Overloaded), secs(1)),
        (limited(Some(100 * 24 * 60 * 60)), secs(24 * 60 * 60)),
        (day, secs(60 * 60)),
        (plan, secs(60 * 60)),
        (Rejection::new(Reason::QuotaExhausted), secs(60 * 60)),
        (Rejection::new(Reason::KeyRejected), secs(60)),
    ];
    for (rejection, expected) in table {
        let mut cooldown = Cooldown::default();
        reject(&mut cooldown, &rejection, (now, now));
        assert_eq!(left(&cooldown, now), expected, "{rejection:?}");
    }
}

#[test]
fn shorter_rejection_does_not_shorten_the_cooldown() {
    let now = Instant::now();
    let mut cooldown = Cooldown::default();
    reject(&mut cooldown, &limited(Some(60)), (now, now));
    reject(&mut cooldown, &limited(Some(5)), (now, now + secs(1)));
    assert_eq!(left(&cooldown, now + secs(1)), secs(59));
}

#[test]
fn reservation_is_stale_after_a_rejection_while_its_cooldown_lasts() {
    let now = Instant::now();
    let mut cooldown = Cooldown::default();
    reject(&mut cooldown, &limited(Some(5)), (now, now + secs(1)));
    let is_stale = |set_aside, at| cooldown.began_since(now + secs(set_aside), now + secs(at));
    assert!(is_stale(0, 2));
    assert!(is_stale(1, 2));
    assert!(!is_stale(2, 3), "it was reserved in spite of the rejection");
    assert!(!is_stale(0, 6), "it is over");
}

#[test]
fn success_ends_the_cooldown_only_if_sent_after_the_rejection() {
    let now = Instant::now();
    let mut cooldown = Cooldown::default();
    reject(&mut cooldown, &limited(None), (now, now + secs(2)));
    cooldown.succeed(now + secs(1));
    assert_eq!(left(&cooldown, now + secs(2)), secs(1));
    cooldown.succeed(now + secs(3));
    reject(
        &mut cooldown,
        &limited(None),
        (now + secs(4), now + secs(4)),
    );
    assert_eq!(
        left(&cooldown, now + secs(4)),
        secs(1),
        "it does not double"
    );
}

#[test]
fn guess_is_ended_by_a_success_admitted_after_the_rejection() {
    let now = Instant::now();
    let at = |millis| now + Duration::from_millis(millis);
    for (hint, ends) in [(None, true), (Some(1), false)] {
        let mut cooldown = Cooldown::default();
        reject(&mut cooldown, &limited(hint), (now, at(50)));
        cooldown.succeed(at(20));
        assert!(
            cooldown.ends_at(at(350)).is_some(),
            "it was admitted before the rejection"
        );
        cooldown.succeed(at(30));
        assert_eq!(cooldown.ends_at(at(380)).is_none(), ends, "{hint:?}");
    }
}

#[test]
fn cooldown_of_a_rejected_key_doubles_and_a_herd_counts_once() {
    let rejected = Rejection::new(Reason::KeyRejected);
    let mut now = Instant::now();
    let mut cooldown = Cooldown::default();
    for _ in 0..10 {
        reject(&mut cooldown, &rejected, (now, now + secs(1)));
    }
    now += secs(1);
    let mut lengths = vec![left(&cooldown, now).as_secs()];
    for _ in 0..12 {
        now += left(&cooldown, now) + secs(1);
        reject(&mut cooldown, &rejected, (now, now));
        lengths.push(left(&cooldown, now).as_secs());
    }
    assert_eq!(lengths[..5], [60, 120, 240, 480, 960]);
    assert_eq!(lengths.last(), Some(&(24 * 60 * 60)));
    cooldown.succeed(now + secs(1));
    reject(&mut cooldown, &rejected, (now + secs(2), now + secs(2)));
    assert_eq!(left(&cooldown, now + secs(2)), secs(60));
}

#[test]
fn rejections_during_a_cooldown_neither_double_nor_prolong_a_guess() {
    let now = Instant::now();
    let mut cooldown = Cooldown::default();
    for tenth in 0..10 {
        let at = now + Duration::from_millis(100) * tenth;
        reject(&mut cooldown, &limited(None), (at, at));
    }
    let at = now + Duration::from_millis(900);
    assert_eq!(left(&cooldown, at), Duration::from_millis(100));
    reject(&mut cooldown, &limited(Some(30)), (at, at));
    assert_eq!(
        left(&cooldown, at),
        secs(30),
        "but a hint of the provider does"
    );
}

#[test]
fn cooldown_needs_proof_only_if_it_ends_at_a_guess() {
    let now = Instant::now();
    let cooled = |hint| {
        let mut cooldown = Cooldown::default();
        reject(&mut cooldown, &limited(hint), (now, now));
        cooldown
    };
    let (at, end) = (|secs_| now + secs(secs_), cooled(Some(5)));
    assert_eq!(end.gate(at(1)), Gate::Closed(at(5)));
    assert_eq!(end.gate(at(5)), Gate::Open);

    let mut guessed = cooled(None);
    assert_eq!(guessed.gate(at(1)), Gate::Unproven(at(1)));
    reject(&mut guessed, &limited(None), (at(1), at(2)));
    assert_eq!(guessed.gate(at(2)), Gate::Closed(at(4)));
    assert_eq!(guessed.gate(at(4)), Gate::Unproven(at(4)));
}

#[test]
fn early_probe_is_allowed_only_during_a_guess_and_one_at_a_time() {
    let now = Instant::now();
    let cooled = |rejection: Rejection| {
        let mut cooldown = Cooldown::default();
        reject(&mut cooldown, &rejection, (now, now));
        cooldown
    };
    assert!(!cooled(limited(Some(5))).allows_early_probe(now));
    for reason in [Reason::KeyRejected, Reason::QuotaExhausted] {
        assert!(!cooled(Rejection::new(reason)).allows_early_probe(now));
    }
    let mut guessed = cooled(limited(None));
    assert!(guessed.allows_early_probe(now));
    guessed.begin_early_probe();
    assert!(!guessed.allows_early_probe(now));
    guessed.end_early_probe();
    assert!(guessed.allows_early_probe(now));
}

/// Returns how long each cooldown lasts if a request at its end is rejected at once.
fn lengths(rejection: &Rejection, longest_guess: Duration, count: usize) -> Vec<Duration> {
    let (mut now, mut cooldown) = (Instant::now(), Cooldown::default());
    let lengths = (0..count).map(|_| {
        cooldown.reject(rejection, false, (now, now), longest_guess, UNKNOWN);
        let length = left(&cooldown, now);
        now += length;
        length
    });
    lengths.collect()
}
