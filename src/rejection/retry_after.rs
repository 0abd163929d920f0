//! Wire form: `Retry-After` (RFC 9110, section 10.2.3) and the milliseconds of `retry-after-ms`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};

use super::{
    decimal::{self, MILLISECOND, SECOND},
    go_duration, timestamp,
};

/// OpenAI and Azure; some Azure services write it with their own prefix.
const RETRY_AFTER_MS: [HeaderName; 2] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
];

/// What LiteLLM passes on from the provider behind it.
const OF_UPSTREAM: [HeaderName; 2] = [
    HeaderName::from_static("llm_provider-retry-after-ms"),
    HeaderName::from_static("llm_provider-retry-after"),
];

/// What GitHub Models sent beside `retry-after`, in seconds.
const TIME_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-timeremaining");

/// The wait that the head asks for: the first *positive* of `retry-after-ms` and `retry-after`,
/// and zero only if nothing positive is there (Azure sends `0` next to a real value).
pub(super) fn from_headers(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let reference = date(headers).unwrap_or(now);
    let millis = |name| longest(headers, name, |value| decimal::hint(value, MILLISECOND));
    let seconds = |name| {
        longest(headers, name, |value| {
            decimal::hint(value, SECOND)
                .or_else(|| go_duration::parse(value))
                .or_else(|| timestamp::until(date_of(value)?, reference))
        })
    };
    let [plain, prefixed] = &RETRY_AFTER_MS;
    let [upstream_ms, upstream] = &OF_UPSTREAM;
    first_positive([
        millis(plain),
        millis(prefixed),
        seconds(&header::RETRY_AFTER),
        seconds(&TIME_REMAINING),
        millis(upstream_ms),
        seconds(upstream),
    ])
}

/// The first positive of several sources, and zero only if that is all that any of them says.
pub(super) fn first_positive(
    sources: impl IntoIterator<Item = Option<Duration>>,
) -> Option<Duration> {
    let mut zero = None;
    for wait in sources.into_iter().flatten() {
        if !wait.is_zero() {
            return Some(wait);
        }
        zero = Some(wait);
    }
    zero
}

/// The longest of a header that was sent more than once: a wait must not be shorter than any of them.
fn longest(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: impl Fn(&str) -> Option<Duration>,
) -> Option<Duration> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| longest_of(value.to_str().ok()?, &parse))
        .max()
}

/// The longest of the values that a proxy has joined with commas (RFC 9110, section 5.3). What cannot be
/// read is ignored; a number that begins with zero is the rest of one with separators (`1,000`).
pub(super) fn longest_of(
    value: &str,
    parse: impl Fn(&str) -> Option<Duration>,
) -> Option<Duration> {
    if let Some(wait) = parse(trim(value)) {
        return Some(wait);
    }
    let mut longest = None;
    let mut weekday = None;
    for (index, item) in value.split(',').enumerate() {
        if index > 0 && item.len() == 3 && item.starts_with('0') {
            return None;
        }
        let item = trim(item);
        if is_weekday(item) {
            weekday = Some(item);
            continue;
        }
        let wait = match weekday.take() {
            Some(weekday) => parse(&format!("{weekday}, {item}")),
            None => parse(item),
        };
        longest = longest.max(wait);
    }
    longest
}

fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// What an HTTP-date begins with, before a comma of its own.
fn is_weekday(item: &str) -> bool {
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    item.get(..3).is_some_and(|day| days.contains(&day))
        && item.bytes().all(|it| it.is_ascii_alphabetic())
}

/// The response's own clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    timestamp::http_date(headers.get(header::DATE)?.to_str().ok()?)
}

