//! A field of an error's JSON that holds a delay or a date.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::{
    decimal::{self, MILLISECOND, SECOND},
    duration, reset, timestamp,
};

/// How the value of a field is read.
#[derive(Clone, Copy, Debug)]
enum DelayForm {
    /// A number is seconds, or a date if it is large enough; a string has a unit, or is a date.
    Delay,
    /// A number is milliseconds.
    Millis,
    /// A number is a date in seconds or milliseconds since 1970.
    Date,
    /// Only Go's form, with units.
    Go,
}

/// Names in lower case, without `_` and `-`. The module page of `rejection` has the sources.
#[rustfmt::skip]
static FIELDS: &[(DelayForm, &[&str])] = &[
    (DelayForm::Delay, &[
        "retryafter", "retryafterseconds", "retryaftersecs", "retryaftersec", "retryin", "retryinseconds",
        "retrydelay", "retrydelayseconds", "resetafter", "resetafterseconds", "resetsafter",
        "resetsafterseconds", "resetin", "resetinseconds", "resetsin", "resetsinseconds", "resetseconds",
        "secondsuntilreset", "waitseconds", "cooldownseconds",
    ]),
    (DelayForm::Millis, &[
        "retryafterms", "retryaftermillis", "retryaftermilliseconds", "retryinms", "retrydelayms",
        "resetafterms", "resetsafterms", "resetinms", "resetsinms",
    ]),
    (DelayForm::Date, &[
        "resetat", "resetsat", "resetatms", "resetsatms", "resettime", "resettimestamp", "resettimems",
        "resetdate", "nextresetat", "quotaresetat", "quotaresettimestamp", "retryat", "retryaftertime",
    ]),
    (DelayForm::Go, &["quotaresetdelay"]),
];

/// Longer values are no delay.
const LONGEST_VALUE: usize = 64;

/// Smaller numbers are delays, because as dates they would lie in the last century.
const FIRST_DATE: u64 = 1_000_000_000;

/// Returns the delay that a field of this name and value holds, if any.
pub(super) fn read(name: &str, value: &Value, now: SystemTime) -> Option<Duration> {
    let is_named = |names: &[&str]| names.iter().any(|field| is_named(name, field));
    let (form, _) = FIELDS.iter().find(|(_, names)| is_named(names))?;
    match value {
        Value::String(text) if text.len() <= LONGEST_VALUE => parse(text, *form, now),
        Value::Number(number) => parse(&number.to_string(), *form, now),
        Value::Object(parts) if matches!(form, DelayForm::Delay) => of_parts(parts),
        _ => None,
    }
}

fn is_named(name: &str, field: &str) -> bool {
    let letters = name.bytes().filter(|byte| !matches!(byte, b'_' | b'-'));
    let letters = letters.map(|byte| byte.to_ascii_lowercase());
    letters.eq(field.bytes())
}

fn parse(value: &str, form: DelayForm, now: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    let whole = value.split('.').next().unwrap_or(value).parse::<u64>();
    match form {
        DelayForm::Millis if whole.is_ok() => decimal::hint(value, MILLISECOND),
        DelayForm::Date if whole.is_ok_and(|number| number < FIRST_DATE) => None,
        DelayForm::Delay | DelayForm::Millis | DelayForm::Date => reset::parse(value, || now)
            .or_else(|| timestamp::until(timestamp::http_date(value)?, now))
            .or_else(|| duration::whole(&value.to_lowercase())),
        DelayForm::Go => duration::go(value),
    }
}

