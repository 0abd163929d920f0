//! Properties that hold after any events.

use proptest::{collection::vec, option, prelude::*};

use super::*;

/// An event of a cooldown. Times are in milliseconds.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    /// A rejection of a request that was sent this long ago.
    Reject(Rejection, u64),
    Succeed(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let hint = prop_oneof![
        (0..200_000_u64).prop_map(Duration::from_millis),
        Just(Duration::MAX),
        Just(Duration::ZERO),
    ];
    let reason = prop_oneof![
        4 => Just(Reason::RateLimited),
        1 => Just(Reason::QuotaExhausted),
        1 => Just(Reason::KeyRejected),
        1 => Just(Reason::Overloaded),
    ];
    let window = option::weighted(0.2, Just(Window::Day));
    let rejection = (reason, option::of(hint), window);
    let rejection = rejection.prop_map(|(reason, retry_after, window)| Rejection {
        retry_after,
        window,
        ..Rejection::new(reason)
    });
    prop_oneof![
        2 => (0..400_000_u64).prop_map(Event::Pass),
        1 => (0..100_000_000_u64).prop_map(Event::Pass),
        3 => (rejection, 0..90_000_u64).prop_map(|(rejection, ago)| Event::Reject(rejection, ago)),
        1 => (0..90_000_u64).prop_map(Event::Succeed),
    ]
}

proptest! {
    #[test]
    fn cooldown_only_grows_unless_a_later_success_ends_it(
        longest_guess in prop_oneof![
            (0..100_000_u64).prop_map(Duration::from_millis),
            Just(Duration::MAX),
        ],
        events in vec(event(), 1..60),
    ) {
        let millis = Duration::from_millis;
        let mut now = Instant::now() + secs(1_000);
        let mut cooldown = Cooldown::default();
        let mut rejected_at = None;
        for event in events {
            let before = cooldown.ends_at(now);
            let is_guess = cooldown.allows_early_probe(now);
            match event {
                Event::Pass(time) => now += millis(time),
                Event::Reject(rejection, ago) => {
                    cooldown.reject(&rejection, false, (now - millis(ago), now), longest_guess, UNKNOWN);
                    rejected_at = Some(now);
                }
                Event::Succeed(ago) => {
                    let sent = now - millis(ago);
                    cooldown.succeed(sent);
                    if rejected_at.is_none_or(|at| sent > at) {
                        prop_assert!(cooldown.ends_at(now).is_none());
                        continue;
                    }
                    if is_guess && cooldown.ends_at(now).is_none() {
                        continue;
                    }
                }
            }
            let after = cooldown.ends_at(now);
            prop_assert!(after >= before.filter(|end| *end > now), "{before:?} {after:?}");
            prop_assert!(after.is_none_or(|end| end <= now + MAX_COOLDOWN));
            match cooldown.gate(now) {
                Gate::Closed(until) | Gate::Unusable(until) => {
                    prop_assert_eq!(Some(until), after);
                }
                Gate::Open | Gate::Unproven(_) => prop_assert!(after.is_none()),
            }
        }
    }
}
