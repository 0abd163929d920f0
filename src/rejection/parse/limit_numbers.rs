//! The numbers of limits in messages: "Limit 3, Used 3, Requested 1", "current: 500000, limit: 128000",
//! "Requests per Minute (actual/limit): 2/2", "a maximum of 2 concurrent requests".

use super::{
    super::numbers::LimitNumbers,
    duration,
    limit_name::{self, LimitName},
};

/// A message with more numbers is not about a limit.
const MAX_NUMBERS: usize = 32;

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberKind {
    Limit,
    Used,
    Requested,
}

/// What stands before a number, without a colon. A number anywhere else is a delay, a date or a price. A label
/// that ends with another stands before it.
#[rustfmt::skip]
const LABELS: &[(NumberKind, &[&str])] = &[
    (NumberKind::Used, &[
        "used", "current", "current concurrency is",
        // LiteLLM
        "current rpm", "current tpm", "current_tpm", "current max_parallel_requests",
    ]),
    (NumberKind::Requested, &["requested"]),
    (NumberKind::Limit, &[
        "limit", "limit of", "limit is", "limit for this model is", "limited to", "reduced to",
        "maximum of", "allocation of",
        // LiteLLM, Moonshot
        "rpm_limit", "tpm_limit", "max_parallel_requests", "max rpm", "max organization concurrency",
    ]),
];

/// xAI's label of two numbers.
const PAIR: &str = "(actual/limit)";

/// Words before the limit of a better plan.
const ADVICE: &[&str] = &["upgrade", "unlock", "increase"];

/// A status in a sentence ("rate limit: 429") is no limit.
const STATUS: u64 = 429;

/// The numbers of one limit, and the name beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatedLimit {
    pub(crate) name: LimitName,
    pub(crate) numbers: LimitNumbers,
}

// === impl StatedLimit ===

impl StatedLimit {
    /// Adds what the text behind its numbers names: "a rate limit of 30,000 input tokens per minute".
    fn complete(&mut self, text: &str) {
        let name = limit_name::read(text);
        self.name.dimension = self.name.dimension.or(name.dimension);
        self.name.window = self.name.window.or(name.window);
    }
}

/// Reads the limits of a message in lower case, in their order.
pub(crate) fn read(message: &str) -> Vec<StatedLimit> {
    let mut limits = Vec::new();
    let mut left = MAX_NUMBERS;
    for line in message.split(['\n', '。']) {
        for sentence in line.split(". ") {
            left = of_sentence(sentence, left, &mut limits);
        }
    }
    limits
}

/// Returns the one limit that was reached, if a message names several with both of their numbers.
pub(crate) fn reached(limits: &[StatedLimit]) -> Option<LimitName> {
    let counted = |limit: &&StatedLimit| limit.numbers.limit.zip(limit.numbers.used).is_some();
    let mut counted = limits.iter().filter(counted);
    let first = counted.clone().next()?;
    if counted.clone().all(|it| it.name == first.name) {
        return None;
    }
    let is_reached = |it: &&StatedLimit| it.numbers.used >= it.numbers.limit;
    let reached = counted.find(is_reached)?;
    let is_only = !counted.any(|it| is_reached(&it));
    is_only.then_some(reached.name)
}

/// Returns the numbers of the limit that `name` names. If it does not say what is counted, those of a limit
/// that says it are left out.
pub(crate) fn of_limit(limits: &[StatedLimit], name: LimitName) -> LimitNumbers {
    let is_of_limit = |it: &&StatedLimit| {
        let has_unit = name.dimension.is_some() || it.name.dimension.is_none();
        has_unit && it.name.is_compatible(name)
    };
    let mut limits = limits.iter().filter(is_of_limit);
    let Some(first) = limits.next() else {
        return LimitNumbers::default();
    };
    let same = limits.filter(|it| it.name.is_compatible(first.name));
    same.fold(first.numbers, |all, it| all.or(it.numbers))
}

/// Adds the limits of a sentence, and returns how many more numbers are read.
fn of_sentence(sentence: &str, mut left: usize, limits: &mut Vec<StatedLimit>) -> usize {
    let mut current: Option<StatedLimit> = None;
    let (mut at, mut behind) = (0, 0);
    while let Some(start) = next_number(sentence, at).filter(|_| left > 0) {
        left -= 1;
        let end = end_of_digits(sentence, start);
        at = end;
        if ADVICE.iter().any(|word| sentence[..start].contains(word)) {
            break;
        }
        let (before, rest) = (&sentence[behind..start], &sentence[end..]);
        let Some((numbers, rest)) = labelled(before, &sentence[start..end], rest) else {
            continue;
        };
        (at, behind) = (sentence.len() - rest.len(), sentence.len() - rest.len());
        let name = match &mut current {
            // "a limit of 5 requests per day, used 4"
            Some(known) => {
                let (unit, label) = before.split_once(',').unwrap_or(("", before));
                known.complete(unit);
                limit_name::read(label)
            }
            None => limit_name::read(before),
        };
        let is_same = |known: &StatedLimit| {
            let is_named = name != LimitName::default() && name != known.name;
            !is_named && !overlaps(known.numbers, numbers)
        };
        match &mut current {
            Some(known) if is_same(known) => known.numbers = known.numbers.or(numbers),
            _ => limits.extend(current.replace(StatedLimit { name, numbers })),
        }
    }
    if let Some(mut last) = current {
        last.complete(&sentence[behind..]);
        limits.push(last);
    }
    left
}

