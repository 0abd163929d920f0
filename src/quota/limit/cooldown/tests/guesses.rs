//! How long a cooldown lasts without a hint.

use super::*;
use crate::quota::timing::PERIOD_MARGIN;

#[test]
fn guess_doubles_from_a_second_and_then_ends_with_windows_of_the_longest() {
    let lengths_of = |longest| lengths(&limited(None), longest, 8);
    let doubling = [1, 2, 4, 8, 16].map(secs);
    let to_the_minute = secs(60 - 31) + PERIOD_MARGIN;
    let later = [to_the_minute, secs(60), secs(60)];
    assert_eq!(lengths_of(LONGEST_GUESS), [&doubling[..], &later].concat());
    let short = Duration::from_millis(800);
    assert_eq!(
        lengths_of(short)[..3],
        [short, short + PERIOD_MARGIN, short]
    );
    assert_eq!(lengths_of(Duration::ZERO)[0], MIN_LONGEST_GUESS);
}

#[test]
fn overload_is_tested_again_after_a_third_of_its_duration_so_far() {
    let lengths = lengths(&Rejection::new(Reason::Overloaded), LONGEST_GUESS, 30);
    let mut since = Duration::ZERO;
    for length in lengths {
        assert_eq!(length, (since / 3).clamp(secs(1), LONGEST_GUESS));
        since += length;
    }
    assert!(since > 5 * LONGEST_GUESS, "{since:?}");
}

#[test]
fn guess_counts_from_the_beginning_of_its_window() {
    let now = Instant::now() + secs(100);
    let opened = now - secs(59);
    let mut cooldown = Cooldown::default();
    let window = (Some(opened), None);
    cooldown.reject(&limited(None), false, (now, now), LONGEST_GUESS, window);
    assert_eq!(left(&cooldown, now), secs(1), "the first is not longer");
    let at = now + secs(2);
    cooldown.reject(&limited(None), false, (at, at), LONGEST_GUESS, window);
    assert_eq!(left(&cooldown, at), secs(59) + PERIOD_MARGIN);
}

#[test]
fn cooldown_ends_with_the_window_if_its_length_is_known() {
    let now = Instant::now();
    let ending = |rejection: &Rejection, end| {
        let mut cooldown = Cooldown::default();
        let window = (Some(now), Some(end));
        cooldown.reject(rejection, false, (now, now), LONGEST_GUESS, window);
        cooldown
    };
    for length in [Duration::from_millis(300), secs(7), secs(300)] {
        let mut cooldown = ending(&limited(None), now + length);
        assert_eq!(left(&cooldown, now), length);
        let end = now + length;
        assert_eq!(cooldown.gate(end), Gate::Unproven(end));
        reject(&mut cooldown, &limited(None), (end, end));
        assert_eq!(left(&cooldown, end), secs(1), "it does not double");
    }
    let over = ending(&limited(None), now);
    assert_eq!(left(&over, now), secs(1), "that window is over");
    let hinted = ending(&limited(Some(5)), now + secs(7));
    assert_eq!(left(&hinted, now), secs(5), "a hint takes precedence");
    let rejected = ending(&Rejection::new(Reason::KeyRejected), now + secs(7));
    assert_eq!(
        left(&rejected, now),
        secs(60),
        "a rejected key is not a limit"
    );
}

#[test]
fn only_the_first_guess_may_be_tested_early() {
    let now = Instant::now();
    let mut cooldown = Cooldown::default();
    assert_eq!(cooldown.early_test_at(now), None);
    reject(&mut cooldown, &limited(None), (now, now));
    assert_eq!(cooldown.early_test_at(now), Some(now + EARLY_TEST));
    assert_eq!(cooldown.early_test_at(now + secs(1)), None, "it is over");
    let end = now + secs(1);
    reject(&mut cooldown, &limited(None), (end, end));
    assert_eq!(cooldown.early_test_at(end), None, "two seconds");
    let mut hinted = Cooldown::default();
    reject(&mut hinted, &limited(Some(1)), (now, now));
    assert_eq!(
        hinted.early_test_at(now),
        None,
        "the provider has sent a hint"
    );
}
