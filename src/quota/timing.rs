//! The time bounds of the room, each with what it bounds.

use std::time::Duration;

/// The longest cooldown, also after a longer hint: windows of a day and of a month are checked again.
pub(crate) const MAX_COOLDOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// The first cooldown of an exhausted quota: it may be raised at any time.
pub(crate) const QUOTA_RECHECK: Duration = Duration::from_secs(60 * 60);

/// The first cooldown of a rejected key: a 401 may be a provider's hiccup and must not disable the key.
pub(crate) const KEY_RECHECK: Duration = Duration::from_secs(60);

/// The first cooldown without a hint. Most such limits refill every second, and an overload ends in
/// seconds: a minute at once would cost far more than a few probes.
pub(crate) const FIRST_GUESS: Duration = Duration::from_secs(1);

/// A guess is tested this early once, where much has passed before: a rejection that stood alone must not
/// close a limit for a second.
pub(crate) const EARLY_TEST: Duration = Duration::from_millis(250);

/// It is tried if windows this long have become shorter. The others cost little if they are too long.
pub(crate) const LONG_WINDOW: Duration = Duration::from_secs(5);

/// Responses that come within this time show soon enough how many requests pass.
pub(crate) const QUICK: Duration = Duration::from_millis(150);

/// The next window is awaited this much longer than it was seen to take, or a fiftieth if that is less:
/// requests take longer on some ways than on others.
pub(crate) const PERIOD_MARGIN: Duration = Duration::from_millis(25);

/// The least time within which a rejection is expected.
pub(crate) const LEAST_LATENCY: Duration = Duration::from_millis(150);

/// The longest guess unless the caller sets another: a window of a minute.
pub(crate) const LONGEST_GUESS: Duration = Duration::from_secs(60);

/// The least that a caller may set as the longest guess: without a cooldown, a waiting call would send
/// without end.
pub(crate) const MIN_LONGEST_GUESS: Duration = Duration::from_millis(500);

/// The first cooldown after a hint that has proved false: a provider that always reports "1 ms" must not
/// receive a thousand requests a second. It doubles, so it need not be long, and some hints are rounded.
pub(crate) const FALSE_HINT_FLOOR: Duration = Duration::from_millis(200);

/// How late a rejection may come. Providers reject at once, so a slower response is a success.
pub(crate) const REJECTION_LATENCY: Duration = Duration::from_secs(1);

/// While little is known of a limit, what may be sent doubles each time this has passed.
pub(crate) const DOUBLING_INTERVAL: Duration = Duration::from_millis(250);

/// After so many doublings nothing bounds what may be sent.
const MAX_DOUBLINGS: u32 = 20;

/// How long after its send a request is counted: providers count when they admit it, however long the
/// response takes.
pub(crate) const ADMISSION_SLACK: Duration = Duration::from_secs(1);

/// Window ends this close are one end: the admission is known to a second, and some resets are whole seconds.
pub(crate) const SAME_WINDOW_SLACK: Duration = Duration::from_secs(2);

/// Requests that are sent within this time before another may arrive after it.
pub(crate) const SEND_RESOLUTION: Duration = Duration::from_secs(1);

/// Requests that are sent within this time are counted together.
pub(crate) const COUNTED_TOGETHER: Duration = Duration::from_millis(20);

/// Reports that have proved false are ignored for this long.
pub(crate) const DISTRUST: Duration = Duration::from_secs(60 * 60);

/// A test of a report that has no result by then is made again.
pub(crate) const VERIFY_TIMEOUT: Duration = Duration::from_secs(60);

/// Permits that are granted at one moment are used within this time, so that their requests do not arrive
/// as one.
///
/// It bounds the jitter after a hint too. A permit that waits for its departure serves no call, and no
/// response reports the new window yet: with up to 250 ms, calls on token buckets took 5 to 6 % longer
/// than the limits allow, with this 3 to 4 % (`examples/simulation`).
pub(crate) const MAX_STAGGER: Duration = Duration::from_millis(100);

/// The time between two departures, if there are few.
pub(crate) const STAGGER: Duration = Duration::from_millis(2);

/// A waiter polls this long after the head of its class should have, because the head's task may not run.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_millis(100);

/// Waiters are notified if the moment that they wait for moves by more than this.
pub(crate) const MAX_SLIP: Duration = Duration::from_secs(1);

/// The least time until a waiter polls again: a moment in the past is one that a response will move.
pub(crate) const MIN_SLEEP: Duration = Duration::from_millis(1);

/// How often the allowance has doubled since then, and when it doubles next.
pub(crate) fn doublings(
    since: tokio::time::Instant,
    now: tokio::time::Instant,
) -> (u32, tokio::time::Instant) {
    let passed = now.saturating_duration_since(since);
    let doublings = passed.as_millis() / DOUBLING_INTERVAL.as_millis();
    let into_this = passed.as_millis() % DOUBLING_INTERVAL.as_millis();
    let into_this = Duration::from_millis(u64::try_from(into_this).unwrap_or_default());
    (
        u32::try_from(doublings).map_or(MAX_DOUBLINGS, |doublings| doublings.min(MAX_DOUBLINGS)),
        now + DOUBLING_INTERVAL - into_this,
    )
}
