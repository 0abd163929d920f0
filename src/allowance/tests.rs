#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

use super::*;
use crate::rejection::Window;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn told(limit: u64, remaining: u64, reset: Duration) -> Bucket {
    Bucket {
        dimension: Dimension::Requests,
        window: None,
        scope: None,
        limit: Some(limit),
        remaining: Some(remaining),
        reset: Some(reset),
    }
}

/// One limit, and the habits of its model.
#[derive(Default)]
struct Limit {
    allowance: Allowance,
    habits: Habits,
}

impl Limit {
    fn room(&mut self, now: Instant) -> Room {
        self.allowance.room(&self.habits, true, now)
    }

    fn take(&mut self, now: Instant) {
        self.allowance.take(&mut self.habits, now);
    }

    fn succeeded(&mut self, told: &[Bucket], sent: Instant, now: Instant) {
        let when = (sent, now);
        self.allowance
            .succeeded(&mut self.habits, told.iter(), when);
        self.allowance.give_back(sent, sent);
    }

    fn refused(&mut self, rejection: &Rejection, told: &[Bucket], sent: Instant, now: Instant) {
        let when = (sent, now);
        self.allowance
            .refused(&mut self.habits, rejection, told, when, LONGEST_GUESS);
        self.allowance.give_back(sent, sent);
    }
}

#[test]
fn where_all_that_is_left_is_in_flight_there_is_more_when_the_window_ends() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.take(now);
    limit.succeeded(&[told(10, 1, secs(10))], now, now);
    assert_eq!(limit.room(now), Room::Full(Some(now + secs(10))));
    assert!(matches!(limit.room(now + secs(10)), Room::Open(_)));
}

#[test]
fn of_two_limits_the_one_counts_of_which_less_is_not_in_flight() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    let day = |remaining| Bucket {
        window: Some(Window::Day),
        ..told(100, remaining, secs(3_600))
    };
    // By the day four are left, and three have gone out since.
    limit.take(now);
    limit.succeeded(&[day(4)], now, now);
    for _ in 0..3 {
        limit.take(now + secs(3));
    }
    // By the minute three are left, but nobody knows of requests since.
    let later = now + secs(10);
    limit.take(later);
    limit.succeeded(&[told(10, 3, secs(50))], later, later);
    assert_eq!(limit.room(later), Room::Open(1));
}

#[test]
fn what_was_in_flight_before_a_rejection_holds_nothing_back_for_longer_than_a_slow_answer() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    for _ in 0..3 {
        limit.take(now);
    }
    let hint = Rejection {
        retry_after: Some(secs(5)),
        ..Rejection::new(Reason::RateLimited)
    };
    limit.refused(&hint, &[], now, now);
    let more_at = now + secs(5) + DOUBLES_EACH;
    assert_eq!(limit.room(now + secs(5)), Room::Learning(Some(more_at)));
    assert!(matches!(limit.room(more_at), Room::Open(_)));
}

#[test]
fn a_key_with_nothing_left_waits_no_longer_than_a_test_on_another_may_take() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[told(10, 0, secs(3_600))], now, now);
    // Another key of this model is tested.
    limit.habits.test(Dimension::Requests, now);
    assert_eq!(limit.room(now), Room::Closed(now + secs(60)));
    assert_eq!(
        limit.room(now + secs(60)),
        Room::Testable(now + secs(3_600))
    );
}

#[test]
fn no_probe_goes_where_nothing_is_left() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    let guess = Rejection::new(Reason::RateLimited);
    limit.refused(&guess, &[told(10, 0, secs(300))], now, now);
    limit.habits.confirm(Dimension::Requests);
    assert_eq!(limit.room(now), Room::Closed(now + secs(1)));
    assert_eq!(limit.room(now + secs(1)), Room::Closed(now + secs(300)));
    assert_eq!(limit.room(now + secs(300)), Room::Open(1));
}

#[test]
fn nothing_that_is_told_closes_for_more_than_a_day() {
    for reset in [Duration::MAX, secs(u64::MAX / 2 - 1_000_000), secs(1 << 40)] {
        let (now, mut limit) = (Instant::now(), Limit::default());
        limit.take(now);
        limit.succeeded(&[told(10, 0, reset)], now, now);
        limit.habits.confirm(Dimension::Requests);
        let day = secs(24 * 60 * 60);
        assert_eq!(limit.room(now), Room::Closed(now + day), "{reset:?}");
        assert!(matches!(limit.room(now + day), Room::Open(_)), "{reset:?}");
    }
}

