//! The names of limits in messages and identifiers: "requests per min (RPM)",
//! `GenerateRequestsPerMinutePerProjectPerModel`, `free-models-per-day`, "1000 API calls / month".

use std::time::Duration;

use super::{Dimension, Window};

/// What a name of a limit says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) dimension: Option<Dimension>,
    pub(super) window: Option<Window>,
}

/// Words that name a dimension, and the window that they imply if none is named.
#[rustfmt::skip]
static DIMENSIONS: &[(&str, Dimension, Option<Window>)] = &[
    (" input tokens per ", Dimension::InputTokens, None),
    (" input token count ", Dimension::InputTokens, None),
    (" prompt tokens per ", Dimension::InputTokens, None),
    (" itpm ", Dimension::InputTokens, Some(Window::Minute)),
    (" output tokens per ", Dimension::OutputTokens, None),
    (" output token count ", Dimension::OutputTokens, None),
    (" otpm ", Dimension::OutputTokens, Some(Window::Minute)),
    (" tokens per ", Dimension::Tokens, None),
    (" token count per ", Dimension::Tokens, None),
    (" tokens usage based per ", Dimension::Tokens, None),
    (" request tokens ", Dimension::Tokens, None),
    // LiteLLM names the minute only by the date of the reset.
    (" limit type tokens ", Dimension::Tokens, Some(Window::Minute)),
    (" limit type requests ", Dimension::Requests, Some(Window::Minute)),
    (" limit type max parallel requests ", Dimension::Concurrency, None),
    (" by minute tokens ", Dimension::Tokens, None),
    (" by day tokens ", Dimension::Tokens, None),
    (" deployment ratelimit token ", Dimension::Tokens, None),
    (" tpm ", Dimension::Tokens, Some(Window::Minute)),
    (" tpd ", Dimension::Tokens, Some(Window::Day)),
    // Bedrock names no window when it means a minute.
    (" too many tokens please wait ", Dimension::Tokens, Some(Window::Minute)),
    (" too many tokens per ", Dimension::Tokens, None),
    (" too many requests please wait ", Dimension::Requests, Some(Window::Minute)),
    (" requests per ", Dimension::Requests, None),
    (" request per ", Dimension::Requests, None),
    (" queries per ", Dimension::Requests, None),
    (" api calls ", Dimension::Requests, None),
    (" calls per ", Dimension::Requests, None),
    (" number of requests ", Dimension::Requests, None),
    (" tier requests ", Dimension::Requests, None),
    (" free models per ", Dimension::Requests, None),
    (" deployment ratelimit request ", Dimension::Requests, None),
    (" rps ", Dimension::Requests, Some(Window::Second)),
    (" rpm ", Dimension::Requests, Some(Window::Minute)),
    (" rph ", Dimension::Requests, Some(Window::Hour)),
    (" rpd ", Dimension::Requests, Some(Window::Day)),
    (" concurrency ", Dimension::Concurrency, None),
    (" concurrent requests ", Dimension::Concurrency, None),
    (" concurrent connections ", Dimension::Concurrency, None),
    (" max parallel request ", Dimension::Concurrency, None),
    (" neurons ", Dimension::Neurons, None),
];

/// GitHub Models names what a limit counts only if it is not requests ("UserByModelByDay").
const OF_REQUESTS: &str = " user by ";

/// A unit of time after "per", "by" or "/".
#[rustfmt::skip]
static UNITS: &[(&[&str], Window)] = &[
    (&["second", "sec"], Window::Second),
    (&["minute", "min"], Window::Minute),
    (&["hour", "hr"], Window::Hour),
    (&["day"], Window::Day),
    (&["week"], Window::Week),
    (&["month"], Window::Month),
];

/// A unit behind a number, and its seconds.
#[rustfmt::skip]
static LENGTHS: &[(&[&str], u64)] = &[
    (&["s", "sec", "second", "seconds"], 1),
    (&["m", "min", "minute", "minutes"], 60),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600),
    (&["d", "day", "days"], 86_400),
    (&["w", "wk", "week", "weeks"], 7 * 86_400),
    (&["month", "months"], 31 * 86_400),
];

