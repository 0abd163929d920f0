//! The names of headers that report a bucket: a family, one part of a bucket, and a subject.

use super::super::types::{Dimension, Scope, Window};

/// What a header reports about its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderPart {
    Limit,
    Remaining,
    Reset,
    /// The window's length, and the seconds of its unit: seconds (Azure) or minutes (Codex).
    Period {
        seconds: u8,
    },
    /// `allowed`, `allowed_warning` or `rejected` (Anthropic's subscriptions).
    Status,
    /// The used share of the limit, which is exhausted at this value.
    Used {
        full: u8,
    },
    /// The window that binds: `five_hour`, `seven_day`, `seven_day_opus` (Anthropic's subscriptions).
    Claim,
}

/// A part that begins with another part stands before that one.
const PARTS: &[(&str, HeaderPart)] = &[
    ("limit", HeaderPart::Limit),
    ("remaining", HeaderPart::Remaining),
    ("reset-after-seconds", HeaderPart::Reset),
    ("reset-after", HeaderPart::Reset),
    ("reset-at", HeaderPart::Reset),
    ("reset", HeaderPart::Reset),
    ("renewalperiod", HeaderPart::Period { seconds: 1 }),
    ("window-minutes", HeaderPart::Period { seconds: 60 }),
    ("status", HeaderPart::Status),
    ("utilization", HeaderPart::Used { full: 1 }),
    ("used-percent", HeaderPart::Used { full: 100 }),
    ("representative-claim", HeaderPart::Claim),
];

/// Headers whose names are `<prefix><part>-<subject>`, or `<prefix><subject>-<part>`.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) prefix: &'static str,
    part_first: bool,
    /// What is counted if no subject is named.
    pub(super) dimension: Dimension,
    /// The time over which it is counted if no subject is named.
    pub(super) window: Option<Window>,
}

#[rustfmt::skip]
static FAMILIES: &[Family] = &[
    // OpenAI and all providers that use its names; Azure in 2023.
    Family { prefix: "x-ratelimit-", part_first: true, dimension: Dimension::Requests, window: None },
    Family { prefix: "x-rate-limit-", part_first: true, dimension: Dimension::Requests, window: None },
    // Together, whose windows are seconds.
    Family {
        prefix: "x-tokenlimit-",
        part_first: true,
        dimension: Dimension::Tokens,
        window: Some(Window::Second),
    },
    // Cohere's trial keys.
    Family {
        prefix: "x-trial-endpoint-call-",
        part_first: false,
        dimension: Dimension::Requests,
        window: Some(Window::Minute),
    },
    Family { prefix: "anthropic-ratelimit-", part_first: false, dimension: Dimension::Requests, window: None },
    // The plans of ChatGPT.
    Family { prefix: "x-codex-", part_first: false, dimension: Dimension::Spend, window: None },
    // Drafts 00 to 06 of the IETF's field.
    Family { prefix: "ratelimit-", part_first: true, dimension: Dimension::Requests, window: None },
];

/// What the subject of a name counts; a window may follow it (`tokens-minute`).
#[rustfmt::skip]
static SUBJECTS: &[(Dimension, Option<Scope>, &[&str])] = &[
    (Dimension::Requests, None, &["requests", "req"]),
    (Dimension::Tokens, None, &["tokens", "tokens_usage_based"]),
    (Dimension::Requests, Some(Scope::Project), &["project-requests"]),
    (Dimension::Tokens, Some(Scope::Project), &["project-tokens"]),
    (Dimension::InputTokens, None, &[
        "input-tokens", "priority-input-tokens", "tokens-prompt", "tokens-cache-adjusted-prompt",
    ]),
    (Dimension::OutputTokens, None, &["output-tokens", "priority-output-tokens", "tokens-generated"]),
    (Dimension::Spend, Some(Scope::Account), &[UNIFIED, "primary", "secondary"]),
];

/// The subject of Anthropic's subscriptions; a window may follow it, and a model (`unified-7d_opus`).
pub(super) const UNIFIED: &str = "unified";

#[rustfmt::skip]
static WINDOWS: &[(&str, Window)] = &[
    ("-second", Window::Second), ("-minute", Window::Minute), ("-hour", Window::Hour),
    ("-5h", Window::FiveHours), ("-day", Window::Day), ("-7d", Window::Week), ("-month", Window::Month),
];

static CLAIMS: [(&str, Window); 2] = [
    ("five_hour", Window::FiveHours),
    ("seven_day", Window::Week),
];

/// What a subject says about its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeaderSubject {
    /// `None` if the name has no subject.
    pub(super) dimension: Option<Dimension>,
    pub(super) window: Option<Window>,
    pub(super) scope: Option<Scope>,
}