/// An HTTP-date, or a date of another form.
fn date_of(value: &str) -> Option<SystemTime> {
    timestamp::http_date(value).or_else(|| timestamp::parse(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mon, 05 Aug 2019 09:27:00 GMT
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_564_997_220)
    }

    fn read(pairs: &[(&'static str, &str)]) -> Option<u128> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        from_headers(&headers, now()).map(|wait| wait.as_millis())
    }

    #[test]
    fn retry_after_takes_every_form_of_the_rfc_and_other_dates_alone() {
        let nines = "9".repeat(35);
        let table: &[(&str, Option<u128>)] = &[
            ("20", Some(20_000)),
            ("0", Some(0)),
            ("-10", None),
            ("60", Some(60_000)),
            ("61", Some(61_000)),
            ("Mon, 05 Aug 2019 09:28:00 GMT", Some(60_000)),
            ("Monday, 05-Aug-19 09:28:00 GMT", Some(60_000)),
            ("Mon Aug  5 09:28:00 2019", Some(60_000)),
            ("Mon, 05 Aug 2019 09:28:00 -0000", Some(60_000)),
            ("2019-08-05T09:28:00Z", Some(60_000)),
            ("Mon, 05 Aug 2019 09:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None),
            ("Fri, 29 Sep 100000 16:26:57 GMT", None),
            (&nines, None),
            ("99999999999999999999", None),
            ("999999999", None),
            ("0.5", Some(500)),
            ("0.0001", Some(1)),
            ("7.66", Some(7_660)),
            ("1.00000000000000000001", Some(1_001)),
            ("86400", Some(86_400_000)),
            ("NaN", None),
            ("inf", None),
            ("1e9", None),
            ("+5", None),
            (" 7 ", Some(7_000)),
            ("\t7", Some(7_000)),
            ("", None),
            (".", None),
            ("5.", None),
            (".5", None),
            ("1.2.3", None),
            ("999999999 Hello", None),
            ("soon", None),
        ];
        for (value, expected) in table {
            assert_eq!(read(&[("retry-after", value)]), *expected, "{value:?}");
        }
    }

    #[test]
    fn milliseconds_win_unless_they_are_zero_and_the_seconds_are_not() {
        assert_eq!(read(&[("retry-after-ms", "250")]), Some(250));
        assert_eq!(read(&[("retry-after-ms", "0.2")]), Some(1));
        assert_eq!(read(&[("retry-after-ms", "-1")]), None);
        let both = |millis, seconds| read(&[("retry-after-ms", millis), ("retry-after", seconds)]);
        assert_eq!(both("250", "9"), Some(250));
        assert_eq!(both("0", "1"), Some(1_000));
        assert_eq!(both("0", "soon"), Some(0));
        assert_eq!(both("NaN", "2"), Some(2_000));
    }

    #[test]
    fn a_date_is_measured_against_the_date_of_the_response() {
        let an_hour_off = [
            ("retry-after", "Mon, 05 Aug 2019 10:28:00 GMT"),
            ("date", "Mon, 05 Aug 2019 10:27:00 GMT"),
        ];
        assert_eq!(read(&an_hour_off), Some(60_000));
        let broken = [
            ("retry-after", "Mon, 05 Aug 2019 09:28:00 GMT"),
            ("date", "yesterday"),
        ];
        assert_eq!(read(&broken), Some(60_000));
    }

    #[test]
    fn the_longest_of_several_values_holds() {
        let twice = [("retry-after", "3"), ("retry-after", "5")];
        assert_eq!(read(&twice), Some(5_000));
        let date = "Mon, 05 Aug 2019 09:28:00 GMT";
        let table: &[(&str, Option<u128>)] = &[
            ("5, 10", Some(10_000)),
            ("10,5", Some(10_000)),
            ("5, soon", Some(5_000)),
            ("soon, 5", Some(5_000)),
            ("5, -10", Some(5_000)),
            (", 5,", Some(5_000)),
            ("1,000", None),
            ("Mon, Mon, Mon", None),
            (",", None),
            (&format!("5, {date}"), Some(60_000)),
            (&format!("{date}, 90"), Some(90_000)),
            (&format!("{date}, {date}"), Some(60_000)),
        ];
        for (value, expected) in table {
            assert_eq!(read(&[("retry-after", value)]), *expected, "{value:?}");
        }
        assert_eq!(read(&[("retry-after-ms", "250, 300")]), Some(300));
    }

    #[test]
    fn bytes_that_are_not_text_are_no_hint() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "retry-after",
            http::HeaderValue::from_bytes(b"\xff5").unwrap(),
        );
        assert_eq!(from_headers(&headers, now()), None);
    }
}
