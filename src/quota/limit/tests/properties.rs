//! Properties that hold after any events at any times.

mod world;

use proptest::{collection::vec, option, prelude::*};

use super::{dialogue::*, *};
use world::World;

/// An event of a limit. Times are in milliseconds.
#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Reserve,
    /// A reserved request is sent by a task whose time is late by this much.
    Send(u64),
    /// A reserved request is not sent.
    Drop,
    Abandon(usize),
    Succeed(usize, Vec<Bucket>),
    Reject(usize, Rejection, Vec<Bucket>),
    /// A duplicate response, or one to an unknown request, which was sent this long ago.
    Stray(Option<Rejection>, u64),
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0..200_000_u64).prop_map(Duration::from_millis),
        2 => (0..100_u64).prop_map(Duration::from_secs),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
        1 => (0..u64::MAX).prop_map(Duration::from_secs),
    ]
}

fn rejection() -> impl Strategy<Value = Rejection> {
    let reason = prop_oneof![
        8 => Just(Reason::RateLimited),
        3 => Just(Reason::Overloaded),
        1 => Just(Reason::QuotaExhausted),
        1 => Just(Reason::KeyRejected),
    ];
    let window = prop_oneof![
        Just(Window::Second),
        Just(Window::Minute),
        Just(Window::Hour),
        Just(Window::Day)
    ];
    let (hint, window) = (
        option::weighted(0.3, duration()),
        option::weighted(0.2, window),
    );
    (reason, hint, window).prop_map(|(reason, retry_after, window)| Rejection {
        retry_after,
        window,
        ..Rejection::new(reason)
    })
}

fn bucket_report() -> impl Strategy<Value = Bucket> {
    let count = || prop_oneof![8 => 0..6_u64, 1 => 0..1_000_u64, 1 => Just(u64::MAX)];
    let counts = (
        option::of(count()),
        option::of(count()),
        option::of(duration()),
    );
    counts.prop_map(|(limit, remaining, reset)| Bucket {
        limit,
        remaining,
        reset,
        ..reported(0, 0, Duration::ZERO)
    })
}

fn event(reports: usize) -> impl Strategy<Value = Event> {
    let any = || 0..64_usize;
    let buckets = move || vec(bucket_report(), 0..=reports);
    prop_oneof![
        3 => (0..3_000_u64).prop_map(Event::Wait),
        1 => (0..100_000_u64).prop_map(Event::Wait),
        1 => (0..400_000_000_u64).prop_map(Event::Wait),
        6 => Just(Event::Reserve),
        6 => prop_oneof![4 => Just(0), 1 => 0..3_000_u64].prop_map(Event::Send),
        1 => Just(Event::Drop),
        1 => any().prop_map(Event::Abandon),
        4 => (any(), buckets()).prop_map(|(index, reports)| Event::Succeed(index, reports)),
        4 => (any(), rejection(), buckets())
            .prop_map(|(index, rejection, reports)| Event::Reject(index, rejection, reports)),
        1 => (option::of(rejection()), 0..90_000_u64).prop_map(|(it, ago)| Event::Stray(it, ago)),
    ]
}

proptest! {
    #[test]
    fn limit_has_an_end_after_any_events(
        longest_guess in duration(),
        events in vec(event(2), 1..80),
    ) {
        let mut world = World::new(longest_guess);
        for event in events {
            world.happens(event);
            world.has_an_end()?;
        }
    }

    #[test]
    fn capacity_is_at_most_the_known_remainder_after_any_events(events in vec(event(2), 1..80)) {
        let mut world = World::new(LONGEST_GUESS);
        for event in events {
            world.happens(event);
            let reported = |limit: &Limit| -> Vec<_> {
                let known = limit.state.known_limits(&limit.traits, world.now);
                known.filter(|known| !known.is_learned).collect()
            };
            let known = reported(&world.limit);
            if let Capacity::Available(more) = world.limit.capacity(world.now) {
                for known in &known {
                    prop_assert!(more <= known.remaining, "{more} of {known:?}");
                }
            }
            prop_assert_eq!(known, reported(&world.limit));
        }
    }

    #[test]
    fn waiter_is_served_within_two_periods_or_the_longest_guess(
        events in vec(event(0), 1..80),
    ) {
        let mut world = World::new(LONGEST_GUESS);
        for event in events {
            world.happens(event);
        }
        world.all_pass();
        let Limit { state, traits } = &world.limit;
        let before = state.estimate.length(traits).unwrap_or_default();
        let ends = state.end(traits, world.now).map(|end| end.at);
        let ends = ends.into_iter().chain(state.estimate.window_end(traits));
        let end = ends.max().unwrap_or(world.now);
        let closed = end.saturating_duration_since(world.now);
        let waited = world.waits()?;
        let Limit { state, traits } = &world.limit;
        let period = state.estimate.length(traits).unwrap_or_default();
        let period = period.max(before);
        let most = closed + (2 * period).max(LONGEST_GUESS) + secs(2);
        prop_assert!(waited <= most, "{waited:?}, closed for {closed:?}, a period of {period:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn size_follows_the_requests_that_pass(
        length in prop_oneof![Just(secs(10)), Just(secs(60))],
        before in 3..40_u64,
        after in 3..40_u64,
    ) {
        let (mut first, mut then) = (window(before, length), window(after, length));
        let change = length * 20;
        let mut dialogue = Dialogue::new(move |at: Duration| match at < change {
            true => first(at),
            false => then(at - change),
        });
        let (from, to) = (change + length * 40, change + length * 60);
        dialogue.run_until(to);
        let (passed, rejected) = (dialogue.passed_between(from, to), dialogue.rejected_between(from, to));
        let most = 20 * usize::try_from(after).unwrap();
        prop_assert!(passed * 100 >= most * 75, "{passed} of {most}");
        prop_assert!(rejected <= 20 + 4, "{rejected}");
    }
}
