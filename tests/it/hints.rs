//! Values of `retry-after` and `retry-after-ms`, the hints parsed from them, and the resulting waits.

use std::time::{Duration, SystemTime};

use crate::script::*;
use http::Response;
use tokio::time::Instant;
use tower::{Layer as _, ServiceExt};
use tower_429::{
    BackoffLayer, Call,
    rejection::Rejection,
    trail::{LayerKind, StopReason},
};

/// The headers of a rejection, and the hint in milliseconds.
type Row<'a> = (&'a [(&'static str, &'a str)], Option<u64>);

const DATE: (&str, &str) = ("date", "Mon, 05 Aug 2019 09:27:00 GMT");
const NINES: &str = "99999999999999999999999999999999999";

#[rustfmt::skip] // one line per row
const TABLE: &[Row<'_>] = &[
    // Seconds.
    (&[("retry-after", "20")], Some(20_000)),
    (&[("retry-after", "60")], Some(60_000)),
    (&[("retry-after", "61")], Some(61_000)),
    (&[("retry-after", " 7 ")], Some(7_000)),
    (&[("retry-after", "0")], Some(0)),
    // Decimals, which are never rounded down.
    (&[("retry-after", "0.5")], Some(500)),
    (&[("retry-after", "0.0001")], Some(1)),
    (&[("retry-after", "1.0000000001")], Some(1_001)),
    // Milliseconds. They take precedence over seconds, unless only the milliseconds are zero.
    (&[("retry-after-ms", "250")], Some(250)),
    (&[("retry-after-ms", "250"), ("retry-after", "9")], Some(250)),
    (&[("retry-after", "1"), ("retry-after-ms", "0")], Some(1_000)),
    // Dates in all three forms of HTTP, measured by the clock of the response.
    (&[DATE, ("retry-after", "Mon, 05 Aug 2019 09:28:00 GMT")], Some(60_000)),
    (&[DATE, ("retry-after", "Monday, 05-Aug-19 09:28:00 GMT")], Some(60_000)),
    (&[DATE, ("retry-after", "Mon Aug  5 09:28:00 2019")], Some(60_000)),
    (&[DATE, ("retry-after", "Mon, 05 Aug 2019 09:26:59 GMT")], Some(0)),
    (&[DATE, ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], None),
    // Not a hint.
    (&[("retry-after", "-10")], None),
    (&[("retry-after", NINES)], None),
    (&[("retry-after", "NaN")], None),
    (&[("retry-after", "inf")], None),
    (&[("retry-after", "1e9")], None),
    (&[("retry-after", "+5")], None),
    (&[("retry-after", "")], None),
    (&[("retry-after", "999999999 Hello")], None),
    (&[], None),
];

fn rejection_of(headers: &[(&str, &str)], now: SystemTime) -> Rejection {
    let mut response = Response::builder().status(429);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Rejection::from_head(&head, now).expect("a 429 is a rejection")
}

fn answer_of(headers: &[(&'static str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).into()));
    Answer::Response(429, headers.collect())
}

#[test]
fn hint_is_parsed_exactly_or_ignored() {
    for (headers, expected) in TABLE {
        let hint = rejection_of(headers, SystemTime::UNIX_EPOCH).retry_after;
        assert_eq!(hint, expected.map(Duration::from_millis), "{headers:?}");
    }
}

#[test]
fn date_is_compared_with_the_date_of_the_response_or_else_the_clock() {
    // DATE, in seconds.
    let theirs = SystemTime::UNIX_EPOCH + secs(1_564_997_220);
    let in_a_minute = ("retry-after", "Mon, 05 Aug 2019 09:28:00 GMT");
    let minute = Some(secs(60));
    assert_eq!(rejection_of(&[in_a_minute], theirs).retry_after, minute);
    for ours in [theirs - secs(3_600), theirs + secs(3_600)] {
        let rejection = rejection_of(&[in_a_minute, DATE], ours);
        assert_eq!(rejection.retry_after, minute, "an hour off");
        let rejection = rejection_of(&[in_a_minute, ("date", "yesterday")], ours);
        assert_ne!(rejection.retry_after, minute, "no date to compare with");
    }
}

#[tokio::test(start_paused = true)]
async fn wait_lasts_for_each_hint_and_at_most_the_jitter_longer() {
    for (headers, hint) in TABLE {
        for seed in 0..20 {
            let provider = Provider::script([answer_of(headers), ok()]);
            let layer = BackoffLayer::new().max_wait(secs(61)).seed(seed);
            let response = layer.layer(provider.clone()).oneshot(chat("m")).await;
            assert_eq!(response.unwrap().status(), 200);
            let (least, most) = match hint.map(Duration::from_millis) {
                // Not usable, so the layer uses its own delay.
                None | Some(Duration::ZERO) => (secs(1), Duration::from_millis(1_500)),
                Some(hint) => (hint, hint + (hint / 10).max(Duration::from_millis(250))),
            };
            // The timer has a resolution of a millisecond.
            let most = most + Duration::from_millis(1);
            let wait = provider.waits()[0];
            assert!((least..=most).contains(&wait), "{headers:?}: {wait:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hint_over_max_wait_or_the_deadline_is_returned_without_a_wait() {
    for (headers, hint) in TABLE {
        let Some(hint) = hint
            .map(Duration::from_millis)
            .filter(|hint| !hint.is_zero())
        else {
            continue;
        };
        let shorter = hint - Duration::from_millis(1);
        let settings = [
            (
                BackoffLayer::new().max_wait(shorter),
                None,
                StopReason::WaitTooLong,
            ),
            (
                BackoffLayer::new().max_wait(hint).deadline(hint),
                None,
                StopReason::PastDeadline,
            ),
            (
                BackoffLayer::new().max_wait(hint),
                Some(Call::new().deadline(hint)),
                StopReason::PastDeadline,
            ),
        ];
        for (layer, call, why) in settings {
            let mut request = chat("m");
            if let Some(call) = call {
                request.extensions_mut().insert(call);
            }
            let provider = Provider::script([answer_of(headers)]);
            let start = Instant::now();
            let response = layer.layer(provider).oneshot(request).await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO, "{headers:?}");
            assert_eq!(whys(&response), [(LayerKind::Backoff, why)], "{headers:?}");
        }
    }
}
