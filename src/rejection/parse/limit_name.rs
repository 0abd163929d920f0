//! The names of limits in messages and identifiers: "requests per min (RPM)",
//! `GenerateRequestsPerMinutePerProjectPerModel`, `free-models-per-day`, "1000 API calls / month".

use std::time::Duration;

use super::{
    super::types::{Dimension, Window},
    duration,
};

/// What the name of a limit says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitName {
    pub(crate) dimension: Option<Dimension>,
    pub(crate) window: Option<Window>,
}

// === impl LimitName ===

impl LimitName {
    /// Whether both can be names of one limit; what one of them leaves out contradicts nothing.
    pub(crate) fn is_compatible(self, other: Self) -> bool {
        let dimensions = self.dimension.zip(other.dimension);
        let windows = self.window.zip(other.window);
        dimensions.is_none_or(|(one, other)| one.is_compatible(other))
            && windows.is_none_or(|(one, other)| one == other)
    }
}

/// Phrases that name a dimension, and the window that they imply if none is named.
#[rustfmt::skip]
static DIMENSIONS: &[(Dimension, Option<Window>, &[&str])] = &[
    (Dimension::InputTokens, None, &[
        " input tokens per ", " input token count ", " prompt tokens per ",
    ]),
    (Dimension::InputTokens, Some(Window::Minute), &[" itpm "]),
    (Dimension::OutputTokens, None, &[" output tokens per ", " output token count "]),
    (Dimension::OutputTokens, Some(Window::Minute), &[" otpm "]),
    (Dimension::Tokens, None, &[
        " tokens per ", " token count per ", " tokens usage based per ", " request tokens ",
        " by minute tokens ", " by day tokens ", " deployment ratelimit token ",
    ]),
    // LiteLLM names the minute only by the date of the reset, and Bedrock names no window for a minute.
    (Dimension::Tokens, Some(Window::Minute), &[
        " limit type tokens ", " tpm ", " too many tokens please wait ",
    ]),
    (Dimension::Tokens, Some(Window::Day), &[" tpd "]),
    (Dimension::Requests, None, &[
        " requests per ", " request per ", " queries per ", " api calls ", " calls per ",
        " number of requests ", " tier requests ", " free models per ", " deployment ratelimit request ",
    ]),
    (Dimension::Requests, Some(Window::Second), &[" rps "]),
    (Dimension::Requests, Some(Window::Minute), &[
        " limit type requests ", " too many requests please wait ", " rpm ",
    ]),
    (Dimension::Requests, Some(Window::Hour), &[" rph "]),
    (Dimension::Requests, Some(Window::Day), &[" rpd "]),
    (Dimension::Concurrency, None, &[
        " max parallel requests ", " max parallel request ", " concurrency ", " concurrent requests ",
        " concurrent connections ", " too many requests in flight ",
    ]),
    (Dimension::Neurons, None, &[" neurons "]),
];

/// GitHub Models leaves out the dimension if it is requests ("UserByModelByDay").
const OF_REQUESTS: &str = " user by ";

/// A unit of time after "per", "by" or "/", its adjective, and its window.
#[rustfmt::skip]
static UNITS: &[(&[&str], &str, Window)] = &[
    (&["second", "sec"], "", Window::Second),
    (&["minute", "min"], "", Window::Minute),
    (&["hour", "hr"], "hourly", Window::Hour),
    (&["day"], "daily", Window::Day),
    (&["week"], "weekly", Window::Week),
    (&["month"], "monthly", Window::Month),
];

#[rustfmt::skip]
static NUMBERS: &[(&str, u64)] = &[
    ("one", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5), ("six", 6), ("seven", 7),
    ("eight", 8), ("twelve", 12), ("thirty", 30),
];

/// Reads the limit that `name` names.
///
/// Several dimensions count as none: LiteLLM's "Crossed TPM / RPM / Max Parallel Request Limit" does not say
/// which. If there are several windows, the first counts, because the text after it is advice.
pub(crate) fn read(name: &str) -> LimitName {
    if name.is_empty() {
        return LimitName::default();
    }
    let text = normal(name);
    let is_named = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    let rows = DIMENSIONS.iter().filter(|(.., phrases)| is_named(phrases));
    let mut found: Vec<_> = rows.map(|(it, window, _)| (*it, *window)).collect();
    if found.is_empty() && text.contains(OF_REQUESTS) {
        found.push((Dimension::Requests, None));
    }
    LimitName {
        dimension: only_dimension(&found),
        window: window(&text).or_else(|| found.iter().find_map(|(_, implied)| *implied)),
    }
}

fn only_dimension(found: &[(Dimension, Option<Window>)]) -> Option<Dimension> {
    let has = |dimension| found.iter().any(|(it, _)| *it == dimension);
    let directed = has(Dimension::InputTokens) != has(Dimension::OutputTokens);
    let mut dimensions = found.iter().map(|(dimension, _)| match dimension {
        // "input tokens per minute" is also "tokens per minute".
        Dimension::Tokens if has(Dimension::InputTokens) && directed => Dimension::InputTokens,
        Dimension::Tokens if has(Dimension::OutputTokens) && directed => Dimension::OutputTokens,
        Dimension::InputTokens | Dimension::OutputTokens if !directed => Dimension::Tokens,
        other => *other,
    });
    let first = dimensions.next()?;
    dimensions.all(|other| other == first).then_some(first)
}

fn window(text: &str) -> Option<Window> {
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    words.iter().enumerate().find_map(|(at, word)| {
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        let is_counted = matches!(before, Some(&("per" | "by")));
        // "50 per 86400s" (GitHub Models), "30 requests / 5h"
        let of_length = || Window::covering(length_at(&words, at)?.0);
        let counted = is_counted.then(|| unit(word).or_else(of_length));
        counted.flatten().or_else(|| adjective(word))
    })
}

