//! Delays and windows in Chinese, which has no blanks between words.

use std::time::Duration;

use super::{
    super::types::Window,
    decimal::{self, MILLISECOND, SECOND},
};

const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// A name that ends with another name stands before that one.
const UNITS: &[(&str, u64)] = &[
    ("毫秒", MILLISECOND),
    ("秒钟", SECOND),
    ("秒", SECOND),
    ("分钟", MINUTE),
    ("分", MINUTE),
    ("小时", 60 * MINUTE),
    ("天", DAY),
    ("周", 7 * DAY),
    ("个月", 31 * DAY),
];

/// The numbers from one to eight.
const NUMBERS: [char; 8] = ['一', '两', '三', '四', '五', '六', '七', '八'];

/// Words that name a window by themselves.
#[rustfmt::skip]
const NAMES: &[(Window, &[&str])] = &[
    // A billing cycle; before the week that its name begins with.
    (Window::Month, &["本周期", "每月", "本月", "月度", "计费周期"]),
    (Window::Week, &["每周", "本周", "周使用", "周限额", "周额度"]),
    (Window::Day, &["每日", "每天", "今日", "当日"]),
];

/// Returns the delays before each `后` ("after"): "请在 20 秒后重试".
pub(super) fn delays(text: &str) -> impl Iterator<Item = Duration> {
    text.match_indices('后').filter_map(|(at, _)| {
        let before = text[..at].trim_end_matches(['之', '以', ' ']);
        let mut units = UNITS.iter().filter(|(_, unit)| *unit <= DAY);
        let (number, unit) =
            units.find_map(|(name, unit)| Some((before.strip_suffix(name)?, *unit)))?;
        let number = number.trim_end_matches(['个', ' ']);
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let digits = number.trim_end_matches(is_digit).len();
        // A range or a sign is no delay.
        let is_plain = !number[..digits].ends_with(['-', '~', '+', ',']);
        let nanos = decimal::nanos_of_part(&number[digits..], unit)?;
        is_plain.then(|| decimal::from_nanos(nanos))?
    })
}

/// Returns the first window that a message names.
pub(crate) fn window(message: &str) -> Option<Window> {
    let named = NAMES.iter().flat_map(|(window, names)| {
        let places = names.iter().filter_map(|name| message.find(name));
        places.map(|at| (at, *window))
    });
    let units = UNITS.iter().filter(|(_, unit)| *unit >= MINUTE);
    let counted = units.flat_map(|(name, unit)| {
        let places = message.match_indices(name);
        places.filter_map(|(at, _)| {
            let (before, rest) = (&message[..at], &message[at + name.len()..]);
            Some((at, counted(before, rest, *unit)?))
        })
    });
    let first = named.chain(counted).min_by_key(|(at, _)| *at);
    first.map(|(_, window)| window)
}

/// Returns the window of a unit with its number before it. "5 小时后" is a delay, and "分" is a part of "分钟".
fn counted(before: &str, rest: &str, unit: u64) -> Option<Window> {
    if rest.starts_with(['后', '内', '钟']) || rest.starts_with("之后") {
        return None;
    }
    let before = before.trim_end().trim_end_matches('个').trim_end();
    let digits = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = before[digits..].parse().ok().or_else(|| {
        let last = before.chars().next_back()?;
        (1..)
            .zip(NUMBERS)
            .find(|(_, name)| *name == last)
            .map(|(number, _)| number)
    })?;
    Window::covering(Duration::from_nanos(unit.checked_mul(number)?))
}
