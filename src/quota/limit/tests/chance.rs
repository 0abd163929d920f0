//! Random rejections, and rejections by a limit.

use super::{dialogue::*, *};

/// Rejects a share of all requests at random.
fn at_random(
    share: f64,
    rejection: Rejection,
    seed: u64,
) -> impl FnMut(Duration) -> Option<Rejection> {
    let mut random = fastrand::Rng::with_seed(seed);
    move |_| (random.f64() < share).then(|| rejection.clone())
}

#[test]
fn one_random_rejection_in_twenty_does_not_close() {
    for reason in [Reason::RateLimited, Reason::Overloaded] {
        for seed in 0..20 {
            let provider = at_random(0.05, Rejection::new(reason), seed);
            let mut dialogue = Dialogue::new(provider).workers(10);
            dialogue.run_until(secs(60));
            // Ten workers with responses in 0.35 s could send 28 a second.
            let passed = dialogue.passed_between(secs(5), secs(60));
            assert!(passed > 55 * 24, "{reason:?} {seed}: {passed}");
        }
    }
}

#[test]
fn one_random_overload_in_five_closes_little() {
    for seed in 0..20 {
        let provider = at_random(0.2, Rejection::new(Reason::Overloaded), seed);
        let mut dialogue = Dialogue::new(provider).workers(10);
        dialogue.run_until(secs(60));
        let passed = dialogue.passed_between(secs(5), secs(60));
        assert!(passed > 55 * 18, "{seed}: {passed}");
    }
}

/// Rejects everything for some seconds.
fn outage(
    from: Duration,
    to: Duration,
    rejection: Rejection,
) -> impl FnMut(Duration) -> Option<Rejection> {
    move |at| (from..to).contains(&at).then(|| rejection.clone())
}

#[test]
fn run_of_rejections_closes_and_a_success_opens_again() {
    for reason in [Reason::RateLimited, Reason::Overloaded] {
        let (from, to) = (secs(10), secs(15));
        let mut dialogue = Dialogue::new(outage(from, to, Rejection::new(reason))).workers(10);
        dialogue.run_until(secs(60));
        let wasted = dialogue.rejected.len();
        assert!(wasted <= 25, "{reason:?}: {wasted}");
        let soon = dialogue.passed_between(to, to + secs(3));
        assert!(soon > 0, "{reason:?}");
        let passed = dialogue.passed_between(to + secs(3), secs(60));
        assert!(passed > 42 * 24, "{reason:?} {passed}");
    }
}

/// Sends a request whose response arrives at once.
fn answered(limit: &mut Limit, rejection: Option<&Rejection>, at: Instant) {
    limit.take(at);
    let now = at + Duration::from_millis(50);
    match rejection {
        Some(rejection) => limit.rejected(rejection, &[], at, now),
        None => limit.succeeded(&[], at, now),
    }
}

fn is_closed(limit: &mut Limit, now: Instant) -> bool {
    matches!(limit.capacity(now), Capacity::Closed(_))
}

#[test]
fn overload_closes_after_three_in_a_row() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    let overloaded = Rejection::new(Reason::Overloaded);
    let at = |tenth: u64| start + Duration::from_millis(100 * tenth);
    for (tenth, rejection) in [
        Some(&overloaded),
        Some(&overloaded),
        None,
        Some(&overloaded),
        Some(&overloaded),
    ]
    .into_iter()
    .enumerate()
    {
        let at = at(tenth as u64);
        answered(&mut limit, rejection, at);
        assert!(
            !is_closed(&mut limit, at + Duration::from_millis(50)),
            "{tenth}"
        );
    }
    answered(&mut limit, Some(&overloaded), at(5));
    assert!(is_closed(&mut limit, at(6)));
    let hinted = Rejection {
        retry_after: Some(secs(5)),
        ..overloaded
    };
    let mut limit = Limit::default();
    answered(&mut limit, Some(&hinted), start);
    assert!(
        is_closed(&mut limit, start + secs(4)),
        "a hint is respected"
    );
}

#[test]
fn first_rejection_after_some_that_passed_is_tested_early_and_once() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    for passes in [false, true] {
        let mut limit = Limit::default();
        for tenth in 0..6 {
            answered(&mut limit, None, at(tenth * 100));
        }
        answered(&mut limit, Some(&silent()), at(600));
        assert!(is_closed(&mut limit, at(650)));
        assert!(is_closed(&mut limit, at(899)));
        assert_eq!(limit.capacity(at(900)), Capacity::Available(1));
        limit.take(at(900));
        assert!(is_closed(&mut limit, at(910)), "one at a time");
        match passes {
            true => {
                limit.succeeded(&[], at(900), at(950));
                assert!(matches!(limit.capacity(at(950)), Capacity::Available(_)));
            }
            false => {
                limit.rejected(&silent(), &[], at(900), at(950));
                assert!(is_closed(&mut limit, at(950)));
                assert!(is_closed(&mut limit, at(1_300)), "it was tested");
            }
        }
    }
}

#[test]
fn first_rejection_of_all_is_not_tested_early() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    answered(&mut limit, Some(&silent()), start);
    for millis in [50, 300, 600, 1_000] {
        assert!(is_closed(&mut limit, start + Duration::from_millis(millis)));
    }
    assert_eq!(
        limit.capacity(start + Duration::from_millis(1_050)),
        Capacity::Available(1)
    );
}
