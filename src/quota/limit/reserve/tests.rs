#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

use super::*;

const WINDOW: Duration = Duration::from_secs(60);

fn background() -> Demand {
    Demand::default().in_background(Share::new(0.1))
}

/// Returns what background calls leave of a limit of 100 with `seconds` of its window remaining.
fn left(used: &InteractiveUse, seconds: u64, now: Instant) -> u64 {
    let reserve = used.reserve(background(), now).expect("a reserve");
    let end = now + Duration::from_secs(seconds);
    reserve.of_requests(Some(100), Lasts::until(end, WINDOW, now))
}

#[test]
fn reserve_is_a_share_that_shrinks_with_the_window() {
    let (used, now) = (InteractiveUse::default(), Instant::now());
    let left = [60, 30, 6, 0].map(|seconds| left(&used, seconds, now));
    assert_eq!(left, [10, 5, 1, 0]);
}

#[test]
fn interactive_call_leaves_nothing() {
    let (mut used, now) = (InteractiveUse::default(), Instant::now());
    used.send(Demand::default(), now);
    assert!(used.reserve(Demand::default(), now).is_none());
    assert!(used.reserve(background().without_reserve(), now).is_none());
}

#[test]
fn reserve_is_what_interactive_calls_are_expected_to_take() {
    let (mut used, mut now) = (InteractiveUse::default(), Instant::now());
    for _ in 0..60 {
        now += Duration::from_secs(1);
        used.send(Demand::default(), now);
        used.send(background(), now);
    }
    // One call per second. Background calls do not count.
    let expected = [60, 30, 0].map(|seconds| left(&used, seconds, now));
    assert!((75..=85).contains(&expected[0]), "{expected:?}");
    assert!((38..=42).contains(&expected[1]), "{expected:?}");
    assert_eq!(expected[2], 0);
    // Old calls do not count as expected use.
    assert_eq!(left(&used, 60, now + 5 * WINDOW), 10);
}

#[test]
fn tokens_are_reserved_like_requests() {
    let (mut used, mut now) = (InteractiveUse::default(), Instant::now());
    let user = Demand::new(Cost::new(100, 900));
    for _ in 0..60 {
        now += Duration::from_secs(1);
        used.send(user, now);
    }
    let reserve = used.reserve(background(), now).expect("a reserve");
    let lasts = Lasts::until(now + WINDOW, WINDOW, now);
    let traits = ProviderTraits::default();
    let of = |dimension| reserve.of_tokens(dimension, Some(1_000_000), lasts, &traits);
    assert_eq!(of(Dimension::Tokens), 100_000, "a tenth is more");
    let of = |dimension| reserve.of_tokens(dimension, Some(100_000), lasts, &traits);
    assert!((75_000..=85_000).contains(&of(Dimension::Tokens)));
    assert_eq!(of(Dimension::InputTokens), 10_000, "a tenth is more");
}

#[test]
fn reserve_of_a_bucket_does_not_shrink() {
    let (used, now) = (InteractiveUse::default(), Instant::now());
    let reserve = used.reserve(background(), now).expect("a reserve");
    assert_eq!(reserve.of_requests(Some(100), Lasts::steady(WINDOW)), 10);
}

#[test]
fn one_request_may_be_sent_if_nothing_is_used() {
    let (mut used, now) = (InteractiveUse::default(), Instant::now());
    (0..1_000).for_each(|_| used.send(Demand::default(), now));
    let reserve = used.reserve(background(), now).expect("a reserve");
    let lasts = Lasts::until(now + WINDOW, WINDOW, now);
    let left = [0, 1, 2, 5].map(|limit| reserve.of_requests(Some(limit), lasts));
    assert_eq!(left, [0, 0, 1, 4]);
    let whole = Demand::default().in_background(Share::new(1.0));
    let reserve = used.reserve(whole, now).expect("a reserve");
    assert_eq!([1, 8].map(|limit| reserve.of_places(limit)), [0, 7]);
}

#[test]
fn unknown_limit_has_no_reserve() {
    let (used, now) = (InteractiveUse::default(), Instant::now());
    let reserve = used.reserve(background(), now).expect("a reserve");
    assert_eq!(reserve.of_requests(None, Lasts::ALWAYS), 0);
}