/// Returns the family, part and subject of a header's name.
pub(super) fn parts(name: &str) -> Option<(&'static Family, HeaderPart, &str)> {
    is_like_family(name).then(|| of_family(name))?
}

/// Whether a name begins as those of a family do. Nearly no other header of a success does.
#[rustfmt::skip]
fn is_like_family(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        [b'x', b'-', b'r', b'a', ..] | [b'x', b'-', b't', ..] | [b'x', b'-', b'c', b'o', b'd', ..]
            | [b'a', b'n', ..] | [b'r', b'a', ..]
    )
}

fn of_family(name: &str) -> Option<(&'static Family, HeaderPart, &str)> {
    let (family, rest) = FAMILIES
        .iter()
        .find_map(|family| Some((family, name.strip_prefix(family.prefix)?)))?;
    PARTS.iter().find_map(|(word, part)| {
        let subject = match family.part_first {
            true => rest
                .strip_prefix(word)
                .filter(|it| it.is_empty() || it.starts_with('-')),
            false => rest
                .strip_suffix(word)
                .filter(|it| it.is_empty() || it.ends_with('-')),
        };
        Some((family, *part, without_dashes(subject?)))
    })
}

fn without_dashes(mut subject: &str) -> &str {
    while let Some(rest) = subject.strip_prefix('-').or(subject.strip_suffix('-')) {
        subject = rest;
    }
    subject
}

/// Returns what a subject names; `None` if no provider is known to count that.
pub(super) fn subject(name: &str) -> Option<HeaderSubject> {
    // A window of one model.
    let (name, of_model) = match name.strip_prefix(UNIFIED).and_then(|it| it.split_once('_')) {
        Some((window, _)) => (&name[..UNIFIED.len() + window.len()], true),
        None => (name, false),
    };
    let (counted, window) = WINDOWS
        .iter()
        .find_map(|(end, window)| Some((name.strip_suffix(end)?, Some(*window))))
        .unwrap_or((name, None));
    let (dimension, scope) = match counted {
        "" => (None, None),
        counted => {
            let mut rows = SUBJECTS.iter();
            let (dimension, scope, _) = rows.find(|(.., names)| names.contains(&counted))?;
            (Some(*dimension), *scope)
        }
    };
    Some(HeaderSubject {
        dimension,
        window,
        scope: of_model.then_some(Scope::AccountModel).or(scope),
    })
}

/// Returns the window that `five_hour`, `seven_day` or `seven_day_opus` names, and its owner.
pub(super) fn claim(value: &str) -> Option<(Window, Scope)> {
    CLAIMS.iter().find_map(|(name, window)| {
        let scope = match value.strip_prefix(name)? {
            "" => Scope::Account,
            _ => Scope::AccountModel,
        };
        Some((*window, scope))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_consists_of_a_part_and_a_subject() {
        let read = |name| parts(name).map(|(_, part, subject)| (part, subject));
        assert_eq!(
            read("x-ratelimit-limit-requests"),
            Some((HeaderPart::Limit, "requests"))
        );
        assert_eq!(read("x-ratelimit-reset"), Some((HeaderPart::Reset, "")));
        assert_eq!(
            read("anthropic-ratelimit-input-tokens-remaining"),
            Some((HeaderPart::Remaining, "input-tokens"))
        );
        assert_eq!(
            read("x-trial-endpoint-call-limit"),
            Some((HeaderPart::Limit, ""))
        );
        assert_eq!(
            read("anthropic-ratelimit-unified-representative-claim"),
            Some((HeaderPart::Claim, "unified"))
        );
        assert_eq!(
            read("x-codex-secondary-used-percent"),
            Some((HeaderPart::Used { full: 100 }, "secondary"))
        );
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
    fn each_family_passes_the_check_of_its_first_letters() {
        assert!(FAMILIES.iter().all(|family| is_like_family(family.prefix)));
    }

    #[test]
    fn subject_names_window_and_scope_of_a_subscription() {
        let read = |name| subject(name).map(|it| (it.window, it.scope));
        assert_eq!(read("unified"), Some((None, Some(Scope::Account))));
        assert_eq!(
            read("unified-5h"),
            Some((Some(Window::FiveHours), Some(Scope::Account)))
        );
        assert_eq!(
            read("unified-7d_opus"),
            Some((Some(Window::Week), Some(Scope::AccountModel)))
        );
        assert_eq!(read("unified-overage"), None);
        assert_eq!(read("unified-slow_budget"), None);
        assert_eq!(claim("seven_day"), Some((Window::Week, Scope::Account)));
        assert_eq!(
            claim("seven_day_opus"),
            Some((Window::Week, Scope::AccountModel))
        );
        assert_eq!(claim("overage"), None);
    }
}
