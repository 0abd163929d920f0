//! Hints that prove false.

use super::*;

#[test]
fn hint_that_proves_false_doubles_from_200_ms() {
    let millis = Duration::from_millis;
    let tiny = Rejection {
        retry_after: Some(millis(1)),
        ..limited(None)
    };
    assert_eq!(
        lengths(&tiny, secs(1), 7),
        [1, 200, 400, 800, 1_000, 1_000, 1_000].map(millis)
    );
    assert_eq!(
        lengths(&limited(Some(1)), secs(4), 8),
        [1_000, 1_000, 1_000, 1_000, 1_600, 3_200, 4_000, 4_000].map(millis),
        "never less than the hint"
    );
}

#[test]
fn false_hint_is_forgotten_after_a_success_and_with_time() {
    let now = Instant::now();
    let tiny = Rejection {
        retry_after: Some(Duration::from_millis(1)),
        ..limited(None)
    };
    let mut twice = Cooldown::default();
    reject(&mut twice, &tiny, (now, now));
    let end = now + Duration::from_millis(1);
    reject(&mut twice, &tiny, (end, end));
    assert_eq!(left(&twice, end), FALSE_HINT_FLOOR);
    let said = twice.end(end).unwrap().rejection.retry_after;
    assert_eq!(
        said, tiny.retry_after,
        "the rest of the cooldown is a guess"
    );
    let after = end + Duration::from_millis(1);
    assert_eq!(twice.end(after).unwrap().rejection.retry_after, None);

    let mut after_success = twice.clone();
    after_success.succeed(end + FALSE_HINT_FLOOR);
    let later = end + FALSE_HINT_FLOOR + Duration::from_millis(10);
    reject(&mut after_success, &tiny, (later, later));
    assert_eq!(left(&after_success, later), Duration::from_millis(1));

    let later = end + secs(10);
    reject(&mut twice, &tiny, (later, later));
    assert_eq!(left(&twice, later), Duration::from_millis(1));
}

#[test]
fn requests_in_flight_when_a_hint_came_do_not_prove_it_false() {
    let now = Instant::now();
    let mut cooldown = Cooldown::default();
    for answer in 1..=20 {
        let when = (now, now + Duration::from_millis(answer));
        reject(&mut cooldown, &limited(Some(2)), when);
    }
    let at = now + Duration::from_millis(20);
    assert_eq!(left(&cooldown, at), secs(2));
    assert_eq!(
        cooldown.end(at).unwrap().rejection.retry_after,
        Some(secs(2))
    );
}