/// Returns the window that a unit ("week") or an adjective ("weekly") names.
pub(crate) fn unit_or_adjective(word: &str) -> Option<Window> {
    unit(word).or_else(|| adjective(word))
}

fn unit(word: &str) -> Option<Window> {
    let (.., window) = UNITS.iter().find(|(names, ..)| names.contains(&word))?;
    Some(*window)
}

fn adjective(word: &str) -> Option<Window> {
    let (.., window) = UNITS.iter().find(|(_, name, _)| *name == word)?;
    Some(*window)
}

/// Reads a number and its unit at a word (`5h`, `5 hour`, `five hours`), and returns the place behind them.
pub(crate) fn length_at(words: &[&str], at: usize) -> Option<(Duration, usize)> {
    let word = *words.get(at)?;
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = word.split_at(digits);
    let (number, rest) = match digits.parse() {
        Ok(number) => (number, rest),
        Err(_) => (NUMBERS.iter().find(|(name, _)| *name == word)?.1, ""),
    };
    let (unit, after) = match rest {
        "" => (*words.get(at + 1)?, at + 2),
        rest => (rest, at + 1),
    };
    let nanos = duration::unit(unit)?.checked_mul(number)?;
    Some((Duration::from_nanos(nanos), after))
}

/// Returns lower-case words between single blanks, with a blank at both ends. `CamelCase` is split, as is
/// Chinese from digits and Latin letters, and "/" becomes "per".
pub(crate) fn normal(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + name.len() / 4 + 2);
    words.push(' ');
    let mut after_lower = false;
    let mut after_ascii = true;
    for c in name.chars() {
        let is_word = c.is_alphanumeric();
        let is_other_script = is_word && c.is_ascii() != after_ascii;
        let begins = !is_word || is_other_script || (c.is_ascii_uppercase() && after_lower);
        if begins && !words.ends_with(' ') {
            words.push(' ');
        }
        if is_word {
            words.push(c.to_ascii_lowercase());
            after_ascii = c.is_ascii();
        } else if c == '/' {
            words.push_str("per ");
        }
        after_lower = c.is_ascii_lowercase();
    }
    words.push(' ');
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_read_from_names_of_every_style() {
        use Dimension::*;
        let table: &[(&str, Option<Dimension>, Option<Window>)] = &[
            (
                "on requests per min (RPM): Limit 3",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "on requests per min. Limit: 3 / min",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "on tokens per min (TPM): Limit 30000",
                Some(Tokens),
                Some(Window::Minute),
            ),
            (
                "on requests per day (RPD)",
                Some(Requests),
                Some(Window::Day),
            ),
            ("on tokens per day (TPD)", Some(Tokens), Some(Window::Day)),
            (
                "30,000 input tokens per minute",
                Some(InputTokens),
                Some(Window::Minute),
            ),
            (
                "80,000 output tokens per minute",
                Some(OutputTokens),
                Some(Window::Minute),
            ),
            ("(ITPM)", Some(InputTokens), Some(Window::Minute)),
            (
                "input tokens per minute and output tokens per minute",
                Some(Tokens),
                Some(Window::Minute),
            ),
            (
                "Number of request tokens has exceeded your per-minute rate limit",
                Some(Tokens),
                Some(Window::Minute),
            ),
            (
                "Number of requests has exceeded your per-minute rate limit",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "Number of request tokens has exceeded your daily rate limit",
                Some(Tokens),
                Some(Window::Day),
            ),
            (
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                Some(Requests),
                Some(Window::Day),
            ),
            (
                "GenerateContentPaidTierInputTokensPerModelPerMinute",
                Some(InputTokens),
                Some(Window::Minute),
            ),
            (
                "aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "googleapis.com/generate_content_free_tier_requests, limit: 20",
                Some(Requests),
                None,
            ),
            (
                "Too many tokens, please wait before trying again.",
                Some(Tokens),
                Some(Window::Minute),
            ),
            (
                "Too many tokens per day, please wait before trying again.",
                Some(Tokens),
                Some(Window::Day),
            ),
            (
                "Too many requests, please wait",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "Requests per Second (actual/limit): 3/2.",
                Some(Requests),
                Some(Window::Second),
            ),
            (
                "120 queries per minute",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "limited to 1000 API calls / month",
                Some(Requests),
                Some(Window::Month),
            ),
            (
                "limited to 20 API calls / minute",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "free-models-per-min. Add credits for 1000 requests per day",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "Rate limit of 50 per 86400s exceeded for UserByModelByDay",
                Some(Requests),
                Some(Window::Day),
            ),
            (
                "Rate limit of 24 per 60s exceeded for UserByMinute",
                Some(Requests),
                Some(Window::Minute),
            ),
            (
                "Rate limit of 2 per 0s exceeded for UserConcurrentRequests",
                Some(Concurrency),
                None,
            ),
            ("Your current concurrency is 26", Some(Concurrency), None),
            (
                "Crossed TPM / RPM / Max Parallel Request Limit",
                None,
                Some(Window::Minute),
            ),
            (
                "Free quota used (30 requests / 5h)",
                Some(Requests),
                Some(Window::FiveHours),
            ),
            (
                "100 requests per 24 hours",
                Some(Requests),
                Some(Window::Day),
            ),
            ("Too many requests", None, None),
            ("Need more tokens?", None, None),
            ("", None, None),
        ];
        for (name, dimension, window) in table {
            let expected = LimitName {
                dimension: *dimension,
                window: *window,
            };
            assert_eq!(read(name), expected, "{name}");
        }
    }
}
