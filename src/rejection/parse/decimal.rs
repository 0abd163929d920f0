//! A plain decimal number, and the one conversion from a number to a hint.

use std::time::Duration;

/// Longer than every limit that a provider publishes; the longest is a month. A value beyond it is a mistake,
/// not a hint.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;

/// Reads digits with at most one decimal point, in units of `unit` nanoseconds; rounds up.
///
/// `f64::from_str` would also accept `inf`, `NaN`, `1e9` and `+1`.
pub(crate) fn nanos(value: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit);
    if fraction == "0" {
        return Some(whole);
    }
    // Nine digits of a second are a nanosecond; any digit beyond them can only round up.
    let (kept, rest) = fraction.split_at(fraction.len().min(9));
    let scale = 10_u128.pow(9 - u32::try_from(kept.len()).ok()?);
    let is_more = rest.bytes().any(|digit| digit != b'0');
    let billionths = kept.parse::<u128>().ok()? * scale + u128::from(is_more);
    Some(whole + (billionths * u128::from(unit)).div_ceil(1_000_000_000))
}

/// As [`nanos`], for a number before a unit, where Go leaves out the zero (`.5s`).
pub(super) fn nanos_of_part(value: &str, unit: u64) -> Option<u128> {
    match value.starts_with('.') {
        true => nanos(&format!("0{value}"), unit),
        false => nanos(value, unit),
    }
}

/// Returns a number of `unit` nanoseconds as a hint.
pub(crate) fn hint(value: &str, unit: u64) -> Option<Duration> {
    from_nanos(nanos(value, unit)?)
}

/// Rounds up to the millisecond; `None` if the result is longer than [`LONGEST`].
pub(super) fn from_nanos(nanos: u128) -> Option<Duration> {
    let millis = u64::try_from(nanos.div_ceil(u128::from(MILLISECOND))).ok()?;
    Some(Duration::from_millis(millis)).filter(|wait| *wait <= LONGEST)
}

/// Returns the number that `text` begins with, and the rest.
pub(super) fn leading(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    // The final dot of a sentence is not part of its number.
    let end = text[..end].trim_end_matches('.').len();
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_with_one_point_are_a_number() {
        let table: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("120", Some(120_000)),
            ("0.0001", Some(1)),
            ("7.66", Some(7_660)),
            ("33011.382867097855", Some(33_011_383)),
            ("1.00000000000000000001", Some(1_001)),
            ("31622400", Some(31_622_400_000)),
            ("31622400.1", None),
            ("18446744073709551615", None),
            ("99999999999999999999", None),
            ("-5", None),
            ("+5", None),
            ("1e9", None),
            ("NaN", None),
            ("inf", None),
            ("5.", None),
            (".5", None),
            ("1.2.3", None),
            ("", None),
            ("٣", None),
        ];
        for (value, expected) in table {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(hint(value, SECOND), expected, "{value:?}");
        }
    }

    #[test]
    fn dot_that_ends_a_sentence_is_not_part_of_the_number() {
        assert_eq!(leading("20."), Some(("20", ".")));
        assert_eq!(leading("1.5s."), Some(("1.5", "s.")));
        assert_eq!(leading("soon"), None);
        assert_eq!(leading("."), None);
    }
}
