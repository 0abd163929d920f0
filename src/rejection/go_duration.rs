//! Wire form: Go's `time.Duration` (`6m0s`, `2m59.56s`, `120ms`), of which the JSON form of
//! `google.protobuf.Duration` (`34.07s`) is a part.

use std::time::Duration;

use super::decimal::{self, MILLISECOND, SECOND};

/// `ms` stands before `m` and `µs` in both of its spellings, U+00B5 and U+03BC.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", MILLISECOND),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

/// A whole value; `0` alone needs no unit, and there are no blanks, signs or days.
pub(super) fn parse(value: &str) -> Option<Duration> {
    if value == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = value;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = decimal::leading(rest)?;
        let (unit, after) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((*unit, after.strip_prefix(name)?)))?;
        total = total.checked_add(decimal::nanos_of_part(number, unit)?)?;
        rest = after;
    }
    if value.is_empty() {
        return None;
    }
    decimal::from_nanos(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_go_and_nothing_else() {
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
            assert_eq!(parse(value), expected, "{value:?}");
        }
    }
}
