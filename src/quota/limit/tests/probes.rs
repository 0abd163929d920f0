//! Probes and cooldowns after a rejection.

use super::*;
use crate::quota::timing::DOUBLING_INTERVAL;

#[test]
fn requests_before_a_rejection_do_not_delay_later_ones() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    for _ in 0..3 {
        limit.take(now);
    }
    let hint = Rejection {
        retry_after: Some(secs(5)),
        ..Rejection::new(Reason::RateLimited)
    };
    limit.rejected(&hint, &[], now, now);
    let end = now + secs(5);
    assert!(matches!(limit.capacity(end), Capacity::Available(more) if more > 1));
}

#[test]
fn rejection_during_a_cooldown_changes_no_estimate() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    for _ in 0..3 {
        limit.take(now);
    }
    let guess = Rejection::new(Reason::RateLimited);
    limit.rejected(&guess, &[], now, now);
    // The response to the first admitted request arrives last.
    limit.succeeded(&[], now, now + DOUBLING_INTERVAL);
    limit.rejected(&guess, &[], now, now + 2 * DOUBLING_INTERVAL);
    assert_eq!(limit.traits.typical, None);
}

/// Returns a limit whose guessed cooldown of a second has just ended.
fn after_a_guess(reason: Reason) -> (Instant, Limit) {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.rejected(&Rejection::new(reason), &[], now, now);
    let end = limit.state.end(&limit.traits, now).expect("a cooldown");
    (end.at, limit)
}

#[test]
fn one_probe_is_sent_after_a_guess_or_a_rejected_key() {
    for reason in [Reason::RateLimited, Reason::KeyRejected] {
        let (end, mut limit) = after_a_guess(reason);
        assert_eq!(limit.capacity(end), Capacity::Available(1));
        limit.take(end);
        let passed = end + secs(1);
        assert!(matches!(limit.capacity(end), Capacity::Full(Some(at)) if at <= passed));
        let later = limit.capacity(passed);
        assert!(
            matches!(later, Capacity::Available(more) if more > 1),
            "{later:?}"
        );
    }
}

#[test]
fn probe_that_was_not_sent_proves_nothing() {
    let (end, mut limit) = after_a_guess(Reason::KeyRejected);
    limit.state.reserve(&mut limit.traits, COST, end);
    let later = end + secs(5);
    assert!(
        matches!(limit.capacity(later), Capacity::Full(Some(_))),
        "it still waits to be sent"
    );
    limit.state.release(&mut limit.traits, COST, None);
    assert_eq!(limit.capacity(later), Capacity::Available(1));
}
