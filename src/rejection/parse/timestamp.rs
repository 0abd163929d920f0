//! A calendar date with its offset: RFC 3339, the form of SQL (`2026-05-31 10:04:41 UTC`), Go's
//! (`2026-08-03 23:59:59 +0800 CST`), that of sentences (`2026-09-01 at 00:00 UTC`), and HTTP-dates.
//!
//! No crate is used for this. Crates that read RFC 3339 with an offset depend on a time zone library (two
//! crates and more code than this whole project). `httpdate` reads only the three forms of HTTP.

use std::{
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use super::decimal::{self, LONGEST, SECOND};

const LONGEST_ZONE: usize = 5;

/// The longest HTTP-date has a weekday of nine letters, a month of three and a time of eight.
const LONGEST_DATE: usize = 32;

/// Reads RFC 3339, or the same with blanks and the offset of Go or SQL. The offset is mandatory.
pub(super) fn parse(value: &str) -> Option<SystemTime> {
    let (at, rest) = leading(value)?;
    // Go writes the zone's name behind its offset.
    let is_zone = rest
        .strip_prefix(' ')
        .is_some_and(|zone| zone.len() <= LONGEST_ZONE && zone.bytes().all(is_of_zone));
    (rest.is_empty() || is_zone).then_some(at)
}

/// `CST`, `AEST`, or `+08` where a zone has no name.
fn is_of_zone(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-')
}

/// Reads an HTTP-date in any of its three forms, or with the offset of a mail (RFC 5322, section 3.3),
/// where `-0000` is UTC.
pub(super) fn http_date(value: &str) -> Option<SystemTime> {
    if let Ok(at) = httpdate::parse_http_date(value) {
        return Some(at);
    }
    let (date, zone) = value.rsplit_once(' ')?;
    let (offset, rest) = offset(zone)?;
    if date.len() > LONGEST_DATE || !rest.is_empty() {
        return None;
    }
    let at = httpdate::parse_http_date(&format!("{date} GMT")).ok()?;
    let shift = Duration::from_secs(offset.unsigned_abs());
    match offset < 0 {
        true => at.checked_add(shift),
        false => at.checked_sub(shift),
    }
}

/// As [`parse`], for the start of `text`; returns the rest.
pub(super) fn leading(text: &str) -> Option<(SystemTime, &str)> {
    let (at, rest, is_sentence) = read(text)?;
    (!is_sentence).then_some((at, rest))
}

/// Reads `2026-09-01 at 00:00 UTC` at the start of `text`.
pub(super) fn leading_sentence(text: &str) -> Option<SystemTime> {
    let (at, _, is_sentence) = read(text)?;
    is_sentence.then_some(at)
}

/// Returns the time from `now` to `at`, rounded up. A past date is zero, and a date more than a year away is
/// a mistake.
pub(super) fn until(at: SystemTime, now: SystemTime) -> Option<Duration> {
    decimal::from_nanos(at.duration_since(now).unwrap_or_default().as_nanos())
}

/// Whether `at` is neither past nor beyond a year.
pub(super) fn is_credible(at: SystemTime, now: SystemTime) -> bool {
    at.duration_since(now).is_ok_and(|wait| wait <= LONGEST)
}

/// Reads the date at the start of `text`: the date, the rest, and whether it has the form of a sentence.
fn read(text: &str) -> Option<(SystemTime, &str, bool)> {
    let (year, text) = digits(text, 4, 1970..=9999)?;
    let (month, text) = digits(text.strip_prefix('-')?, 2, 1..=12)?;
    let month_ends = days_since_epoch(year, month + 1, 1);
    let last_day = month_ends - days_since_epoch(year, month, 1);
    let (day, text) = digits(text.strip_prefix('-')?, 2, 1..=last_day)?;
    let (is_sentence, text) = match text.strip_prefix(" at ") {
        Some(text) => (true, text),
        None => (false, text.strip_prefix(['T', 't', ' '])?),
    };
    let (hour, text) = digits(text, 2, 0..=23)?;
    let (minute, text) = digits(text.strip_prefix(':')?, 2, 0..=59)?;
    let (nanos, text) = match text.strip_prefix(':') {
        Some(seconds) => {
            let (number, rest) = decimal::leading(seconds)?;
            // 60 is a leap second.
            let (_, fraction) = digits(number, 2, 0..=60)?;
            if !fraction.is_empty() && !fraction.starts_with('.') {
                return None;
            }
            (decimal::nanos(number, SECOND)?, rest)
        }
        // Only a sentence may leave out the seconds.
        None => (is_sentence.then_some(0)?, text),
    };
    let (offset, rest) = offset(text)?;
    let seconds = (days_since_epoch(year, month, day) * 24 + hour) * 3_600 + minute * 60;
    let seconds = u64::try_from(seconds.checked_sub(offset)?).ok()?;
    let nanos = Duration::from_nanos(u64::try_from(nanos).ok()?);
    let at = Duration::from_secs(seconds).checked_add(nanos)?;
    let at = SystemTime::UNIX_EPOCH.checked_add(at)?;
    Some((at, rest, is_sentence))
}

/// Reads exactly `count` digits in `range` at the start of `text`.
fn digits(text: &str, count: usize, range: RangeInclusive<i64>) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = number.parse().ok()?;
    range.contains(&number).then_some((number, rest))
}