#[test]
fn a_slow_answer_does_not_give_back_what_a_quick_one_has_told_is_gone() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.take(now);
    limit.succeeded(&[told(2, 0, secs(10))], now, now);
    limit.succeeded(&[told(2, 1, secs(10))], now, now + secs(3));
    limit.habits.confirm(Dimension::Requests);
    assert!(matches!(limit.room(now + secs(3)), Room::Closed(_)));
}

#[test]
fn the_first_word_on_a_new_window_counts_though_its_request_went_out_a_moment_early() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    let at = |millis| now + Duration::from_millis(millis);
    // By this the window ends at 11 s, while the provider's ends at 10 s.
    limit.take(now);
    limit.succeeded(&[told(8, 7, secs(10))], now, at(2_000));
    limit.habits.refills_at_once = Some(true);
    for _ in 0..2 {
        limit.take(at(10_500));
    }
    assert!(matches!(limit.room(at(11_100)), Room::Open(_)));
    limit.succeeded(&[told(8, 6, secs(9))], at(10_500), at(11_100));
    limit.succeeded(&[told(8, 6, secs(9))], at(10_500), at(11_100));
    assert_eq!(limit.room(at(11_100)), Room::Open(6));
}

#[test]
fn nothing_left_for_no_known_time_is_little_and_doubles_whatever_is_said_again() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[told(50, 0, Duration::ZERO)], now, now);
    assert_eq!(limit.room(now), Room::Open(2));
    let later = now + 3 * DOUBLES_EACH;
    limit.take(later);
    limit.succeeded(&[told(50, 0, Duration::ZERO)], later, later);
    assert_eq!(limit.room(later), Room::Open(16));
    limit.take(later);
    limit.succeeded(&[told(50, 30, Duration::ZERO)], later, later);
    assert_eq!(limit.room(later), Room::Open(30), "a better word counts");
}

#[test]
fn a_test_is_over_when_its_rejection_comes_after_the_window() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[told(10, 0, secs(5))], now, now);
    assert_eq!(limit.room(now), Room::Testable(now + secs(5)));
    limit.take(now);
    limit.refused(
        &Rejection::new(Reason::RateLimited),
        &[],
        now,
        now + secs(6),
    );
    assert_eq!(
        limit
            .habits
            .doubts(Dimension::Requests, None, now + secs(600)),
        0
    );
}

#[test]
fn an_answer_that_tells_of_tokens_alone_was_a_request_all_the_same() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.take(now);
    limit.succeeded(&[told(10, 5, secs(60))], now, now);
    let tokens = Bucket {
        dimension: Dimension::Tokens,
        ..told(1_000, 900, secs(60))
    };
    let later = now + secs(5);
    limit.take(later);
    limit.succeeded(&[tokens], later, later);
    assert_eq!(limit.room(later), Room::Open(4));
}

#[test]
fn where_rejections_have_taught_less_than_is_told_it_is_full_and_nothing_to_be_found_out() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    for _ in 0..3 {
        limit.take(now);
    }
    limit.succeeded(&[told(100, 99, secs(60))], now, now);
    limit.succeeded(&[told(100, 98, secs(60))], now, now);
    let hint = Rejection {
        retry_after: Some(secs(10)),
        ..Rejection::new(Reason::RateLimited)
    };
    limit.refused(&hint, &[], now, now);
    let open = now + secs(10);
    // Two have passed; a third would find out whether there is more by now.
    assert_eq!(limit.room(open), Room::Open(3));
    for _ in 0..3 {
        limit.take(open);
    }
    assert_eq!(limit.room(open), Room::Full(Some(open + secs(10))));
}

#[test]
fn a_rejection_that_comes_while_it_cools_teaches_nothing() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    for _ in 0..3 {
        limit.take(now);
    }
    let guess = Rejection::new(Reason::RateLimited);
    limit.refused(&guess, &[], now, now);
    // Who was let in before the others is heard of later.
    limit.succeeded(&[], now, now + DOUBLES_EACH);
    limit.refused(&guess, &[], now, now + 2 * DOUBLES_EACH);
    assert_eq!(limit.habits.typical, None);
}
