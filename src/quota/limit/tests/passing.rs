//! A request has passed if it was not rejected in time, however long its response takes.

use super::{dialogue::*, *};

#[test]
fn limit_is_learned_from_slow_responses_as_from_fast_ones() {
    for (size, length) in [(20, 10), (60, 60)] {
        for answers_in in [secs(5), secs(30)] {
            let workers = usize::try_from(size * 30 / length + size).unwrap();
            let provider = window(size, secs(length));
            let mut dialogue = Dialogue::new(provider)
                .workers(2 * workers)
                .answers_in(answers_in);
            dialogue.run_until(secs(length * 20));
            let (from, to) = (secs(length * 2), secs(length * 20));
            let (passed, rejected) = (dialogue.passed_between(from, to), dialogue.rejected.len());
            let most = usize::try_from(size).unwrap() * 18;
            assert!(
                passed * 100 >= most * 93,
                "{size} in {length} s, {answers_in:?}: {passed} of {most}"
            );
            assert!(
                rejected <= 30,
                "{size} in {length} s, {answers_in:?}: {rejected}"
            );
        }
    }
}

#[test]
fn requests_in_flight_for_a_second_allow_more() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    let mut now = start;
    let mut sent = 0;
    for _ in 0..20 {
        while let Capacity::Available(_) = limit.capacity(now) {
            limit.take(now);
            sent += 1;
            assert!(sent < 2_000, "the slow start has an end");
        }
        now += REJECTION_LATENCY + Duration::from_millis(50);
    }
    assert!(sent > 100, "{sent} without a response");
}

#[test]
fn size_is_learned_from_requests_without_any_response() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    for _ in 0..10 {
        limit.take(start);
    }
    // The last request is rejected, and the others get responses after minutes.
    let at = |millis| start + Duration::from_millis(millis);
    limit.take(at(1_500));
    limit.rejected(&silent(), &[], at(1_500), at(1_550));
    assert!(matches!(limit.traits.typical, Some(9 | 10)));
}

#[test]
fn latency_of_rejections_says_when_a_request_has_passed() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    let at = |millis| start + Duration::from_millis(millis);
    limit.take(start);
    limit.rejected(&silent(), &[], start, at(200));
    assert_eq!(limit.capacity(at(1_200)), Capacity::Available(1));
    limit.take(at(1_200));
    // This is three times the latency of the rejection.
    assert_eq!(limit.capacity(at(1_200)), Capacity::Full(Some(at(1_800))));
    assert!(matches!(limit.capacity(at(1_820)), Capacity::Available(_)));
}