fn overlaps(one: LimitNumbers, other: LimitNumbers) -> bool {
    let both = |one: Option<u64>, other: Option<u64>| one.is_some() && other.is_some();
    both(one.limit, other.limit)
        || both(one.used, other.used)
        || both(one.requested, other.requested)
}

/// Returns the place of the first digit that begins a number.
fn next_number(text: &str, from: usize) -> Option<usize> {
    let digits = text[from..].match_indices(|c: char| c.is_ascii_digit());
    let is_first = |at: usize| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | ',' | '-' | '_' | '+'))
    };
    digits.map(|(at, _)| from + at).find(|at| is_first(*at))
}

fn end_of_digits(text: &str, start: usize) -> usize {
    let digits = text[start..].bytes().take_while(|it| is_of_number(*it));
    let end = start + digits.count();
    // The comma behind a number is not part of it.
    start + text[start..end].trim_end_matches(',').len()
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b','
}

/// Reads a number behind its label, or two behind [`PAIR`]; returns the rest behind them.
fn labelled<'a>(before: &str, digits: &str, rest: &'a str) -> Option<(LimitNumbers, &'a str)> {
    let label = before.trim_end_matches([' ', ':', '=']);
    let mut numbers = LimitNumbers::default();
    if label.ends_with(PAIR) {
        let second = rest.strip_prefix('/')?;
        let (second, rest) = second.split_at(end_of_digits(second, 0));
        numbers.used = value(digits);
        numbers.limit = value(second).filter(|_| ends_number(rest));
        return Some((numbers, rest));
    }
    let kind = kind(label)?;
    let value = value(digits).filter(|_| ends_number(rest));
    match kind {
        NumberKind::Limit => numbers.limit = value.filter(|it| *it != STATUS),
        NumberKind::Used => numbers.used = value,
        NumberKind::Requested => numbers.requested = value,
    }
    (numbers != LimitNumbers::default()).then_some((numbers, rest))
}

fn kind(label: &str) -> Option<NumberKind> {
    let ends_with = |name: &str| {
        let before = label.strip_suffix(name)?;
        (!before.ends_with(|c: char| c.is_alphanumeric() || c == '_')).then_some(())
    };
    let is_any = |names: &&[&str]| names.iter().any(|name| ends_with(name).is_some());
    let (kind, _) = LABELS.iter().find(|(_, names)| is_any(names))?;
    Some(*kind)
}

/// Whether `rest` begins behind a whole number of something that is counted, which money, parts, dates and
/// times are not.
fn ends_number(rest: &str) -> bool {
    let mut next = rest.chars();
    let is_end = match next.next() {
        Some('.') => !next.next().is_some_and(|c| c.is_alphanumeric()),
        Some(c) => !c.is_alphanumeric() && !matches!(c, ':' | '-' | '%' | '_' | '$' | '€'),
        None => true,
    };
    let word = rest.trim_start_matches(' ');
    let end = word.find(|c: char| !c.is_alphabetic());
    is_end && duration::unit(&word[..end.unwrap_or(word.len())]).is_none()
}

