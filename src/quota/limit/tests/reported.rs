//! Quota that the provider reports.

use super::*;
use crate::quota::timing::DOUBLING_INTERVAL;

#[test]
fn limit_is_full_until_its_window_ends_if_the_rest_is_in_flight() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.take(now);
    limit.succeeded(&[reported(10, 1, secs(10))], now, now);
    assert_eq!(limit.capacity(now), Capacity::Full(Some(now + secs(10))));
    assert!(matches!(
        limit.capacity(now + secs(10)),
        Capacity::Available(_)
    ));
}

#[test]
fn smallest_remainder_counts_after_what_is_in_flight() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    let day = |remaining| Bucket {
        window: Some(Window::Day),
        ..reported(100, remaining, secs(3_600))
    };
    // Four requests are left in the day, and three were sent since.
    limit.take(now);
    limit.succeeded(&[day(4)], now, now);
    for _ in 0..3 {
        limit.take(now + secs(3));
    }
    // Three requests are left in the minute, but later requests are unknown.
    let later = now + secs(10);
    limit.take(later);
    limit.succeeded(&[reported(10, 3, secs(50))], later, later);
    assert_eq!(limit.capacity(later), Capacity::Available(1));
}

#[test]
fn exhausted_limit_is_tested_again_if_another_test_has_no_result() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[reported(10, 0, secs(3_600))], now, now);
    // Another key is tested for this model.
    limit.traits.test(Dimension::Requests, now);
    assert_eq!(limit.capacity(now), Capacity::Closed(now + secs(60)));
    assert_eq!(
        limit.capacity(now + secs(60)),
        Capacity::Verify(now + secs(3_600))
    );
}

#[test]
fn probe_is_not_sent_while_nothing_is_left() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    let guess = Rejection::new(Reason::RateLimited);
    limit.rejected(&guess, &[reported(10, 0, secs(300))], now, now);
    limit.traits.confirm(Dimension::Requests);
    assert_eq!(limit.capacity(now), Capacity::Closed(now + secs(1)));
    assert_eq!(
        limit.capacity(now + secs(1)),
        Capacity::Closed(now + secs(300))
    );
    assert_eq!(limit.capacity(now + secs(300)), Capacity::Available(1));
}

#[test]
fn reported_reset_closes_for_a_day_at_most() {
    for reset in [Duration::MAX, secs(u64::MAX / 2 - 1_000_000), secs(1 << 40)] {
        let (now, mut limit) = (Instant::now(), Limit::default());
        limit.take(now);
        limit.succeeded(&[reported(10, 0, reset)], now, now);
        limit.traits.confirm(Dimension::Requests);
        let day = secs(24 * 60 * 60);
        assert_eq!(
            limit.capacity(now),
            Capacity::Closed(now + day),
            "{reset:?}"
        );
        assert!(
            matches!(limit.capacity(now + day), Capacity::Available(_)),
            "{reset:?}"
        );
    }
}

#[test]
fn late_report_of_one_window_does_not_raise_the_remainder() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.take(now);
    limit.succeeded(&[reported(2, 0, secs(10))], now, now);
    limit.succeeded(&[reported(2, 1, secs(10))], now, now + secs(3));
    limit.traits.confirm(Dimension::Requests);
    assert!(matches!(limit.capacity(now + secs(3)), Capacity::Closed(_)));
}

#[test]
fn first_report_of_a_window_counts_though_its_request_was_early() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    let at = |millis| now + Duration::from_millis(millis);
    // This report puts the end of the window at 11 s. The provider's window ends at 10 s.
    limit.take(now);
    limit.succeeded(&[reported(8, 7, secs(10))], now, at(2_000));
    limit.traits.refills_at_once = Some(true);
    for _ in 0..2 {
        limit.take(at(10_500));
    }
    assert!(matches!(limit.capacity(at(11_100)), Capacity::Available(_)));
    limit.succeeded(&[reported(8, 6, secs(9))], at(10_500), at(11_100));
    limit.succeeded(&[reported(8, 6, secs(9))], at(10_500), at(11_100));
    assert_eq!(limit.capacity(at(11_100)), Capacity::Available(6));
}

#[test]
fn nothing_left_without_a_reset_starts_low_and_doubles() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[reported(50, 0, Duration::ZERO)], now, now);
    assert_eq!(limit.capacity(now), Capacity::Available(2));
    let later = now + 3 * DOUBLING_INTERVAL;
    limit.take(later);
    limit.succeeded(&[reported(50, 0, Duration::ZERO)], later, later);
    assert_eq!(limit.capacity(later), Capacity::Available(16));
    limit.take(later);
    limit.succeeded(&[reported(50, 30, Duration::ZERO)], later, later);
    assert_eq!(
        limit.capacity(later),
        Capacity::Available(30),
        "a later report counts"
    );
}

#[test]
fn test_is_confirmed_by_a_rejection_after_the_window() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[reported(10, 0, secs(5))], now, now);
    assert_eq!(limit.capacity(now), Capacity::Verify(now + secs(5)));
    limit.take(now);
    limit.rejected(
        &Rejection::new(Reason::RateLimited),
        &[],
        now,
        now + secs(6),
    );
    assert_eq!(
        limit
            .traits
            .tests(Dimension::Requests, None, now + secs(600)),
        0
    );
}

#[test]
fn response_that_reports_only_tokens_counts_as_a_request() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[reported(10, 5, secs(60))], now, now);
    let tokens = Bucket {
        dimension: Dimension::Tokens,
        ..reported(1_000, 900, secs(60))
    };
    let later = now + secs(5);
    limit.take(later);
    limit.succeeded(&[tokens], later, later);
    assert_eq!(limit.capacity(later), Capacity::Available(4));
}

#[test]
fn estimate_below_the_report_bounds_what_is_sent_at_once() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    for _ in 0..3 {
        limit.take(now);
    }
    limit.succeeded(&[reported(100, 99, secs(60))], now, now);
    limit.succeeded(&[reported(100, 98, secs(60))], now, now);
    let hint = Rejection {
        retry_after: Some(secs(10)),
        ..Rejection::new(Reason::RateLimited)
    };
    limit.rejected(&hint, &[], now, now);
    let open = now + secs(10);
    // Two requests have passed, and 98 are reported to be left. The limit verifies the report gradually.
    let mut more = 0;
    for second in 0..3 {
        while let Capacity::Available(_) = limit.capacity(open + secs(second)) {
            limit.take(open + secs(second));
            more += 1;
        }
        let full = limit.capacity(open + secs(second));
        assert!(matches!(full, Capacity::Full(_)), "{full:?}");
    }
    assert!((2..=12).contains(&more), "{more}");
}
