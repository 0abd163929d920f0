//! Durations with units: Go's `time.Duration` (`6m0s`, `2m59.56s`), which includes the JSON form of
//! `google.protobuf.Duration` (`34.07s`), and those of sentences (`1 minute and 30 seconds`).

use std::time::Duration;

use super::{
    decimal::{self, MILLISECOND, SECOND},
    timespan,
};

/// The longest unit of a delay; longer ones occur only in windows.
const DAY: u64 = 24 * 3_600 * SECOND;

/// The symbols of Go, the other names of a unit, and its nanoseconds. Go has no days.
const UNITS: &[(&[&str], &[&str], u64)] = &[
    (&["ns"], &[], 1),
    // U+00B5 and U+03BC
    (&["us", "\u{b5}s", "\u{3bc}s"], &[], 1_000),
    (
        &["ms"],
        &["msec", "msecs", "millis", "millisecond", "milliseconds"],
        MILLISECOND,
    ),
    (&["s"], &["sec", "secs", "second", "seconds"], SECOND),
    (&["m"], &["min", "mins", "minute", "minutes"], 60 * SECOND),
    (&["h"], &["hr", "hrs", "hour", "hours"], 3_600 * SECOND),
    (&[], &["d", "day", "days"], DAY),
    (&[], &["w", "wk", "week", "weeks"], 7 * DAY),
    (&[], &["month", "months"], 31 * DAY),
];

/// Returns the nanoseconds of a unit of a window, by any of its names.
pub(super) fn unit(name: &str) -> Option<u64> {
    let mut units = UNITS.iter().filter(|(.., unit)| *unit >= SECOND);
    let (.., unit) = units.find(|(go, names, _)| go.contains(&name) || names.contains(&name))?;
    Some(*unit)
}

/// Reads Go's form as a whole; `0` alone needs no unit, and there are no blanks, signs or days.
pub(super) fn go(value: &str) -> Option<Duration> {
    if value == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut rest) = part(value, true)?;
    while !rest.is_empty() {
        let (more, after) = part(rest, true)?;
        total = total.checked_add(more)?;
        rest = after;
    }
    decimal::from_nanos(total)
}

/// Reads a text of lower-case letters that is nothing but a duration.
pub(super) fn whole(text: &str) -> Option<Duration> {
    let (span, rest) = leading(text)?;
    rest.is_empty().then_some(span)
}

/// Reads the duration that `text` begins with: `6m0s`, `60 seconds`, `1 minute and 30 seconds`, `00:30:02`.
pub(super) fn leading(text: &str) -> Option<(Duration, &str)> {
    if let Some(span) = timespan::leading(text) {
        return Some(span);
    }
    let (mut total, mut rest) = part(text, false)?;
    loop {
        let next = rest.trim_start_matches([' ', ',']);
        let next = next.strip_prefix("and ").unwrap_or(next);
        // A number of something else ("5 minutes, 3 attempts left") ends the duration.
        let is_part = next.starts_with(|c: char| c.is_ascii_digit());
        let Some((more, after)) = is_part.then(|| part(next, false)).flatten() else {
            return Some((decimal::from_nanos(total)?, rest));
        };
        total = total.checked_add(more)?;
        rest = after;
    }
}

/// Reads one number and its unit, as nanoseconds.
fn part(text: &str, is_go: bool) -> Option<(u128, &str)> {
    let (number, rest) = decimal::leading(text)?;
    let rest = match is_go {
        true => rest,
        false => rest.trim_start_matches(' '),
    };
    let end = rest.find(|c: char| !c.is_alphabetic());
    let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let mut units = UNITS.iter().filter(|(.., unit)| *unit <= DAY);
    let (.., unit) =
        units.find(|(go, names, _)| go.contains(&name) || (!is_go && names.contains(&name)))?;
    // "2.12 days" is rounded to a quarter of an hour: a wait of that length could end early.
    if *unit == DAY && number.contains('.') {
        return None;
    }
    Some((decimal::nanos_of_part(number, *unit)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_accepts_its_own_units_and_no_others() {
        let table: &[(&str, Option<u64>)] = &[
            ("6m0s", Some(360_000)),
            ("2m59.56s", Some(179_560)),
            ("120ms", Some(120)),
            ("1h2m3.5s", Some(3_723_500)),
            ("10h17m5.723541104s", Some(37_025_724)),
            ("1.984999999s", Some(1_985)),
            ("250\u{b5}s", Some(1)),
            ("250\u{3bc}s", Some(1)),
            ("250us", Some(1)),
            ("1ns", Some(1)),
            (".5s", Some(500)),
            ("1m.5s", Some(60_500)),
            ("..5s", None),
            (".s", None),
            ("0s", Some(0)),
            ("0", Some(0)),
            ("5", None),
            ("1d", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1 s", None),
            ("1e3s", None),
            ("5.s", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ];
        for (value, expected) in table {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(go(value), expected, "{value:?}");
        }
    }
}
