//! A delay or a date in a sentence ("Please try again in 6m0s.").

use std::time::{Duration, SystemTime};

use super::{
    chinese,
    decimal::{self, SECOND},
    duration, timestamp,
};

/// The words before a delay. A number anywhere else in a message is a limit, a price or a port.
#[rustfmt::skip]
const BEFORE_A_DELAY: &[&str] = &[
    "again in ", "again after ", "retry in ", "retry after ", "retrying in ", "retrying after ",
    "replenished in ", "replenished after ", "reset in ", "reset after ", "resets in ", "resets after ",
    "available in ", "wait for ", "wait ", "retry-after: ",
];

/// The words before a date.
#[rustfmt::skip]
const BEFORE_A_DATE: &[&str] = &[
    "resets at: ", "resets at ", "resets on ", "reset at: ", "reset at ", "reset on ", "again at ",
    "again on ", "again after ", "retry after ", "reset after ", "resets after ", "resets ", "until ",
    "retry at ", "access on ", "available on ", "available at ",
];

/// The text before a `google.protobuf.Duration` in the text form of protocol buffers
/// (`retry_delay {\n  seconds: 44\n}`). Google's Python client and proxies put this form into their errors.
const BEFORE_A_PRINTED_DELAY: &[&str] = &["retry_delay {", "retry_delay{"];

#[rustfmt::skip]
const HEDGES: &[&str] = &["about ", "around ", "approximately ", "another ", "at least ", "~"];

/// Returns the longest delay in a text of lower-case letters, because a wait must not be shorter than any.
pub(crate) fn delay(text: &str, now: SystemTime) -> Option<Duration> {
    let delays = after(text, BEFORE_A_DELAY).filter_map(span);
    let dates = after(text, BEFORE_A_DATE).filter_map(|text| {
        let (at, _) = timestamp::leading(text)?;
        timestamp::until(at, now)
    });
    let printed = after(text, BEFORE_A_PRINTED_DELAY).filter_map(printed_span);
    let delays = delays.chain(dates).chain(printed);
    delays.chain(chinese::delays(text)).max()
}

/// Returns the date of a sentence whose time of day is not exact ("on 2026-09-01 at 00:00 UTC").
pub(crate) fn date(text: &str, now: SystemTime) -> Option<SystemTime> {
    after(text, BEFORE_A_DATE)
        .filter_map(timestamp::leading_sentence)
        .filter(|at| timestamp::is_credible(*at, now))
        .max()
}

/// Returns the text behind each of the `anchors` that begins a word.
fn after<'a>(text: &'a str, anchors: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
    let anchors = anchors.iter().filter(|anchor| anchor.len() < text.len());
    anchors.flat_map(move |anchor| {
        let places = text.match_indices(anchor);
        let places = places.filter(|(at, _)| !text[..*at].ends_with(char::is_alphanumeric));
        places.map(move |(at, _)| &text[at + anchor.len()..])
    })
}

/// Returns the delay that `text` begins with, after words such as "about".
fn span(text: &str) -> Option<Duration> {
    let mut hedges = HEDGES.iter();
    let text = hedges
        .find_map(|hedge| text.strip_prefix(hedge))
        .unwrap_or(text);
    let text = text.trim_start_matches([' ', '`', '"', '\'', '*']);
    duration::leading(text).map(|(span, _)| span)
}

/// Reads `seconds: 44` and perhaps `nanos: 98217318`.
fn printed_span(text: &str) -> Option<Duration> {
    let (seconds, rest) = printed_field(text, "seconds:", SECOND)?;
    let nanos = printed_field(rest, "nanos:", 1).map_or(0, |(nanos, _)| nanos);
    decimal::from_nanos(seconds.checked_add(nanos)?)
}

fn printed_field<'a>(text: &'a str, name: &str, unit: u64) -> Option<(u128, &'a str)> {
    let number = text.trim_start().strip_prefix(name)?;
    let (number, rest) = decimal::leading(number.trim_start())?;
    Some((decimal::nanos(number, unit)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-31T10:04:00Z
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_221_840)
    }

    #[test]
    fn sentence_names_a_delay() {
        let table: &[(&str, Option<u64>)] = &[
            ("Please try again in 20s. Visit", Some(20_000)),
            ("Please try again in 6ms.", Some(6)),
            ("try again in 250 ms", Some(250)),
            ("Your limit resets in .5s.", Some(500)),
            ("[retry_delay {\n  seconds: 44\n}]", Some(44_000)),
            ("retry_delay { seconds: 44 nanos: 98217318 }", Some(44_099)),
            ("retry_delay {\n}", None),
            ("retry_delay { seconds: -44 }", None),
            (
                "It will reset at 2026-05-31 18:04:59 +0800 CST. Request",
                Some(59_000),
            ),
            ("resets at 2026-05-31 18:04:59 UTC+8", Some(59_000)),
            ("resets at 2026-05-31 10:04:59 -0000", Some(59_000)),
            ("reset at 2026-05-31 18:04:59", None),
            ("Please try again in 1h2m3.5s", Some(3_723_500)),
            ("Please try again in 9m38.016s. Need more", Some(578_016)),
            ("Please retry in 44.09s.", Some(44_090)),
            ("Please retry after 1 second.", Some(1_000)),
            ("Retry after 60 seconds", Some(60_000)),
            (
                "Please wait 57829 seconds before retrying.",
                Some(57_829_000),
            ),
            ("Please wait for about 2 minutes", Some(120_000)),
            ("Try again in 1 minute and 30 seconds.", Some(90_000)),
            ("try again in 1 hour, 5 minutes", Some(3_900_000)),
            ("try again in 5 minutes, 3 attempts left", Some(300_000)),
            ("Quota will be replenished in 00:30:02.", Some(1_802_000)),
            ("replenished in 14.07:13:56.", Some(1_235_636_000)),
            ("Your quota will reset after 2h7m3s.", Some(7_623_000)),
            ("Limit resets at: 2026-05-31 10:04:41 UTC", Some(41_000)),
            ("resets at 2026-05-31T10:05:00Z (2056)", Some(60_000)),
            ("try again in 2 days", Some(172_800_000)),
            ("retry after 2026-05-31 10:04:59 UTC", Some(59_000)),
            ("blocked until 2026-05-31T10:04:59Z", Some(59_000)),
            ("请求过于频繁，请在 20 秒后重试", Some(20_000)),
            ("请1.5分钟之后再试", Some(90_000)),
            ("将于 2 个小时后重置", Some(7_200_000)),
            ("请在 10-20 秒后重试", None),
            ("请稍后重试", None),
            ("秒后", None),
            ("replenished in 2.12 days", None),
            ("Please try again in a few minutes", None),
            ("try again in 20", None),
            ("try again in -5 seconds", None),
            ("try again in 1e9 seconds", None),
            ("try again in inf seconds", None),
            ("try again in 99999999999999999999 seconds", None),
            ("try again in 1,000 seconds", None),
            ("Limit 3, Used 3, Requested 1.", None),
            ("await 3 seconds", None),
            ("resets at 9999-12-31T23:59:59Z", None),
            ("", None),
        ];
        for (text, expected) in table {
            let read = delay(&text.to_lowercase(), now());
            assert_eq!(read, expected.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn date_without_seconds_is_no_delay() {
        let text = "you will regain access on 2026-09-01 at 00:00 utc.";
        assert_eq!(delay(text, now()), None);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_788_220_800);
        assert_eq!(date(text, now()), Some(at));
        assert_eq!(date("access on 9999-09-01 at 00:00 utc", now()), None);
        assert_eq!(date("access on 2020-09-01 at 00:00 utc", now()), None);
    }
}
