//! Limits on tokens.

use super::*;

const LIMIT: u64 = 100_000;

fn tokens(remaining: u64, reset: Duration) -> Bucket {
    Bucket {
        dimension: Dimension::Tokens,
        ..reported(LIMIT, remaining, reset)
    }
}

fn cost(tokens: u64) -> Demand {
    demand(Cost::new(tokens, 0))
}

impl Limit {
    fn capacity_for(&mut self, tokens: u64, now: Instant) -> Capacity {
        let demand = (cost(tokens), SlowStart::Careful);
        self.state.capacity(&mut self.traits, demand, now)
    }

    fn fits(&mut self, tokens: u64, now: Instant) -> bool {
        matches!(self.capacity_for(tokens, now), Capacity::Available(_))
    }

    /// Returns when there will be more capacity for a request that does not fit.
    fn short_until(&mut self, tokens: u64, now: Instant) -> Option<Instant> {
        match self.capacity_for(tokens, now) {
            Capacity::Short { more_at, .. } => more_at,
            other => panic!("{other:?}"),
        }
    }

    fn take_tokens(&mut self, tokens: u64, now: Instant) {
        let demand = cost(tokens);
        self.state.reserve(&mut self.traits, demand.cost(), now);
        self.state.mark_sent(&mut self.traits, demand, now);
    }

    fn pass(&mut self, tokens: u64, reports: &[Bucket], (sent, now): (Instant, Instant)) {
        let cost = cost(tokens).cost();
        let reports = (cost, reports.iter());
        self.state.succeeded(&mut self.traits, reports, (sent, now));
        self.state.release(&mut self.traits, cost, Some(sent));
    }

    /// Sends a request with this cost, after which the provider reports `left` tokens until the reset.
    fn spend(&mut self, tokens: u64, left: u64, reset: Duration, now: Instant) {
        self.take_tokens(tokens, now);
        let reports = [self::tokens(left, reset)];
        self.pass(tokens, &reports, (now, now + millis(50)));
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn request_waits_if_it_costs_more_than_is_left() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.spend(60_000, 40_000, secs(6), now);
    let later = now + millis(100);
    assert!(limit.fits(40_000, later));
    assert_eq!(
        limit.short_until(42_000, later),
        Some(now + millis(6_050)),
        "the window ends then"
    );
    assert!(limit.fits(42_000, now + secs(7)), "the next window");
}

#[test]
fn requests_in_flight_reserve_their_cost() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.spend(10_000, 90_000, secs(6), now);
    let later = now + millis(100);
    limit.take_tokens(50_000, later);
    limit
        .state
        .reserve(&mut limit.traits, Cost::new(0, 30_000), later);
    assert!(!limit.fits(20_000, later), "80,000 of 90,000 are reserved");
    assert!(limit.fits(8_000, later));
    limit
        .state
        .release(&mut limit.traits, Cost::new(0, 30_000), None);
    assert!(limit.fits(20_000, later), "one was not sent");
}

#[test]
fn late_report_does_not_raise_the_remainder() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.spend(1_000, 99_000, secs(6), now);
    let sent = now + millis(100);
    limit.take_tokens(50_000, sent);
    limit.take_tokens(40_000, sent);
    // The second request was admitted last, and its response arrives first.
    let came = sent + millis(50);
    limit.pass(40_000, &[tokens(9_000, secs(6))], (sent, came));
    limit.pass(50_000, &[tokens(49_000, secs(6))], (sent, came + millis(1)));
    assert!(!limit.fits(12_000, came + millis(2)));
    assert!(limit.fits(8_000, came + millis(2)));
}

#[test]
fn bucket_and_window_differ_in_their_resets() {
    // A bucket of 100,000 that fills in ten seconds. The more is used, the later is its reset.
    let (start, mut limit) = (Instant::now(), Limit::default());
    limit.spend(10_000, 90_000, secs(1), start);
    let later = start + millis(100);
    limit.spend(49_000, 42_000, millis(5_800), later);
    assert!(limit.traits.tokens.is_steady());
    let now = later + millis(50);
    let more_at = limit.short_until(60_000, now).expect("a time");
    let wait = (more_at - now).as_secs_f64();
    // 18,000 tokens and a margin are missing. The bucket gets 10,000 per second.
    assert!((1.8..2.0).contains(&wait), "{wait}");
    assert!(limit.fits(60_000, more_at + millis(10)));

    // The end of a window does not depend on what is used.
    let (start, mut limit) = (Instant::now(), Limit::default());
    limit.spend(10_000, 90_000, millis(5_900), start);
    limit.spend(49_000, 42_000, millis(5_800), start + millis(100));
    assert!(!limit.traits.tokens.is_steady());
}