/// Reads the offset from UTC in seconds: `Z`, `UTC`, `UTC+8`, `+08:00`, ` +0800`, `-0000`.
fn offset(text: &str) -> Option<(i64, &str)> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    if let Some(rest) = text.strip_prefix(['Z', 'z']) {
        return Some((0, rest));
    }
    let utc = ["UTC", "utc", "GMT", "gmt"];
    match utc.iter().find_map(|utc| text.strip_prefix(utc)) {
        Some(rest) => Some(numeric(rest, 1).unwrap_or((0, rest))),
        None => numeric(text, 2),
    }
}

/// Reads `+08:00`, `+0800` or `+08`, with at least `fewest` digits of the hour.
fn numeric(text: &str, fewest: usize) -> Option<(i64, &str)> {
    let (sign, text) = match text.strip_prefix('+') {
        Some(text) => (1, text),
        None => (-1, text.strip_prefix('-')?),
    };
    let mut counts = (fewest..=2).rev();
    let (hours, text) = counts.find_map(|count| digits(text, count, 0..=23))?;
    let minutes = digits(text.strip_prefix(':').unwrap_or(text), 2, 0..=59);
    let (minutes, rest) = minutes.unwrap_or((0, text));
    Some((sign * (hours * 3_600 + minutes * 60), rest))
}

/// Counts the days from 1970-01-01, in years that begin in March, so that a leap day comes last. Month 13
/// is the next January.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month > 2 {
        true => (year, month - 3),
        false => (year - 1, month + 9),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(at: SystemTime) -> u64 {
        at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn rfc_3339_needs_an_offset_and_a_day_of_the_calendar() {
        let table: &[(&str, Option<u64>)] = &[
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2026-02-10T00:00:16Z", Some(1_770_681_616)),
            ("2026-02-10T01:00:16+01:00", Some(1_770_681_616)),
            ("2026-02-09t23:00:16-01:00", Some(1_770_681_616)),
            ("2026-02-10 00:00:16 UTC", Some(1_770_681_616)),
            ("2026-02-10T00:00:16.000Z", Some(1_770_681_616)),
            ("2026-02-10 08:00:16 +0800 CST", Some(1_770_681_616)),
            ("2026-02-10 08:00:16.5 +0800 +08", Some(1_770_681_616)),
            ("2026-02-09 19:00:16 -0500 EST", Some(1_770_681_616)),
            ("2026-02-10 00:00:16 -0000", Some(1_770_681_616)),
            ("2026-02-10T00:00:16-0000", Some(1_770_681_616)),
            ("2026-02-10 05:45:16+05:45", Some(1_770_681_616)),
            ("2026-02-10 08:00:16+08", Some(1_770_681_616)),
            ("2026-02-10 08:00:16 UTC+8", Some(1_770_681_616)),
            ("2026-02-10 08:00:16 GMT+08:00", Some(1_770_681_616)),
            ("2026-02-10 08:00:16 CST", None),
            ("2026-02-10 08:00:16 +8", None),
            ("2026-02-10 08:00:16 +0800 Monday", None),
            ("2026-02-10 08:00:16 +2400", None),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("2026-02-10T00:00:16", None),
            ("2026-02-10", None),
            ("2026-02-10T00:00Z", None),
            ("2026-02-30T00:00:00Z", None),
            ("2100-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("1970-01-01T00:00:00+01:00", None),
            ("+026-01-01T00:00:00Z", None),
            ("2026-01-01T00:00:5Z", None),
            ("2026-01-01T00:00:160Z", None),
            ("2026-01-01T00:00:00Z tomorrow", None),
            ("20é6-01-01T00:00:00Z", None),
            ("", None),
        ];
        for (value, expected) in table {
            assert_eq!(parse(value).map(seconds), *expected, "{value:?}");
        }
    }

    #[test]
    fn http_date_accepts_a_numeric_offset() {
        let table: &[(&str, Option<u64>)] = &[
            ("Mon, 05 Aug 2019 09:27:05 GMT", Some(1_564_997_225)),
            ("Mon, 05 Aug 2019 09:27:05 -0000", Some(1_564_997_225)),
            ("Mon, 05 Aug 2019 09:27:05 +0000", Some(1_564_997_225)),
            ("Mon, 05 Aug 2019 09:27:05 UTC", Some(1_564_997_225)),
            ("Mon, 05 Aug 2019 17:27:05 +0800", Some(1_564_997_225)),
            ("Mon, 05 Aug 2019 04:27:05 -0500", Some(1_564_997_225)),
            ("Mon, 05 Aug 2019 09:27:05 CST", None),
            ("Mon, 05 Aug 2019 09:27:05", None),
            ("-0000", None),
            (" ", None),
        ];
        for (value, expected) in table {
            assert_eq!(http_date(value).map(seconds), *expected, "{value:?}");
        }
    }

    #[test]
    fn sentence_may_omit_the_seconds() {
        let at = leading_sentence("2026-09-01 at 00:00 utc.").map(seconds);
        assert_eq!(at, Some(1_788_220_800));
        assert_eq!(leading_sentence("2026-09-01 at noon UTC"), None);
        assert_eq!(leading_sentence("2026-09-01 at 00:00"), None);
    }

    #[test]
    fn fraction_is_rounded_up_and_a_past_date_is_zero() {
        let now = parse("2026-02-10T00:00:00Z").unwrap();
        let wait = |value| until(parse(value).unwrap(), now);
        let milli = Duration::from_millis(1);
        assert_eq!(wait("2026-02-10T00:00:00.000000001Z"), Some(milli));
        assert_eq!(wait("2020-02-10T00:00:00Z"), Some(Duration::ZERO));
        assert_eq!(wait("9999-12-31T23:59:59Z"), None);
    }
}
