//! Windows and buckets that are not reported.

use super::{dialogue::*, *};

/// Asserts that a caller uses most of some windows, with few rejections.
#[track_caller]
fn assert_learned<P: FnMut(Duration) -> Option<Rejection>>(
    dialogue: &Dialogue<P>,
    (size, length): (u64, Duration),
    windows: std::ops::Range<u32>,
) {
    let (from, to) = (length * windows.start, length * windows.end);
    let most = usize::try_from(size).unwrap() * windows.len();
    let passed = dialogue.passed_between(from, to);
    assert!(
        passed * 100 >= most * 90,
        "{size} in {length:?}: {passed} of {most}"
    );
    for window in windows {
        let rejected = dialogue.rejected_between(length * window, length * (window + 1));
        assert!(
            rejected <= 1,
            "{size} in {length:?}: {rejected} in window {window}"
        );
    }
    let period = dialogue.period().expect("a period");
    assert!(
        period >= length && period <= length + length / 20,
        "{period:?}"
    );
}

const WINDOWS: [(u64, u64); 5] = [(1, 1), (5, 1), (20, 10), (60, 60), (100, 300)];

#[test]
fn window_is_learned_and_costs_at_most_one_rejection_from_then_on() {
    for (size, length) in WINDOWS {
        let mut dialogue = Dialogue::new(window(size, secs(length)));
        dialogue.run_until(secs(length * 30));
        let first = dialogue.rejected_between(secs(0), secs(length * 3));
        assert!(first <= 20, "{size} in {length} s: {first} to learn it");
        assert_learned(&dialogue, (size, secs(length)), 3..30);
    }
}

#[test]
fn bucket_costs_no_more_than_a_window() {
    for (size, length) in [(1, 1), (20, 10), (60, 60), (100, 300)] {
        let mut dialogue = Dialogue::new(bucket(size, secs(length)));
        let end = secs(length * 40);
        dialogue.run_until(end);
        let most = usize::try_from(size).unwrap() * 40;
        let (passed, rejected) = (dialogue.passed.len(), dialogue.rejected.len());
        assert!(
            passed * 100 >= most * 95,
            "{size} in {length} s: {passed} of {most}"
        );
        assert!(
            rejected <= 30 + 40,
            "{size} in {length} s: {rejected} rejected"
        );
    }
}

#[test]
fn another_length_corrects_the_one_that_was_learned() {
    let table = [
        ((5, 1), (20, 10)),
        ((20, 10), (60, 60)),
        ((60, 60), (20, 10)),
    ];
    let (change, later) = (secs(600), secs(4_200));
    for ((size, length), (next_size, next_length)) in table {
        let mut before = window(size, secs(length));
        let mut after = window(next_size, secs(next_length));
        let mut dialogue = Dialogue::new(move |at: Duration| match at < change {
            true => before(at),
            false => after(at - change),
        });
        dialogue.run_until(change);
        assert_learned(&dialogue, (size, secs(length)), 5..10);
        dialogue.run_until(later + secs(next_length) * 30);
        let rejected = dialogue.rejected_between(change, later);
        let windows = (later - change).as_secs() / next_length;
        assert!(
            rejected as u64 <= windows + 100,
            "{next_size} in {next_length} s: {rejected}"
        );
        let first = u32::try_from(later.as_secs() / next_length).unwrap();
        assert_learned(&dialogue, (next_size, secs(next_length)), first..first + 30);
    }
}

#[test]
fn period_is_kept_while_nothing_is_sent() {
    for (size, length) in WINDOWS {
        let mut dialogue = Dialogue::new(window(size, secs(length)));
        dialogue.run_until(secs(length * 10));
        let period = dialogue.period();
        dialogue.idle_until(secs(length * 1_000));
        dialogue.run_until(secs(length * 1_005));
        assert_eq!(dialogue.period(), period);
        assert_learned(&dialogue, (size, secs(length)), 1_000..1_005);
    }
}

#[test]
fn idle_time_after_a_rejection_is_not_mistaken_for_a_window() {
    for (size, length) in [(5, 1), (20, 10), (60, 60)] {
        for idle in [60, 600, 3_600, 8 * 3_600, 40 * 3_600] {
            for busy in [1, 3, 10] {
                let mut dialogue = Dialogue::new(window(size, secs(length)));
                dialogue.run_until(secs(busy));
                dialogue.idle_until(secs(idle));
                let (from, to) = (secs(idle), secs(idle + 30 * length));
                dialogue.run_until(to);
                let (passed, most) = (dialogue.passed_between(from, to) as u64, 30 * size);
                assert!(
                    passed * 100 >= most * 80,
                    "{size} in {length} s, {idle} s after {busy} s: {passed} of {most}",
                );
            }
        }
    }
}

#[test]
fn request_long_after_the_cooldown_shows_no_window() {
    // The cooldown lasts for a second. The window seems to last until the first request that passes after it.
    for (idle, is_shown) in [(2_900, true), (3_300, false)] {
        let (start, mut limit) = (Instant::now() + secs(1_000), Limit::default());
        let millis = |millis| start + Duration::from_millis(millis);
        for _ in 0..5 {
            limit.take(start);
            limit.succeeded(&[], start, millis(50));
        }
        limit.take(millis(100));
        limit.rejected(&silent(), &[], millis(100), millis(150));
        limit.take(millis(idle));
        limit.succeeded(&[], millis(idle), millis(idle + 50));
        let shown = limit.traits.period.length();
        assert_eq!(shown.is_some(), is_shown, "{idle} ms: {shown:?}");
    }
}

#[test]
fn window_named_in_a_message_is_used() {
    let table = [
        (Window::Second, 5, 1),
        (Window::Minute, 60, 60),
        (Window::FiveMinutes, 100, 300),
    ];
    for (said, size, length) in table {
        let mut window = window(size, secs(length));
        let mut dialogue = Dialogue::new(move |at| {
            window(at).map(|rejection| Rejection {
                window: Some(said),
                ..rejection
            })
        });
        dialogue.run_until(secs(length * 20));
        let first = dialogue.rejected_between(secs(0), secs(length * 2));
        assert!(first <= 8, "{said:?}: {first}");
        assert_learned(&dialogue, (size, secs(length)), 2..20);
    }
}

/// Returns a provider with a bucket, whose hints say in whole seconds when more is available.
fn hinting(size: u32, length: Duration) -> impl FnMut(Duration) -> Option<Rejection> {
    let mut bucket = bucket(size, length);
    let to_one = length.as_secs_f64() / f64::from(size);
    move |at| {
        bucket(at).map(|rejection| Rejection {
            retry_after: Some(Duration::from_secs_f64(to_one.ceil())),
            ..rejection
        })
    }
}

#[test]
fn bucket_with_hints_in_whole_seconds_is_used_up_without_a_burst() {
    for (size, length) in [(60, 60), (5, 1)] {
        let mut dialogue = Dialogue::new(hinting(size, secs(length)));
        dialogue.run_until(secs(240));
        let most = u64::from(size) * 240 / length;
        let (passed, rejected) = (dialogue.passed.len() as u64, dialogue.rejected.len());
        assert!(
            passed * 100 >= most * 90,
            "{size} in {length} s: {passed} of {most}"
        );
        // Each hint is one second.
        assert!(
            rejected <= 2 * 240,
            "{size} in {length} s: {rejected} rejected"
        );
    }
}