#[rustfmt::skip]
static NUMBERS: &[(&str, u64)] = &[
    ("one", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5), ("six", 6), ("seven", 7),
    ("eight", 8), ("twelve", 12), ("thirty", 30),
];

#[rustfmt::skip]
static ADJECTIVES: &[(&str, Window)] = &[
    ("hourly", Window::Hour), ("daily", Window::Day), ("weekly", Window::Week), ("monthly", Window::Month),
];

/// The limit that `name` names. Several dimensions are none: LiteLLM's "Crossed TPM / RPM / Max
/// Parallel Request Limit" does not say which. Of several windows the first is meant; what follows is advice.
pub(super) fn limit(name: &str) -> Limit {
    if name.is_empty() {
        return Limit::default();
    }
    let words = normal(name);
    let mut found: Vec<(Dimension, Option<Window>)> = Vec::new();
    for (phrase, dimension, implied) in DIMENSIONS {
        if words.contains(phrase) {
            found.push((*dimension, *implied));
        }
    }
    if found.is_empty() && words.contains(OF_REQUESTS) {
        found.push((Dimension::Requests, None));
    }
    Limit {
        dimension: one_of(&found),
        window: window(&words).or_else(|| found.iter().find_map(|(_, implied)| *implied)),
    }
}

fn one_of(found: &[(Dimension, Option<Window>)]) -> Option<Dimension> {
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

fn window(words: &str) -> Option<Window> {
    let words: Vec<_> = words.split_ascii_whitespace().collect();
    (0..words.len()).find_map(|at| {
        let word = words.get(at)?;
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        if matches!(before, Some(&("per" | "by"))) {
            // "50 per 86400s" (GitHub Models), "30 requests / 5h"
            let of_length = || Window::covering(length_at(&words, at)?.0);
            return unit(word).or_else(of_length).or_else(|| adjective(word));
        }
        adjective(word)
    })
}

/// The window that a unit ("week") or an adjective ("weekly") names.
pub(super) fn unit_or_adjective(word: &str) -> Option<Window> {
    unit(word).or_else(|| adjective(word))
}

fn unit(word: &str) -> Option<Window> {
    let (_, window) = UNITS.iter().find(|(names, _)| names.contains(&word))?;
    Some(*window)
}

fn adjective(word: &str) -> Option<Window> {
    let (_, window) = ADJECTIVES.iter().find(|(name, _)| *name == word)?;
    Some(*window)
}

/// A number and its unit at a word (`5h`, `5 hour`, `five hours`), and the place behind them.
pub(super) fn length_at(words: &[&str], at: usize) -> Option<(Duration, usize)> {
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
    let (_, seconds) = LENGTHS.iter().find(|(names, _)| names.contains(&unit))?;
    Some((Duration::from_secs(seconds.checked_mul(number)?), after))
}

/// Lower-case words between single blanks, with a blank at both ends; `CamelCase` is split, as is Chinese
/// from digits and Latin letters, and "/" is "per".
pub(super) fn normal(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + name.len() / 4 + 2);
    words.push(' ');
    let mut after_lower = false;
    let mut after_ascii = true;
    for c in name.chars() {
        if c == '/' {
            words.push_str(if words.ends_with(' ') {
                "per "
            } else {
                " per "
            });
        } else if !c.is_alphanumeric() {
            if !words.ends_with(' ') {
                words.push(' ');
            }
        } else {
            let is_other_script = c.is_ascii() != after_ascii && !words.ends_with(' ');
            if (c.is_ascii_uppercase() && after_lower) || is_other_script {
                words.push(' ');
            }
            words.push(c.to_ascii_lowercase());
            after_ascii = c.is_ascii();
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
    fn names_of_limits_in_every_style() {
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
            let expected = Limit {
                dimension: *dimension,
                window: *window,
            };
            assert_eq!(limit(name), expected, "{name}");
        }
    }
}
