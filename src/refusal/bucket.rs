//! The rate-limit buckets that a response tells of, on successes too.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};

use super::{Dialect, Dimension, Scope, Window, decimal, rate_limit_field, reset, retry_after};

/// One limit and what is left of it.
///
/// What a provider does not send is `None`; a header that cannot be read counts as not sent.
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

/// What a header says of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Limit,
    Remaining,
    Reset,
    /// The window's length in seconds (Azure).
    Period,
    /// `allowed`, `allowed_warning` or `rejected` (Anthropic's subscriptions).
    Status,
}

const PARTS: &[(&str, Part)] = &[
    ("limit", Part::Limit),
    ("remaining", Part::Remaining),
    ("reset", Part::Reset),
    ("renewalperiod", Part::Period),
    ("status", Part::Status),
];

/// How the names of one family are built: `x-ratelimit-<part>-<subject>` or `<subject>-<part>`.
#[derive(Debug)]
struct Family {
    prefix: &'static str,
    part_first: bool,
    /// What is counted where no subject is named, and over which time.
    unnamed: (Dimension, Option<Window>),
}

const fn family(prefix: &'static str, unnamed: (Dimension, Option<Window>)) -> Family {
    Family {
        prefix,
        part_first: true,
        unnamed,
    }
}

const fn subject_first(prefix: &'static str, unnamed: (Dimension, Option<Window>)) -> Family {
    Family {
        prefix,
        part_first: false,
        unnamed,
    }
}

static FAMILIES: &[Family] = &[
    // OpenAI and all who imitate it.
    family("x-ratelimit-", (Dimension::Requests, None)),
    // Azure in 2023.
    family("x-rate-limit-", (Dimension::Requests, None)),
    // Together, whose windows are seconds.
    family("x-tokenlimit-", (Dimension::Tokens, Some(Window::Second))),
    // Cohere's trial keys.
    subject_first(
        "x-trial-endpoint-call-",
        (Dimension::Requests, Some(Window::Minute)),
    ),
    subject_first("anthropic-ratelimit-", (Dimension::Requests, None)),
    // Drafts 00 to 06 of the IETF's field.
    family("ratelimit-", (Dimension::Requests, None)),
];

/// What the subject of a name counts; a window may follow it (`tokens-minute`).
#[rustfmt::skip]
static SUBJECTS: &[(&str, Dimension, Option<Scope>)] = &[
    ("requests", Dimension::Requests, None),
    ("req", Dimension::Requests, None),
    ("tokens", Dimension::Tokens, None),
    ("project-requests", Dimension::Requests, Some(Scope::Project)),
    ("project-tokens", Dimension::Tokens, Some(Scope::Project)),
    ("tokens_usage_based", Dimension::Tokens, None),
    ("input-tokens", Dimension::InputTokens, None),
    ("output-tokens", Dimension::OutputTokens, None),
    ("priority-input-tokens", Dimension::InputTokens, None),
    ("priority-output-tokens", Dimension::OutputTokens, None),
    ("tokens-prompt", Dimension::InputTokens, None),
    ("tokens-cache-adjusted-prompt", Dimension::InputTokens, None),
    ("tokens-generated", Dimension::OutputTokens, None),
    ("unified", Dimension::Spend, None),
];

static WINDOWS: &[(&str, Window)] = &[
    ("-second", Window::Second),
    ("-minute", Window::Minute),
    ("-hour", Window::Hour),
    ("-5h", Window::FiveHours),
    ("-day", Window::Day),
    ("-7d", Window::Week),
    ("-month", Window::Month),
];

/// No provider has more; a response with thousands of such headers is an attack.
const MOST_BUCKETS: usize = 32;

/// A bucket whose headers are still being collected.
struct Draft<'a> {
    family: &'static str,
    subject: &'a str,
    bucket: Bucket,
    /// Whether the window comes from the dialect and not from the response.
    window_is_assumed: bool,
    reset_is_duration: bool,
}

