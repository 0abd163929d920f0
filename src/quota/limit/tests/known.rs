//! What a snapshot shows of a limit.

use super::{dialogue::*, *};
use crate::quota::limit::KnownLimit;

fn known(limit: &Limit, now: Instant) -> Vec<KnownLimit> {
    limit.state.known_limits(&limit.traits, now).collect()
}

fn only(limit: &Limit, now: Instant) -> KnownLimit {
    let known = known(limit, now);
    assert_eq!(known.len(), 1, "{known:?}");
    known[0]
}

fn of_tokens(limit: u64, remaining: u64, reset: Duration) -> Bucket {
    Bucket {
        dimension: Dimension::Tokens,
        window: Some(Window::Minute),
        ..reported(limit, remaining, reset)
    }
}

#[test]
fn nothing_is_known_of_a_limit_without_reports() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    assert_eq!(known(&limit, now), []);
    limit.take(now);
    limit.succeeded(&[], now, now);
    assert_eq!(known(&limit, now), []);
}

#[test]
fn requests_in_flight_count_as_reserved_and_not_as_remaining() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[reported(10, 7, secs(30))], now, now);
    limit.take(now + secs(1));
    limit.state.reserve(&mut limit.traits, COST, now + secs(1));
    let expected = KnownLimit {
        dimension: Dimension::Requests,
        window: None,
        limit: Some(10),
        remaining: 5,
        reserved: 2,
        resets: Some(now + secs(30)),
        is_learned: false,
    };
    assert_eq!(only(&limit, now + secs(1)), expected);
}

#[test]
fn limit_remains_after_its_window_only_if_it_refills_at_once() {
    for (refills_at_once, remaining) in [(Some(true), 10), (Some(false), 2), (None, 2)] {
        let (now, mut limit) = (Instant::now(), Limit::default());
        limit.take(now);
        limit.succeeded(&[reported(10, 0, secs(30))], now, now);
        limit.traits.refills_at_once = refills_at_once;
        assert_eq!(only(&limit, now + secs(29)).remaining, 0);
        let ended = only(&limit, now + secs(30));
        assert_eq!((ended.remaining, ended.resets), (remaining, None));
    }
}

#[test]
fn tokens_in_flight_are_reserved_and_return_after_the_window() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[of_tokens(1_000, 900, secs(30))], now, now);
    limit.take(now + secs(1));
    let tokens = only(&limit, now + secs(1));
    assert_eq!(
        (tokens.dimension, tokens.window),
        (Dimension::Tokens, Some(Window::Minute))
    );
    assert_eq!((tokens.remaining, tokens.reserved), (790, COST.total()));
    assert_eq!(tokens.resets, Some(now + secs(30)));
    let ended = only(&limit, now + secs(30));
    assert_eq!((ended.remaining, ended.reserved), (1_000, 0));
    assert_eq!(ended.resets, None);
}

#[test]
fn disproved_report_is_not_known() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[reported(10, 0, secs(30))], now, now);
    limit
        .traits
        .count_passed(Dimension::Requests, u64::MAX, 0, now);
    assert_eq!(known(&limit, now), []);
}

#[test]
fn ceiling_in_flight_is_learned_unless_the_provider_names_it() {
    for named in [Some(3), None] {
        let (now, mut limit) = (Instant::now(), Limit::default());
        for _ in 0..4 {
            limit.take(now);
        }
        let mut rejection = Rejection {
            dimension: Some(Dimension::Concurrency),
            ..Rejection::new(Reason::RateLimited)
        };
        rejection.numbers.limit = named;
        limit.rejected(&rejection, &[], now, now);
        limit.succeeded(&[], now, now);
        let slots = only(&limit, now);
        assert_eq!(
            (slots.dimension, slots.limit),
            (Dimension::Concurrency, Some(3))
        );
        assert_eq!((slots.remaining, slots.reserved), (1, 2));
        assert_eq!(slots.is_learned, named.is_none());
    }
}

#[test]
fn learned_size_of_a_window_is_known() {
    let mut dialogue = Dialogue::new(window(20, secs(60)));
    dialogue.run_until(secs(400));
    let now = dialogue.start() + secs(400);
    let learned = only(&dialogue.limit, now);
    assert!(learned.is_learned);
    assert_eq!(
        (learned.dimension, learned.window),
        (Dimension::Requests, Some(Window::Minute))
    );
    assert_eq!(learned.limit, Some(20));
    assert_eq!(learned.remaining, 0, "the workers use it up");
    let resets = learned.resets.expect("an end");
    assert!(resets > now && resets <= now + secs(61), "{learned:?}");
    let later = only(&dialogue.limit, resets + secs(60));
    assert_eq!((later.remaining, later.resets), (20, None));
}
