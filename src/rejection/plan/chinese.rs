//! The limits of plans in Chinese, which writes no blanks between words.

use std::time::Duration;

use crate::rejection::Window;

const REACHED: &[&str] = &[
    "达到", "已达", "超出", "超过", "用完", "用尽", "耗尽", "超限",
];

const LIMITS: &[&str] = &["上限", "限额", "额度", "配额", "用量已"];

/// Words that name a window by themselves.
const NAMES: &[(&str, Window)] = &[
    // A billing cycle; before the week that it begins with.
    ("本周期", Window::Month),
    ("每周", Window::Week),
    ("本周", Window::Week),
    ("周使用", Window::Week),
    ("周限额", Window::Week),
    ("周额度", Window::Week),
    ("每月", Window::Month),
    ("本月", Window::Month),
    ("月度", Window::Month),
    ("计费周期", Window::Month),
    ("每日", Window::Day),
    ("每天", Window::Day),
    ("今日", Window::Day),
    ("当日", Window::Day),
];

const UNITS: &[(&str, u64)] = &[
    ("分钟", 60),
    ("小时", 3_600),
    ("天", 86_400),
    ("周", 7 * 86_400),
    ("个月", 31 * 86_400),
];

const NUMBERS: &[(char, u64)] = &[
    ('一', 1),
    ('两', 2),
    ('三', 3),
    ('四', 4),
    ('五', 5),
    ('六', 6),
    ('七', 7),
    ('八', 8),
];

/// Whether a message says that something is used up.
pub(super) fn says_reached(message: &str) -> bool {
    REACHED.iter().any(|word| message.contains(word))
}

pub(super) fn names_limit(text: &str) -> bool {
    LIMITS.iter().any(|word| text.contains(word))
}

/// The first window that a message names.
pub(super) fn window(message: &str) -> Option<Window> {
    let named = NAMES
        .iter()
        .filter_map(|(name, window)| Some((message.find(name)?, *window)));
    let counted = UNITS.iter().flat_map(|(unit, seconds)| {
        let places = message.match_indices(unit);
        places.filter_map(move |(at, _)| {
            let (before, rest) = (&message[..at], &message[at + unit.len()..]);
            Some((at, counted(before, rest, *seconds)?))
        })
    });
    named
        .chain(counted)
        .min_by_key(|(at, _)| *at)
        .map(|(_, window)| window)
}

/// The window of a unit, its number before it. "5 小时后" is a delay.
fn counted(before: &str, rest: &str, seconds: u64) -> Option<Window> {
    let before = before.trim_end().trim_end_matches('个').trim_end();
    if rest.starts_with(['后', '内']) || rest.starts_with("之后") {
        return None;
    }
    let start = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = match before[start..].parse().ok() {
        Some(number) => number,
        None => {
            let last = before.chars().next_back()?;
            NUMBERS.iter().find(|(name, _)| *name == last)?.1
        }
    };
    Window::covering(Duration::from_secs(seconds.checked_mul(number)?))
}