/// All buckets that the headers of a response tell of, in the order of their headers; those of
/// `RateLimit` come last.
///
/// `now` is the calendar time at which the response arrived; a reset that is an instant is measured
/// against the response's `Date` if it has one. Without such headers nothing is allocated.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::HeaderMap;
/// use tower_429::refusal::{Dialect, Dimension, Window, buckets};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-ratelimit-remaining-requests", "14370".parse()?);
/// headers.insert("x-ratelimit-reset-requests", "2m59.56s".parse()?);
/// let buckets = buckets(&headers, Dialect::Groq, SystemTime::now());
/// assert_eq!(buckets[0].dimension, Dimension::Requests);
/// assert_eq!(buckets[0].window, Some(Window::Day)); // at Groq, and only there
/// assert_eq!(buckets[0].remaining, Some(14_370));
/// assert_eq!(buckets[0].reset, Some(Duration::from_millis(179_560)));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn buckets(headers: &HeaderMap, dialect: Dialect, now: SystemTime) -> Vec<Bucket> {
    let mut buckets = named(headers, dialect, now);
    if headers.contains_key("ratelimit") {
        buckets.append(&mut rate_limit_field::buckets(headers));
    }
    buckets
}

/// The buckets whose parts are headers of their own.
pub(super) fn named(headers: &HeaderMap, dialect: Dialect, now: SystemTime) -> Vec<Bucket> {
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
            None => match Draft::new(family, subject, dialect) {
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
    drafts
        .into_iter()
        .filter_map(|draft| draft.finish(dialect))
        .collect()
}

/// The family, part and subject of a header's name.
fn parts(name: &str) -> Option<(&'static Family, Part, &str)> {
    // Nearly every header of a success is turned away here.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'a' | b'r')) {
        return None;
    }
    let (family, rest) = FAMILIES
        .iter()
        .find_map(|family| Some((family, name.strip_prefix(family.prefix)?)))?;
    PARTS.iter().find_map(|(word, part)| {
        let subject = if family.part_first {
            rest.strip_prefix(word)
                .filter(|subject| subject.is_empty() || subject.starts_with('-'))
        } else {
            rest.strip_suffix(word)
                .filter(|subject| subject.is_empty() || subject.ends_with('-'))
        };
        Some((family, *part, subject?.trim_matches('-')))
    })
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

    /// Whether nothing is left. A refusal that tells only a reset means the bucket that refused.
    pub(super) fn is_spent(&self) -> bool {
        match self.remaining {
            Some(remaining) => remaining == 0,
            None => self.limit.is_none() && self.reset.is_some(),
        }
    }

    /// Whether this can be the limit on `dimension`; on an unknown one it always can.
    pub(super) fn counts(&self, dimension: Option<Dimension>) -> bool {
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

// === impl Draft ===

impl<'a> Draft<'a> {
    fn new(family: &'static Family, subject: &'a str, dialect: Dialect) -> Option<Self> {
        let (counted, window) = WINDOWS
            .iter()
            .find_map(|(end, window)| Some((subject.strip_suffix(end)?, Some(*window))))
            .unwrap_or((subject, None));
        let (dimension, scope) = if counted.is_empty() {
            (family.unnamed.0, None)
        } else {
            SUBJECTS
                .iter()
                .find(|(name, ..)| *name == counted)
                .map(|(_, dimension, scope)| (*dimension, *scope))?
        };
        let mut bucket = Bucket::new(dimension);
        bucket.scope = scope;
        // A name without a subject is nobody's minute, except where all windows are known.
        let assumed = if counted.is_empty() && dialect != Dialect::Together {
            family.unnamed.1
        } else {
            dialect.window(dimension)
        };
        bucket.window = window.or(assumed);
        Some(Self {
            family: family.prefix,
            subject,
            bucket,
            window_is_assumed: window.is_none(),
            reset_is_duration: false,
        })
    }

    /// One header of this bucket. Of a header sent twice, the stricter value holds.
    fn take(&mut self, part: Part, value: &HeaderValue, now: SystemTime) {
        let Ok(value) = value.to_str() else {
            return;
        };
        let value = value.trim_matches([' ', '\t']);
        let bucket = &mut self.bucket;
        match part {
            Part::Limit => bucket.limit = fewest(bucket.limit, count(value)),
            Part::Remaining => bucket.remaining = fewest(bucket.remaining, count(value)),
            Part::Reset => {
                bucket.reset = bucket.reset.max(reset::parse(value, now));
                self.reset_is_duration |= value.ends_with('s');
            }
            Part::Period => {
                if let Some(window) =
                    decimal::hint(value, decimal::SECOND).and_then(Window::covering)
                {
                    bucket.window = Some(window);
                    self.window_is_assumed = false;
                }
            }
            Part::Status if value.eq_ignore_ascii_case("rejected") => bucket.remaining = Some(0),
            Part::Status => {}
        }
    }

    fn finish(self, dialect: Dialect) -> Option<Bucket> {
        let mut bucket = self.bucket;
        let may_be_a_day = self.window_is_assumed
            && bucket.dimension == Dimension::Requests
            && self.reset_is_duration
            && matches!(
                dialect,
                Dialect::OpenAi | Dialect::Generic | Dialect::LiteLlm
            );
        if may_be_a_day {
            bucket.window = bucket.window_by_refill().or(bucket.window);
        }
        let says_anything =
            bucket.limit.is_some() || bucket.remaining.is_some() || bucket.reset.is_some();
        says_anything.then_some(bucket)
    }
}

fn fewest(known: Option<u64>, new: Option<u64>) -> Option<u64> {
    match (known, new) {
        (Some(known), Some(new)) => Some(known.min(new)),
        (known, new) => known.or(new),
    }
}

/// A whole number; the drafts of the IETF put the policy behind it (`100, 100;w=60`).
fn count(value: &str) -> Option<u64> {
    let number = value.split([',', ';']).next()?.trim();
    // Cerebras and Azure have been seen to send floats and -1: `parse` refuses both.
    if number.starts_with('+') {
        return None;
    }
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialect: Dialect, pairs: &[(&'static str, &str)]) -> Vec<Bucket> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        buckets(&headers, dialect, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_name_is_a_part_and_a_subject() {
        let read = |name| parts(name).map(|(_, part, subject)| (part, subject));
        assert_eq!(
            read("x-ratelimit-limit-requests"),
            Some((Part::Limit, "requests"))
        );
        assert_eq!(read("x-ratelimit-reset"), Some((Part::Reset, "")));
        assert_eq!(
            read("anthropic-ratelimit-input-tokens-remaining"),
            Some((Part::Remaining, "input-tokens"))
        );
        assert_eq!(read("x-trial-endpoint-call-limit"), Some((Part::Limit, "")));
        for other in [
            "x-ratelimit-over-limit",
            "x-ratelimit-limits",
            "x-request-id",
            "ratelimit",
            "ratelimit-policy",
            "x-ratelimit-",
            "llm_provider-x-ratelimit-limit-requests",
            "retry-after",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn an_even_refill_betrays_the_day() {
        let of_the_day = [
            ("x-ratelimit-limit-requests", "1000"),
            ("x-ratelimit-remaining-requests", "970"),
            ("x-ratelimit-reset-requests", "43m12s"),
        ];
        let window = |dialect| read(dialect, &of_the_day)[0].window;
        assert_eq!(window(Dialect::Generic), Some(Window::Day));
        assert_eq!(window(Dialect::Groq), Some(Window::Day));
        assert_eq!(window(Dialect::Fireworks), Some(Window::Minute));
        let of_the_minute = [
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
        ];
        let buckets = read(Dialect::OpenAi, &of_the_minute);
        assert_eq!(buckets[0].window, Some(Window::Minute));
    }

    #[test]
    fn a_full_bucket_does_not_divide_by_what_is_gone() {
        let full = [
            ("x-ratelimit-limit-tokens", "18446744073709551615"),
            ("x-ratelimit-remaining-tokens", "18446744073709551615"),
            ("x-ratelimit-reset-tokens", "8760h0m0s"),
        ];
        assert_eq!(read(Dialect::OpenAi, &full)[0].window, Some(Window::Minute));
    }

    #[test]
    fn a_header_that_cannot_be_read_counts_as_not_sent() {
        let odd = [
            ("x-ratelimit-remaining-requests", "-1"),
            ("x-ratelimit-limit-requests", "many"),
            ("x-ratelimit-reset-requests", "NaN"),
            ("x-ratelimit-limit-bananas", "7"),
        ];
        assert_eq!(read(Dialect::Generic, &odd), []);
    }

    #[test]
    fn the_stricter_of_two_values_holds() {
        let twice = [
            ("x-ratelimit-remaining-requests", "5"),
            ("x-ratelimit-remaining-requests", "3"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-requests", "9s"),
        ];
        let [bucket] = &read(Dialect::Generic, &twice)[..] else {
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
        let buckets = read(Dialect::Anthropic, &headers);
        let spent: Vec<_> = buckets
            .iter()
            .filter(|bucket| bucket.remaining == Some(0))
            .collect();
        assert_eq!(spent.len(), 1);
        assert_eq!(spent[0].window, Some(Window::FiveHours));
    }
}