#[test]
fn costs_are_corrected_by_the_counts_of_the_provider() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    // Each request costs twice its estimate.
    let mut left = LIMIT;
    for number in 0..40 {
        left -= 400;
        let reset = millis(60_000 - 100 * number);
        limit.spend(200, left, reset, start + millis(100 * number));
    }
    let now = start + secs(5);
    assert_eq!(left, 84_000);
    assert!(!limit.fits(46_000, now), "it is counted as 92,000");
    assert!(limit.fits(40_000, now));
}

#[test]
fn costs_that_rise_later_are_corrected_without_resets() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    // Each request costs its estimate at first, and later five times as much.
    let mut left = LIMIT;
    for number in 0..40 {
        left -= if number < 20 { 200 } else { 1_000 };
        let sent = start + millis(100 * number);
        limit.take_tokens(200, sent);
        let report = Bucket {
            reset: None,
            ..tokens(left, Duration::ZERO)
        };
        limit.pass(200, &[report], (sent, sent + millis(50)));
    }
    let now = start + secs(5);
    assert_eq!(left, 76_000);
    // This request is in flight, because a lone call could probe whether more is left.
    limit.take_tokens(1, now);
    // Two reports without a reset show no more than a factor of 2.5.
    assert!(!limit.fits(32_000, now), "it is counted as 80,000");
    assert!(limit.fits(29_000, now));
}

#[test]
fn cost_that_the_provider_reports_corrects_the_next() {
    let (start, mut limit) = (Instant::now(), Limit::default());
    let mut left = LIMIT;
    for number in 0..40 {
        let sent = start + millis(100 * number);
        left -= 500;
        limit.take_tokens(1_000, sent);
        let bucket = Bucket {
            cost: Some(500),
            ..tokens(left, millis(60_000 - 100 * number))
        };
        limit.pass(1_000, &[bucket], (sent, sent + millis(50)));
    }
    assert!(limit.fits(150_000, start + secs(5)), "it counts as 75,000");
}

#[test]
fn request_larger_than_the_limit_is_sent_if_nothing_is_used() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.spend(1_000, 99_000, secs(6), now);
    let later = now + millis(100);
    assert_eq!(
        limit.short_until(1_000_000, later),
        Some(now + millis(6_050))
    );
    assert!(limit.fits(1_000_000, now + secs(7)));
}

#[test]
fn rejection_shows_that_less_is_left_than_the_request_needs() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.spend(1_000, 99_000, secs(60), now);
    let sent = now + millis(100);
    limit.take_tokens(50_000, sent);
    let rejection = Rejection {
        dimension: Some(Dimension::Tokens),
        retry_after: Some(millis(200)),
        ..Rejection::new(Reason::RateLimited)
    };
    let when = (sent, sent + millis(50));
    let cost = Cost::new(50_000, 0);
    limit.state.rejected(
        &mut limit.traits,
        &rejection,
        (cost, &[]),
        when,
        LONGEST_GUESS,
    );
    limit.state.release(&mut limit.traits, cost, Some(sent));
    let after_hint = sent + millis(300);
    assert!(!limit.fits(50_000, after_hint));
    assert!(limit.fits(40_000, after_hint));
}

#[test]
fn window_without_reports_is_counted_down() {
    let (now, mut limit) = (Instant::now(), Limit::default());
    limit.spend(1_000, 50_000, secs(60), now);
    let sent = now + millis(100);
    limit.take_tokens(30_000, sent);
    limit.pass(30_000, &[], (sent, sent + millis(50)));
    assert!(!limit.fits(21_000, sent + millis(60)));
    limit.take_tokens(10_000, sent);
    let when = (sent, sent + millis(70));
    limit
        .state
        .abandon(&limit.traits, Cost::new(10_000, 0), when);
    limit
        .state
        .release(&mut limit.traits, Cost::new(10_000, 0), Some(sent));
    assert!(!limit.fits(11_000, sent + millis(80)), "it was abandoned");
    assert!(limit.fits(9_000, sent + millis(80)));
}

#[test]
fn costs_of_any_size_do_not_panic() {
    for tokens in [0, 1, u64::MAX / 2, u64::MAX] {
        let (start, mut limit) = (Instant::now(), Limit::default());
        for number in 0..5 {
            let now = start + secs(number);
            limit.take_tokens(tokens, now);
            limit.take_tokens(u64::MAX, now);
            limit.pass(tokens, &[self::tokens(u64::MAX, secs(1))], (now, now));
            limit.pass(u64::MAX, &[self::tokens(0, Duration::MAX)], (now, now));
        }
        let end = start + MAX_COOLDOWN + secs(10);
        assert!(limit.fits(tokens, end), "{tokens}");
    }
}
