//! `Retry-After` (RFC 9110, section 10.2.3) and the milliseconds of `retry-after-ms`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};

use super::{
    decimal::{self, MILLISECOND, SECOND},
    duration, timestamp,
};

/// The headers for this purpose and their unit, in order of precedence.
#[rustfmt::skip]
const FIELDS: [(HeaderName, u64); 6] = [
    // OpenAI and Azure; some Azure services add a prefix of their own.
    (HeaderName::from_static("retry-after-ms"), MILLISECOND),
    (HeaderName::from_static("x-ms-retry-after-ms"), MILLISECOND),
    (header::RETRY_AFTER, SECOND),
    // GitHub Models, beside `retry-after`.
    (HeaderName::from_static("x-ratelimit-timeremaining"), SECOND),
    // LiteLLM, from the provider behind it.
    (HeaderName::from_static("llm_provider-retry-after-ms"), MILLISECOND),
    (HeaderName::from_static("llm_provider-retry-after"), SECOND),
];

/// Returns the wait in the first of these headers that is positive (Azure sends `0` next to a real value).
pub(crate) fn from_headers(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let clock = date(headers).unwrap_or(now);
    let parse = |value: &str, unit| {
        let date = || timestamp::http_date(value).or_else(|| timestamp::parse(value));
        let other = || duration::go(value).or_else(|| timestamp::until(date()?, clock));
        decimal::hint(value, unit).or_else(|| (unit == SECOND).then(other)?)
    };
    // If a header was sent more than once, the longest value counts, because a wait must not be shorter than
    // any of them.
    let longest = |(name, unit): &(HeaderName, u64)| {
        let values = headers.get_all(name).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let waits = texts.filter_map(|text| longest_of(text, |value| parse(value, *unit)));
        waits.max()
    };
    first_positive(FIELDS.iter().map(longest))
}

/// Returns the first positive wait of several sources; zero only if no source has a positive one.
pub(crate) fn first_positive(
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

/// Returns the longest of the values that a proxy has joined with commas (RFC 9110, section 5.3). Values that
/// cannot be read are ignored. A number that begins with zero is the rest of a number with separators
/// (`1,000`).
pub(crate) fn longest_of(
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
    value.trim_ascii()
}

/// Whether an HTTP-date begins with it, before a comma of its own.
fn is_weekday(item: &str) -> bool {
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    item.get(..3).is_some_and(|day| days.contains(&day))
        && item.bytes().all(|it| it.is_ascii_alphabetic())
}

/// Returns the response's own clock, its `Date`.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    timestamp::http_date(headers.get(header::DATE)?.to_str().ok()?)
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
    fn retry_after_accepts_the_forms_of_the_rfc_and_other_dates() {
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
    fn milliseconds_win_unless_only_the_seconds_are_positive() {
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
    fn date_is_compared_with_the_date_of_the_response() {
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
    fn longest_of_several_values_wins() {
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
    fn non_text_bytes_are_no_hint() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "retry-after",
            http::HeaderValue::from_bytes(b"\xff5").unwrap(),
        );
        assert_eq!(from_headers(&headers, now()), None);
    }
}
