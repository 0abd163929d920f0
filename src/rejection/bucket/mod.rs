//! The rate-limit buckets that a response reports, on successes too.

mod builder;
mod cost;
mod names;
mod rate_limit;
mod reported;
mod unified;

use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

pub use self::reported::Bucket;
pub(super) use self::reported::ReportedBucket;
use self::{builder::BucketBuilder, cost::reported_cost};

use super::{parse::retry_after, provider::Provider, types::Dimension};

/// The field of the IETF's drafts from 07 on.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// No provider reports more. A response with thousands of such headers is an attack.
const MAX_BUCKETS: usize = 32;

/// Returns all buckets that the headers of a response report, in the order of their headers. Those of
/// `RateLimit` come last.
///
/// `now` is the calendar time at which the response arrived. A reset that is a date is measured against the
/// response's `Date` if it has one. Without such headers nothing is allocated.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::HeaderMap;
/// use tower_429::rejection::{Provider, Dimension, Window, buckets};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-ratelimit-remaining-requests", "14370".parse()?);
/// headers.insert("x-ratelimit-reset-requests", "2m59.56s".parse()?);
/// let buckets = buckets(&headers, Provider::Groq, SystemTime::now());
/// assert_eq!(buckets[0].dimension, Dimension::Requests);
/// assert_eq!(buckets[0].window, Some(Window::Day)); // at Groq, and only there
/// assert_eq!(buckets[0].remaining, Some(14_370));
/// assert_eq!(buckets[0].reset, Some(Duration::from_millis(179_560)));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn buckets(headers: &HeaderMap, provider: Provider, now: SystemTime) -> Vec<Bucket> {
    let named = builders(headers, provider, now).into_iter();
    let named = named.filter_map(|it| Some(it.finish(provider)?.bucket));
    let mut buckets: Vec<_> = named.collect();
    let has_tokens = buckets.iter().any(|it| it.dimension == Dimension::Tokens);
    if let (true, Some(cost)) = (has_tokens, reported_cost(headers)) {
        let tokens = buckets
            .iter_mut()
            .filter(|it| it.dimension == Dimension::Tokens);
        tokens.for_each(|it| it.cost = Some(cost));
    }
    if headers.contains_key(RATE_LIMIT) {
        buckets.append(&mut rate_limit::buckets(headers));
    }
    buckets
}

/// Returns the buckets whose parts are headers of their own.
pub(super) fn named(
    headers: &HeaderMap,
    provider: Provider,
    now: SystemTime,
) -> Vec<ReportedBucket> {
    let builders = builders(headers, provider, now).into_iter();
    builders.filter_map(|it| it.finish(provider)).collect()
}

fn builders<'a>(
    headers: &'a HeaderMap,
    provider: Provider,
    now: SystemTime,
) -> Vec<BucketBuilder<'a>> {
    let mut builders: Vec<BucketBuilder<'_>> = Vec::new();
    let mut clock = None;
    for (name, value) in headers {
        let Some((family, part, subject)) = names::parts(name.as_str()) else {
            continue;
        };
        let known = builders.iter().position(|it| it.is_of(family, subject));
        let at = known.unwrap_or(builders.len());
        if known.is_none() && builders.len() < MAX_BUCKETS {
            builders.extend(BucketBuilder::new(family, subject, provider));
        }
        if let Some(builder) = builders.get_mut(at) {
            let date = || retry_after::date(headers).unwrap_or(now);
            builder.add(part, value, || *clock.get_or_insert_with(date));
        }
    }
    unified::settle(&mut builders);
    builders
}

/// Returns the buckets of `RateLimit`.
pub(super) fn listed(headers: &HeaderMap) -> Vec<ReportedBucket> {
    let buckets = rate_limit::buckets(headers).into_iter();
    buckets.map(ReportedBucket::from).collect()
}

// === impl Bucket ===

impl Bucket {
    /// Whether a header of this name reports a part of a bucket.
    pub(crate) fn is_named(name: &str) -> bool {
        name == RATE_LIMIT.as_str() || names::parts(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::types::Window, *};

    fn read(provider: Provider, pairs: &[(&'static str, &str)]) -> Vec<Bucket> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        buckets(&headers, provider, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn even_refill_over_a_day_gives_the_window() {
        let of_the_day = [
            ("x-ratelimit-limit-requests", "1000"),
            ("x-ratelimit-remaining-requests", "970"),
            ("x-ratelimit-reset-requests", "43m12s"),
        ];
        let window = |provider| read(provider, &of_the_day)[0].window;
        assert_eq!(window(Provider::Generic), Some(Window::Day));
        assert_eq!(window(Provider::Groq), Some(Window::Day));
        assert_eq!(window(Provider::Fireworks), Some(Window::Minute));
        let of_the_minute = [
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
        ];
        let buckets = read(Provider::OpenAi, &of_the_minute);
        assert_eq!(buckets[0].window, Some(Window::Minute));
    }

    #[test]
    fn full_bucket_does_not_divide_by_zero() {
        let full = [
            ("x-ratelimit-limit-tokens", "18446744073709551615"),
            ("x-ratelimit-remaining-tokens", "18446744073709551615"),
            ("x-ratelimit-reset-tokens", "8760h0m0s"),
        ];
        assert_eq!(
            read(Provider::OpenAi, &full)[0].window,
            Some(Window::Minute)
        );
    }

    #[test]
    fn unreadable_header_counts_as_missing() {
        let odd = [
            ("x-ratelimit-remaining-requests", "-1"),
            ("x-ratelimit-limit-requests", "many"),
            ("x-ratelimit-reset-requests", "NaN"),
            ("x-ratelimit-limit-bananas", "7"),
        ];
        assert_eq!(read(Provider::Generic, &odd), []);
    }

    #[test]
    fn stricter_of_two_values_wins() {
        let twice = [
            ("x-ratelimit-remaining-requests", "5"),
            ("x-ratelimit-remaining-requests", "3"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-requests", "9s"),
        ];
        let [bucket] = &read(Provider::Generic, &twice)[..] else {
            panic!("one bucket");
        };
        assert_eq!(bucket.remaining, Some(3));
        assert_eq!(bucket.reset, Some(Duration::from_secs(9)));
    }

    #[test]
    fn status_of_a_subscription_marks_the_exhausted_window() {
        let headers = [
            ("anthropic-ratelimit-unified-5h-status", "rejected"),
            ("anthropic-ratelimit-unified-5h-reset", "60"),
            ("anthropic-ratelimit-unified-7d-status", "allowed"),
            ("anthropic-ratelimit-unified-7d-reset", "1770685200"),
        ];
        let buckets = read(Provider::Anthropic, &headers);
        let spent: Vec<_> = buckets
            .iter()
            .filter(|bucket| bucket.remaining == Some(0))
            .collect();
        assert_eq!(spent.len(), 1);
        assert_eq!(spent[0].window, Some(Window::FiveHours));
    }
}
