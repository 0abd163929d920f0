//! The names of headers that report a bucket: a family, one part of a bucket, and a subject.

use super::super::{Dimension, Scope, Window};

/// What a header says of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Limit,
    Remaining,
    Reset,
    /// The window's length in seconds (Azure) or minutes (Codex).
    Period {
        minutes: bool,
    },
    /// `allowed`, `allowed_warning` or `rejected` (Anthropic's subscriptions).
    Status,
    /// The used share of the limit, which is exhausted at this value.
    Used {
        full: u64,
    },
    /// The window that binds: `five_hour`, `seven_day`, `seven_day_opus` (Anthropic's subscriptions).
    Claim,
}

/// A part that begins with another stands before it.
const PARTS: &[(&str, Part)] = &[
    ("limit", Part::Limit),
    ("remaining", Part::Remaining),
    ("reset-after-seconds", Part::Reset),
    ("reset-after", Part::Reset),
    ("reset-at", Part::Reset),
    ("reset", Part::Reset),
    ("renewalperiod", Part::Period { minutes: false }),
    ("window-minutes", Part::Period { minutes: true }),
    ("status", Part::Status),
    ("utilization", Part::Used { full: 1 }),
    ("used-percent", Part::Used { full: 100 }),
    ("representative-claim", Part::Claim),
];

/// How the names of one family are built: `x-ratelimit-<part>-<subject>` or `<subject>-<part>`.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) prefix: &'static str,
    part_first: bool,
    /// What is counted where no subject is named, and over which time.
    pub(super) unnamed: (Dimension, Option<Window>),
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
    // The plans of ChatGPT.
    subject_first("x-codex-", (Dimension::Spend, None)),
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
    (UNIFIED, Dimension::Spend, Some(Scope::Account)),
    ("primary", Dimension::Spend, Some(Scope::Account)),
    ("secondary", Dimension::Spend, Some(Scope::Account)),
];

/// The subject of Anthropic's subscriptions; a window may follow it, and a model (`unified-7d_opus`).
pub(super) const UNIFIED: &str = "unified";

static WINDOWS: &[(&str, Window)] = &[
    ("-second", Window::Second),
    ("-minute", Window::Minute),
    ("-hour", Window::Hour),
    ("-5h", Window::FiveHours),
    ("-day", Window::Day),
    ("-7d", Window::Week),
    ("-month", Window::Month),
];

static CLAIMS: &[(&str, Window)] = &[
    ("five_hour", Window::FiveHours),
    ("seven_day", Window::Week),
];

/// What a subject says of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// `None` where the name has no subject.
    pub(super) dimension: Option<Dimension>,
    pub(super) window: Option<Window>,
    pub(super) scope: Option<Scope>,
}

/// The family, part and subject of a header's name.
pub(super) fn parts(name: &str) -> Option<(&'static Family, Part, &str)> {
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

/// `None` if no provider is known to count that.
pub(super) fn subject(name: &str) -> Option<Subject> {
    // A window of one model.
    let (name, of_model) = match name.strip_prefix(UNIFIED).and_then(|it| it.split_once('_')) {
        Some((window, _)) => (&name[..UNIFIED.len() + window.len()], true),
        None => (name, false),
    };
    let (counted, window) = WINDOWS
        .iter()
        .find_map(|(end, window)| Some((name.strip_suffix(end)?, Some(*window))))
        .unwrap_or((name, None));
    if counted.is_empty() {
        return Some(Subject {
            dimension: None,
            window,
            scope: None,
        });
    }
    let (_, dimension, scope) = SUBJECTS.iter().find(|(it, ..)| *it == counted)?;
    Some(Subject {
        dimension: Some(*dimension),
        window,
        scope: match of_model {
            true => Some(Scope::AccountModel),
            false => *scope,
        },
    })
}

/// The window that `five_hour`, `seven_day` or `seven_day_opus` names, and whose it is.
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
        assert_eq!(
            read("anthropic-ratelimit-unified-representative-claim"),
            Some((Part::Claim, "unified"))
        );
        assert_eq!(
            read("x-codex-secondary-used-percent"),
            Some((Part::Used { full: 100 }, "secondary"))
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
