//! The value of a `*-reset` header, in its six forms.
//!
//! The same name carries different forms at different providers: `x-ratelimit-reset` is seconds at
//! Together, epoch milliseconds at OpenRouter, epoch seconds at DigitalOcean. No two forms share a value,
//! so the value decides and the name does not matter.

use std::time::{Duration, SystemTime};

use super::{
    decimal::{self, MILLISECOND, SECOND},
    duration, timestamp,
};

/// Returns the time from `now` until the reset. A past date is zero.
pub(crate) fn parse(value: &str, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = value.trim_ascii();
    if let Some(at) = timestamp::parse(value) {
        return timestamp::until(at, now());
    }
    if value.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return duration::go(value);
    }
    let (whole, _) = value.split_once('.').unwrap_or((value, ""));
    // Between these ranges lie decades in the past and delays of months: neither is a reset.
    match whole.parse::<u64>().ok()? {
        0..10_000_000 => decimal::hint(value, SECOND),
        1_000_000_000..100_000_000_000 => since_epoch(value, SECOND, now),
        1_000_000_000_000.. => since_epoch(value, MILLISECOND, now),
        _ => None,
    }
}

fn since_epoch(value: &str, unit: u64, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let nanos = decimal::nanos(value, unit)?;
    let nanos = Duration::from_nanos(u64::try_from(nanos).ok()?);
    timestamp::until(SystemTime::UNIX_EPOCH.checked_add(nanos)?, now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_has_the_form_that_its_value_shows() {
        // 2026-02-10T00:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_681_600);
        let table: &[(&str, Option<u64>)] = &[
            ("6m0s", Some(360_000)),
            ("120ms", Some(120)),
            ("12", Some(12_000)),
            (" 12 ", Some(12_000)),
            ("33011.382867097855", Some(33_011_383)),
            ("0", Some(0)),
            ("1770685200", Some(3_600_000)),
            ("1770685200.5", Some(3_600_500)),
            ("1770685200000", Some(3_600_000)),
            ("1770681599000", Some(0)),
            ("2026-02-10T00:00:16Z", Some(16_000)),
            ("2026-02-10T00:00:16", None),
            ("999999999", None),
            ("999999999999", None),
            ("18446744073709551615", None),
            ("253402300799", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("soon", None),
        ];
        for (value, expected) in table {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(parse(value, || now), expected, "{value:?}");
        }
    }
}
