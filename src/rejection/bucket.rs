//! The rate-limit buckets that a response tells of, on successes too.

mod draft;
mod names;
mod unified;

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use self::{draft::Draft, names::parts};
use super::{Dimension, Provider, Scope, Window, rate_limit_field, retry_after};

/// One limit and what is left of it.
///
/// What a provider does not send is `None`; a header that cannot be read counts as not sent. A limit of
/// zero leaves `remaining` unknown: no reset brings more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// What is counted.
    pub dimension: Dimension,
    /// Over which time it is counted.
    pub window: Option<Window>,
    /// What the limit belongs to, where the header's name says so.
    pub scope: Option<Scope>,
    /// How much the bucket holds.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// The time until the bucket is *full* again (OpenAI, Groq), or until the window ends (others).
    pub reset: Option<Duration>,
}

/// A bucket of a rejection, and whether it can be the one that refused.
#[derive(Debug)]
pub(super) struct Reported {
    bucket: Bucket,
    level: Level,
}

/// Whether a bucket is exhausted, by all of its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Nothing but its reset is reported.
    ResetOnly,
    /// Something is left, or what is left cannot be read.
    NotExhausted,
    Exhausted,
}

/// No provider has more; a response with thousands of such headers is an attack.
const MOST_BUCKETS: usize = 32;

/// All buckets that the headers of a response tell of, in the order of their headers; those of
/// `RateLimit` come last.
///
/// `now` is the calendar time at which the response arrived; a reset that is an instant is measured
/// against the response's `Date` if it has one. Without such headers nothing is allocated.
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
    let drafts = drafts(headers, provider, now).into_iter();
    let mut buckets: Vec<_> = drafts
        .filter_map(|draft| Some(draft.finish(provider)?.bucket))
        .collect();
    if headers.contains_key("ratelimit") {
        buckets.append(&mut rate_limit_field::buckets(headers));
    }
    buckets
}

/// The buckets whose parts are headers of their own.
pub(super) fn named(headers: &HeaderMap, provider: Provider, now: SystemTime) -> Vec<Reported> {
    let drafts = drafts(headers, provider, now).into_iter();
    drafts.filter_map(|draft| draft.finish(provider)).collect()
}

/// Those of `RateLimit`.
pub(super) fn listed(headers: &HeaderMap) -> Vec<Reported> {
    let buckets = rate_limit_field::buckets(headers).into_iter();
    buckets.map(Reported::from).collect()
}

fn drafts<'a>(headers: &'a HeaderMap, provider: Provider, now: SystemTime) -> Vec<Draft<'a>> {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    let mut clock = None;
    for (name, value) in headers {
        let Some((family, part, subject)) = parts(name.as_str()) else {
            continue;
        };
        let known = drafts
            .iter()
            .position(|draft| draft.family == family.prefix && draft.subject == subject);
        let at = match known {
            Some(at) => at,
            None if drafts.len() == MOST_BUCKETS => continue,
            None => match Draft::new(family, subject, provider) {
                Some(draft) => {
                    drafts.push(draft);
                    drafts.len() - 1
                }
                None => continue,
            },
        };
        let now = *clock.get_or_insert_with(|| retry_after::date(headers).unwrap_or(now));
        if let Some(draft) = drafts.get_mut(at) {
            draft.take(part, value, now);
        }
    }
    unified::settle(&mut drafts);
    drafts
}

// === impl Bucket ===

impl Bucket {
    pub(super) fn new(dimension: Dimension) -> Self {
        Self {
            dimension,
            window: None,
            scope: None,
            limit: None,
            remaining: None,
            reset: None,
        }
    }

    /// Whether headers may tell of any; if not, it does not matter whose they are.
    pub(crate) fn may_be_in(headers: &HeaderMap) -> bool {
        headers
            .keys()
            .any(|name| name == "ratelimit" || parts(name.as_str()).is_some())
    }

    /// A limit of zero is that of a model that the plan does not contain (Mistral), or of nothing that is
    /// counted: its reset brings no more.
    pub(super) fn forget_limit_of_zero(&mut self) {
        if self.limit == Some(0) {
            self.remaining = None;
        }
    }

    /// Whether this can be the limit on `dimension`; on an unknown one it always can.
    fn counts(&self, dimension: Option<Dimension>) -> bool {
        dimension.is_none_or(|it| it.is_compatible(self.dimension))
    }

    /// The window that a bucket which refills evenly must have: what is gone comes back by `reset`,
    /// so all of it comes back in `reset * limit / gone`.
    ///
    /// OpenAI reports a low day limit under the same name as the minute's, and Groq always does.
    fn window_by_refill(&self) -> Option<Window> {
        let limit = self.limit?;
        let gone = u128::from(limit.checked_sub(self.remaining?)?);
        let millis = self.reset?.as_millis().checked_mul(u128::from(limit))?;
        let refill = millis.checked_div(gone)? / 1_000;
        (refill > 12 * 3_600).then_some(Window::Day)
    }
}

// === impl Reported ===

impl Reported {
    /// Those that can be the limit that refused: the exhausted ones, or if none is reported as exhausted,
    /// those that report only a reset.
    pub(super) fn exhausted(
        reported: &[Self],
        dimension: Option<Dimension>,
    ) -> impl Iterator<Item = &Bucket> {
        let of = move |level| {
            let counted = move |it: &&Self| it.level == level && it.bucket.counts(dimension);
            reported.iter().filter(counted).map(|it| &it.bucket)
        };
        let level = match of(Level::Exhausted).next() {
            Some(_) => Level::Exhausted,
            None => Level::ResetOnly,
        };
        of(level)
    }

    pub(super) fn has_limit_of_zero(&self) -> bool {
        self.bucket.limit == Some(0)
    }
}

impl From<Bucket> for Reported {
    fn from(bucket: Bucket) -> Self {
        let level = match (bucket.remaining, bucket.limit) {
            (Some(0), _) => Level::Exhausted,
            (None, None) => Level::ResetOnly,
            _ => Level::NotExhausted,
        };
        Self { bucket, level }
    }
}

// === impl Level ===

impl Level {
    /// Takes in a header that says more than a reset does.
    fn report(&mut self, is_exhausted: bool) {
        match (*self, is_exhausted) {
            (_, true) => *self = Self::Exhausted,
            (Self::ResetOnly, false) => *self = Self::NotExhausted,
            (_, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(provider: Provider, pairs: &[(&'static str, &str)]) -> Vec<Bucket> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        buckets(&headers, provider, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn an_even_refill_betrays_the_day() {
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
    fn a_full_bucket_does_not_divide_by_what_is_gone() {
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
    fn a_header_that_cannot_be_read_counts_as_not_sent() {
        let odd = [
            ("x-ratelimit-remaining-requests", "-1"),
            ("x-ratelimit-limit-requests", "many"),
            ("x-ratelimit-reset-requests", "NaN"),
            ("x-ratelimit-limit-bananas", "7"),
        ];
        assert_eq!(read(Provider::Generic, &odd), []);
    }

    #[test]
    fn the_stricter_of_two_values_holds() {
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
    fn subscriptions_of_anthropic_say_which_window_is_spent() {
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