/// Reads a `google.protobuf.Duration` as some libraries print it: `{"seconds": 34, "nanos": 70000000}`.
fn of_parts(parts: &Map<String, Value>) -> Option<Duration> {
    let nanos = |key: &str, unit| match parts.get(key) {
        Some(Value::Number(number)) => decimal::nanos(&number.to_string(), unit),
        Some(Value::String(number)) => decimal::nanos(number, unit),
        Some(_) => None,
        None => Some(0),
    };
    let is_span = parts.contains_key("seconds") || parts.contains_key("nanos");
    let total = nanos("seconds", SECOND)?.checked_add(nanos("nanos", 1)?)?;
    is_span.then(|| decimal::from_nanos(total))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-02-10T00:00:00Z
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_681_600)
    }

    fn read(name: &str, value: &str) -> Option<u128> {
        let value = serde_json::from_str(value).unwrap();
        super::read(name, &value, now()).map(|wait| wait.as_millis())
    }

    #[test]
    fn field_has_the_forms_that_its_name_allows() {
        let table: &[(&str, &str, Option<u128>)] = &[
            ("retry_after", "8", Some(8_000)),
            ("retryAfter", "\"8.5\"", Some(8_500)),
            ("Retry-After", "\"8 seconds\"", Some(8_000)),
            ("retry_after", "\"1m30s\"", Some(90_000)),
            ("retry_after", "\"00:01:30\"", Some(90_000)),
            (
                "retry_after",
                "\"Tue, 10 Feb 2026 00:00:30 GMT\"",
                Some(30_000),
            ),
            ("retry_after", "1770681660", Some(60_000)),
            ("retry_after_ms", "8", Some(8)),
            ("retry_after_ms", "\"8s\"", Some(8_000)),
            ("retry_delay", "\".5s\"", Some(500)),
            ("retryDelay", "\"3.000000001s\"", Some(3_001)),
            (
                "retryDelay",
                r#"{"seconds": 34, "nanos": 70000001}"#,
                Some(34_071),
            ),
            ("retryDelay", r#"{"seconds": "34"}"#, Some(34_000)),
            ("resets_in_seconds", "602705", Some(602_705_000)),
            ("reset_after_seconds", "1200.5", Some(1_200_500)),
            ("resets_at", "1770681660", Some(60_000)),
            ("reset_at", "1770681660000", Some(60_000)),
            ("reset_at", "\"1770681660\"", Some(60_000)),
            ("reset_at", "\"2026-02-10T00:01:00Z\"", Some(60_000)),
            (
                "reset_at",
                "\"2026-02-10 08:01:00 +0800 CST\"",
                Some(60_000),
            ),
            ("resets_at", "\"2026-02-09T00:01:00Z\"", Some(0)),
            ("quotaResetDelay", "\"539.4ms\"", Some(540)),
        ];
        for (name, value, expected) in table {
            assert_eq!(read(name, value), *expected, "{name}: {value}");
        }
    }

    #[test]
    fn absurd_value_or_other_name_is_no_hint() {
        let long = format!("\"{}8\"", " ".repeat(LONGEST_VALUE));
        let table: &[(&str, &str)] = &[
            ("retry_after", "-1"),
            ("retry_after", "1e300"),
            ("retry_after", "99999999999999999999"),
            ("retry_after", "true"),
            ("retry_after", "null"),
            ("retry_after", "[8]"),
            ("retry_after", "{}"),
            ("retry_after", "\"soon\""),
            ("retry_after", "\"20-30 seconds\""),
            ("retry_after", &long),
            ("retryDelay", r#"{"seconds": -1}"#),
            (
                "retryDelay",
                r#"{"seconds": 18446744073709551615, "nanos": 18446744073709551615}"#,
            ),
            ("resets_at", "20"),
            ("resets_at", "0"),
            ("resets_at", "\"2026-02-10T00:01:00\""),
            ("resets_at", "\"10:00 UTC\""),
            ("resets_at", "253402300799"),
            ("quotaResetDelay", "\"5\""),
            ("quotaResetDelay", "\"1d\""),
            ("timeout", "8"),
            ("reset", "8"),
            ("", "8"),
        ];
        for (name, value) in table {
            assert_eq!(read(name, value), None, "{name}: {value}");
        }
    }
}
