#![allow(clippy::disallowed_methods)]

use super::*;

const REQUESTS: Dimension = Dimension::Requests;

#[test]
fn nothing_left_is_tested_once_and_trusted_after_a_rejection() {
    let (now, mut traits) = (Instant::now(), ProviderTraits::default());
    assert_eq!(traits.tests(REQUESTS, None, now), 1);
    traits.test(REQUESTS, now);
    assert_eq!(
        traits.tests(REQUESTS, None, now),
        0,
        "another key waits for the response"
    );
    traits.confirm(REQUESTS);
    for passed in [None, Some(3)] {
        assert_eq!(traits.tests(REQUESTS, passed, now), 0);
    }
    traits.count_passed(REQUESTS, 100, 0, now);
    assert!(traits.trusts(REQUESTS, now), "it was true once");
}

#[test]
fn test_without_a_response_is_made_again() {
    let (now, mut traits) = (Instant::now(), ProviderTraits::default());
    traits.test(REQUESTS, now);
    assert_eq!(traits.tests(REQUESTS, None, now + VERIFY_TIMEOUT), 1);
}

#[test]
fn successes_disprove_a_report_of_nothing_left_for_an_hour() {
    let (now, mut traits) = (Instant::now(), ProviderTraits::default());
    traits.test(REQUESTS, now);
    for passed in 1..DISPROVED {
        traits.count_passed(REQUESTS, passed, 0, now);
        assert!(traits.trusts(REQUESTS, now));
        assert_eq!(traits.tests(REQUESTS, Some(passed), now), passed + 1);
    }
    traits.count_passed(REQUESTS, DISPROVED, 0, now);
    assert!(!traits.trusts(REQUESTS, now));
    assert!(
        traits.trusts(Dimension::Tokens, now),
        "tokens are counted separately"
    );
    let later = now + DISTRUST;
    assert!(traits.trusts(REQUESTS, later));
    assert_eq!(traits.tests(REQUESTS, None, later), 1, "it is tested again");
}

#[test]
fn successes_within_the_refill_disprove_nothing() {
    let (now, mut traits) = (Instant::now(), ProviderTraits::default());
    traits.count_passed(REQUESTS, DISPROVED + 2, 3, now);
    assert!(traits.trusts(REQUESTS, now));
    traits.count_passed(REQUESTS, DISPROVED + 3, 3, now);
    assert!(!traits.trusts(REQUESTS, now));
}
