#![allow(clippy::disallowed_methods)] // a test takes its first moment from the clock

use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns the length with a margin, because a call waits a little longer than the window.
fn awaited(length: Duration) -> Option<Duration> {
    Some(with_margin(length))
}

#[test]
fn period_is_a_usual_length_between_a_rejection_and_a_pass() {
    let now = Instant::now();
    let table = [
        ((millis(700), millis(1_100)), secs(1)),
        ((secs(7), secs(15)), secs(10)),
        ((secs(31), secs(61)), secs(60)),
        ((secs(200), secs(310)), secs(300)),
    ];
    for ((rejected, passed), expected) in table {
        let mut period = WindowLength::default();
        assert_eq!(period.length(), None);
        period.passed_after(rejected, passed, now);
        assert_eq!(
            period.length(),
            awaited(expected),
            "{rejected:?} {passed:?}"
        );
    }
}

#[test]
fn period_without_a_usual_length_is_in_the_middle_and_then_closer() {
    let (now, mut period) = (Instant::now(), WindowLength::default());
    period.passed_after(secs(32), secs(50), now);
    assert_eq!(period.length(), awaited(secs(41)));
    period.rejected_after(secs(41));
    assert_eq!(period.length(), awaited(millis(45_500)));
    period.passed_after(secs(41), secs(44), now);
    assert_eq!(period.length(), awaited(secs(44)), "both are close");
}

#[test]
fn rejection_after_the_longest_length_forgets_it() {
    let (now, mut period) = (Instant::now(), WindowLength::default());
    period.passed_after(millis(500), millis(1_100), now);
    period.rejected_after(millis(1_200));
    assert_eq!(period.length(), None);
}

#[test]
fn pass_before_the_shortest_length_replaces_it() {
    let (now, mut period) = (Instant::now(), WindowLength::default());
    period.passed_after(secs(31), secs(61), now);
    period.passed_after(secs(7), secs(11), now);
    assert_eq!(period.length(), awaited(secs(10)));
}

#[test]
fn stated_length_takes_precedence_until_it_is_contradicted() {
    let (now, mut period) = (Instant::now(), WindowLength::default());
    period.say(secs(60));
    assert_eq!(period.length(), awaited(secs(60)));
    period.passed_after(secs(20), secs(90), now);
    assert_eq!(period.length(), awaited(secs(60)));
    period.passed_after(secs(10), secs(15), now);
    let contradicted = period.length().expect("a length");
    assert!(contradicted <= secs(16), "{contradicted:?}");
    period.say(secs(60));
    assert_eq!(
        period.length(),
        Some(contradicted),
        "each rejection states it again"
    );
}

#[test]
fn hint_of_whole_seconds_is_rounded_up_and_others_are_exact() {
    for (elapsed, hint) in [(millis(300), secs(1)), (millis(200), secs(60))] {
        let length = hinted(elapsed, hint);
        assert!(
            length > hint && length <= hint + PERIOD_MARGIN,
            "{length:?}"
        );
    }
    assert_eq!(hinted(millis(300), millis(700)), secs(1));
    assert_eq!(hinted(secs(40), millis(20_500)), millis(60_500));
    assert_eq!(hinted(Duration::MAX, Duration::MAX), MAX_COOLDOWN);
}

#[test]
fn one_more_is_tried_after_twice_the_time() {
    let (start, mut period) = (Instant::now(), WindowLength::default());
    let mut times = Vec::new();
    for second in 0..70 {
        let now = start + secs(second);
        if period.may_test(now) {
            period.test(secs(1), now);
            times.push(second);
        }
    }
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63]);
    let now = start + secs(70);
    period.test_soon(secs(1), now);
    assert!(!period.may_test(now));
    assert!(period.may_test(now + secs(1)));
}

#[test]
fn search_sends_one_probe_at_a_time_until_one_passes() {
    let (now, mut period) = (Instant::now(), WindowLength::default());
    let latency = millis(100);
    period.search_until(now + secs(2), 1, now);
    assert_eq!(period.searches_until(latency, now), Some(now + secs(2)));
    let open = now + secs(2);
    assert_eq!(period.searches_until(latency, open), None);
    period.probe(open);
    assert_eq!(period.searches_until(latency, open), Some(open + latency));
    period.pass(now + secs(1));
    assert_eq!(period.searches_until(latency, open), None);
    period.passed_after(secs(1), secs(2), now);
    period.search_until(open + secs(4), 1, open);
    assert_eq!(
        period.searches_until(latency, open),
        None,
        "the period is known"
    );
}
