//! Wire form: .NET's `TimeSpan`, `[d.]hh:mm:ss[.fffffff]` (Azure API Management).

use std::time::Duration;

use super::decimal::{self, SECOND};

/// The time span that `text` begins with, and what follows it.
pub(super) fn leading(text: &str) -> Option<(Duration, &str)> {
    let (first, rest) = decimal::leading(text)?;
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let (minutes, rest) = decimal::leading(rest.strip_prefix(':')?)?;
    let (seconds, rest) = decimal::leading(rest.strip_prefix(':')?)?;
    let below_sixty = |number: &str| number.len() == 2 && number < "60";
    let whole_seconds = seconds.split('.').next().unwrap_or(seconds);
    if hours.len() != 2 || hours > "23" || !below_sixty(minutes) || !below_sixty(whole_seconds) {
        return None;
    }
    let total = decimal::nanos(days, 24 * 3_600 * SECOND)?
        .checked_add(decimal::nanos(hours, 3_600 * SECOND)?)?
        .checked_add(decimal::nanos(minutes, 60 * SECOND)?)?
        .checked_add(decimal::nanos(seconds, SECOND)?)?;
    Some((decimal::from_nanos(total)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_optional_and_a_clock_has_two_digits_each() {
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
