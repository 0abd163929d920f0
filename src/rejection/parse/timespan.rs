//! .NET's `TimeSpan`, `[d.]hh:mm:ss[.fffffff]` (Azure API Management).

use std::time::Duration;

use super::decimal::{self, SECOND};

/// Reads the time span that `text` begins with, and returns the rest.
pub(super) fn leading(text: &str) -> Option<(Duration, &str)> {
    let (first, rest) = decimal::leading(text)?;
    let (minutes, rest) = decimal::leading(rest.strip_prefix(':')?)?;
    let (seconds, rest) = decimal::leading(rest.strip_prefix(':')?)?;
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let (whole_seconds, _) = seconds.split_once('.').unwrap_or((seconds, ""));
    let is_below = |number: &str, end| number.len() == 2 && number < end;
    if !is_below(hours, "24") || !is_below(minutes, "60") || !is_below(whole_seconds, "60") {
        return None;
    }
    let parts = [(days, 86_400), (hours, 3_600), (minutes, 60), (seconds, 1)];
    let total = parts.iter().try_fold(0_u128, |total, (number, unit)| {
        total.checked_add(decimal::nanos(number, unit * SECOND)?)
    });
    Some((decimal::from_nanos(total?)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_optional_and_clock_parts_have_two_digits() {
        let table: &[(&str, Option<u64>)] = &[
            ("00:30:02.", Some(1_802_000)),
            ("14.07:13:56.", Some(1_235_636_000)),
            ("00:00:00.5000001", Some(501)),
            ("24:00:00", None),
            ("00:60:00", None),
            ("00:00:60", None),
            ("0:0:5", None),
            ("00:30", None),
            ("999.00:00:00", None),
            ("99999999999999999999.00:00:00", None),
            ("-00:30:02", None),
            ("1.2.03:00:00", None),
        ];
        for (value, expected) in table {
            let wait = leading(value).map(|(wait, _)| wait);
            assert_eq!(wait, expected.map(Duration::from_millis), "{value:?}");
        }
    }
}
