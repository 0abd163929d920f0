//! Limits of different sizes, and limits that other programs use too.

use super::{dialogue::*, *};

#[test]
fn other_programs_may_use_half_of_each_window() {
    let (size, length) = (60_u64, secs(60));
    let mut opened = Duration::ZERO;
    let mut used = 0;
    let mut dialogue = Dialogue::new(move |at: Duration| {
        if at >= opened + length {
            (opened, used) = (at, 0);
        }
        // Other programs send a request every two seconds.
        let others = ((at - opened).as_secs() / 2).min(30);
        used += 1;
        (used + others > size).then(|| {
            used -= 1;
            silent()
        })
    });
    dialogue.run_until(length * 40);
    let passed = dialogue.passed_between(length * 5, length * 40);
    let rejected = dialogue.rejected_between(length * 5, length * 40);
    // The caller is faster, so it gets more than half of the window.
    assert!(passed >= 35 * 30, "{passed}");
    assert!(rejected <= 35 * 2, "{rejected}");
}

#[test]
fn limits_of_unequal_sizes_share_the_period_and_not_the_size() {
    let length = secs(10);
    for sizes in [[100, 10, 4], [4, 10, 100]] {
        let mut dialogues = sizes.map(|size| Dialogue::new(window(size, length)));
        let start = dialogues[0].start();
        for dialogue in &mut dialogues {
            dialogue.start_at(start);
        }
        let mut traits = ProviderTraits::default();
        for tenth in 1..=3_000 {
            for dialogue in &mut dialogues {
                std::mem::swap(&mut dialogue.limit.traits, &mut traits);
                dialogue.run_until(Duration::from_millis(100) * tenth);
                std::mem::swap(&mut dialogue.limit.traits, &mut traits);
            }
        }
        for (dialogue, size) in dialogues.iter().zip(sizes) {
            let (from, to) = (length * 10, length * 30);
            let (passed, rejected) = (
                dialogue.passed_between(from, to),
                dialogue.rejected_between(from, to),
            );
            let most = 20 * usize::try_from(size).unwrap();
            assert!(
                passed * 100 >= most * 90,
                "{sizes:?} {size}: {passed} of {most}"
            );
            assert!(rejected <= 20, "{sizes:?} {size}: {rejected}");
        }
    }
}

#[test]
fn size_that_is_contradicted_is_forgotten() {
    let length = secs(10);
    for [before, after] in [[20, 60], [60, 20], [5, 40], [40, 5]] {
        let (mut first, mut then) = (window(before, length), window(after, length));
        let change = length * 20;
        let mut dialogue = Dialogue::new(move |at: Duration| match at < change {
            true => first(at),
            false => then(at - change),
        });
        dialogue.run_until(length * 80);
        let (from, to) = (length * 40, length * 80);
        let passed = dialogue.passed_between(from, to);
        let most = 40 * usize::try_from(after).unwrap();
        assert!(
            passed * 100 >= most * 93,
            "{before} to {after}: {passed} of {most}"
        );
        let rejected = dialogue.rejected_between(change, to);
        assert!(rejected <= 80, "{before} to {after}: {rejected}");
    }
}