/// Reads digits, perhaps with commas between groups of three.
fn value(digits: &str) -> Option<u64> {
    let mut groups = digits.split(',');
    let first = groups.next()?;
    let is_grouped = digits.contains(',');
    let is_valid = !is_grouped || (first.len() <= 3 && groups.all(|group| group.len() == 3));
    is_valid.then(|| digits.replace(',', "").parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::types::{Dimension, Window},
        *,
    };

    /// The limit, the used amount and the amount that the request needs.
    type Numbers = [Option<u64>; 3];

    fn numbers(message: &str) -> Numbers {
        let limits = read(&message.to_lowercase());
        let it = of_limit(&limits, limit_name::read(message));
        [it.limit, it.used, it.requested]
    }

    #[test]
    fn numbers_are_read_after_their_labels_in_any_order() {
        let table: &[(&str, Numbers)] = &[
            (
                "on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
                [Some(3), Some(3), Some(1)],
            ),
            (
                "Limit: 8000 / min. Current: 6793 / min. Try again in 20s",
                [Some(8_000), Some(6_793), None],
            ),
            (
                "Requested 13558, Used 95000, Limit 100000",
                [Some(100_000), Some(95_000), Some(13_558)],
            ),
            (
                "Limit: 2,000,000, Used: 1,999,000,Requested: 1,300",
                [Some(2_000_000), Some(1_999_000), Some(1_300)],
            ),
            ("Limit 3,Used 3", [Some(3), Some(3), None]),
            (
                "request reached organization TPM rate limit, current: 500000, limit: 128000, please",
                [Some(128_000), Some(500_000), None],
            ),
            (
                "request reached max organization concurrency: 5, please try again after 1 seconds",
                [Some(5), None, None],
            ),
            (
                "rate limit of 30,000 input tokens per minute (org: 0)",
                [Some(30_000), None, None],
            ),
            (
                "rate limit is reduced to 6 requests per minute with a burst of 1",
                [Some(6), None, None],
            ),
            (
                "Your current concurrency is 26, which exceeds your concurrency limit of 25 based",
                [Some(25), Some(26), None],
            ),
            (
                "Requests per Minute (actual/limit): 12/10.",
                [Some(10), Some(12), None],
            ),
            ("Limit=5", [Some(5), None, None]),
            ("limit 18446744073709551615", [Some(u64::MAX), None, None]),
        ];
        for (message, expected) in table {
            assert_eq!(numbers(message), *expected, "{message}");
        }
    }

    #[test]
    fn unrelated_numbers_are_not_numbers_of_a_limit() {
        for message in [
            "Limit 18446744073709551616, Used 99999999999999999999999",
            "Limit -2, Used +3, Requested 1e9",
            "Limit 1.5, Used 50%, Requested 1,00",
            "Limit 1000,000, Used 1,0000",
            "Usage limit 5h, limit: 5 hours, limited to 30 seconds",
            "Your limit will reset at 2026-09-09 05:38:28, limit 2026-09-09",
            "rate limit: 429 Too Many Requests",
            "limit $5, limit: 5$",
            "Current cost: 10.5, Max budget: 10.0",
            "unlimited 5, unused 7, gpt-limit-5, my_limit 5",
            "limit (0/0 used)",
            "Rate limit reached. Upgrade to Pro for a limit of 100 requests per minute",
            "requests per second (actual/limit): 9/8, tokens per minute (actual/limit): 5/5",
            "Limit ٣, limit 3٣",
            "actual/limit): 3/2",
            "(actual/limit): 3",
            "(actual/limit): /",
            "Limit ",
            "Limit",
            ",",
            "",
        ] {
            assert_eq!(numbers(message), [None; 3], "{message}");
        }
    }

    #[test]
    fn each_limit_has_its_own_numbers() {
        let message = "current rpm: 1, rpm limit: 15, current tpm: 12260, tpm limit: 5000, \
                       current max_parallel_requests: 0, max_parallel_requests: 9223372036854775807";
        let limits = read(message);
        let tokens = reached(&limits).unwrap();
        assert_eq!(tokens.dimension, Some(Dimension::Tokens));
        let of = |dimension| {
            let name = LimitName {
                dimension: Some(dimension),
                window: None,
            };
            let it = of_limit(&limits, name);
            (it.limit, it.used)
        };
        assert_eq!(of(Dimension::Tokens), (Some(5_000), Some(12_260)));
        assert_eq!(of(Dimension::Requests), (Some(15), Some(1)));
        assert_eq!(
            of(Dimension::Concurrency),
            (Some(9_223_372_036_854_775_807), Some(0))
        );
    }

    #[test]
    fn name_after_a_number_belongs_to_it() {
        let limits = read("a limit of 5 requests per day, used 4, and limit 100 tokens per minute");
        let [requests, tokens] = &limits[..] else {
            panic!("two limits: {limits:?}");
        };
        assert_eq!(requests.name.dimension, Some(Dimension::Requests));
        assert_eq!(requests.name.window, Some(Window::Day));
        let numbers = requests.numbers;
        assert_eq!((numbers.limit, numbers.used), (Some(5), Some(4)));
        assert_eq!(tokens.name.dimension, Some(Dimension::Tokens));
        assert_eq!(tokens.numbers.limit, Some(100));
    }

    #[test]
    fn only_one_of_several_limits_counts_as_reached() {
        let name = |message: &str| reached(&read(message)).and_then(|name| name.window);
        let second_of_two =
            "requests per second (actual/limit): 1/8, requests per minute (actual/limit): 480/480.";
        assert_eq!(name(second_of_two), Some(Window::Minute));
        let both =
            "requests per second (actual/limit): 9/8, requests per minute (actual/limit): 480/480.";
        assert_eq!(name(both), None);
        assert_eq!(name("requests per minute (actual/limit): 2/2."), None);
        assert_eq!(name("limit 3, used 3"), None);
    }
}
