#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use super::*;

impl InFlight {
    fn take(&mut self, now: Instant) {
        self.reserve(Cost::default());
        self.send(Cost::default(), now);
    }
}

#[test]
fn requests_sent_well_before_a_moment_do_not_count_after_it() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut in_flight = InFlight::default();
    for millis in [0, 10, 5_000, 5_900, 6_100] {
        in_flight.take(at(millis));
    }
    assert_eq!(in_flight.all(), 5);
    assert_eq!(in_flight.since(at(0)), 5);
    assert_eq!(in_flight.since(at(3_000)), 3);
    assert_eq!(in_flight.since(at(20_000)), 0);
    in_flight.remove(Some(at(5_900)), Cost::default());
    in_flight.remove(Some(at(0)), Cost::default());
    in_flight.remove(Some(at(10)), Cost::default());
    assert_eq!((in_flight.all(), in_flight.since(at(0))), (2, 2));
    assert_eq!(in_flight.since(at(7_050)), 1);
}

#[test]
fn request_without_a_response_does_not_keep_completed_ones() {
    let start = Instant::now();
    let mut in_flight = InFlight::default();
    in_flight.take(start);
    for second in 2..1_000 {
        in_flight.take(start + Duration::from_secs(second));
        in_flight.remove(Some(start + Duration::from_secs(second)), Cost::default());
    }
    assert_eq!((in_flight.sent.len(), in_flight.all()), (1, 1));
}

#[test]
fn request_with_a_late_clock_is_removed_from_where_it_was_counted() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut in_flight = InFlight::default();
    for millis in [0, 5_000, 4_998] {
        in_flight.take(at(millis));
    }
    in_flight.remove(Some(at(4_998)), Cost::default());
    in_flight.remove(Some(at(5_000)), Cost::default());
    assert_eq!((in_flight.all(), in_flight.since(at(4_000))), (1, 0));
    in_flight.remove(Some(at(0)), Cost::default());
    assert!(in_flight.sent.is_empty());
}
