//! The limits of plans in messages and codes: "5-hour usage limit reached", "weekly usage quota",
//! "已达到 5 小时的使用上限", `weekly_limit_reached`.
//!
//! A plan counts over hours or days. No call can wait for that, but providers report it with the status and
//! the code of an ordinary rate limit.

use super::super::{
    parse::{chinese, limit_name},
    signal::{PLAN, SHORTEST, Signal},
    types::Window,
};

/// Words that say that a limit is used up. Without them, "your plan has a weekly limit" is advice.
#[rustfmt::skip]
const REACHED: &[&str] = &["reached", "exceeded", "exceed", "hit", "exhausted", "depleted", "used", "over"];
#[rustfmt::skip]
const REACHED_IN_CHINESE: &[&str] = &["达到", "已达", "超出", "超过", "用完", "用尽", "耗尽", "超限"];

#[rustfmt::skip]
const LIMITS: &[&str] = &["limit", "limits", "quota", "quotas", "cap", "allowance", "allotment"];
const LIMITS_IN_CHINESE: &[&str] = &["上限", "限额", "额度", "配额", "用量已"];

/// Words between a window and its limit: "weekly (7-day) usage limit".
#[rustfmt::skip]
const BETWEEN: &[&str] = &[
    "usage", "allocated", "plan", "message", "rolling", "window", "session", "per", "and", "or", "weekly",
    "monthly", "hour", "day",
];
const MAX_BETWEEN: usize = 4;

/// As [`BETWEEN`], for a window other than a day. A "daily rate limit" is an ordinary rate. A "session rate
/// limit" (Copilot) or a "5-hour token limit" belongs to a plan.
const BETWEEN_UNLESS_DAILY: &[&str] = &["rate", "token", "tokens", "request", "requests"];

/// Words before a delay and not before a window: "try again in 5 hours".
#[rustfmt::skip]
const BEFORE_A_DELAY: &[&str] = &["in", "after", "wait", "about", "another", "around", "again", "least"];

/// Words before the window of a limit that was named already: "usage limit reached for 5 hour".
#[rustfmt::skip]
const BEFORE_A_WINDOW: &[&str] = &[
    "for", "per", "every", "each", "this", "current", "rolling", "last", "within",
];

/// Words that name a window only next to another word.
const BARE: &[&str] = &["hour", "day", "week", "month", "session"];

/// Returns the limit of a plan that a message in lower case reports as used up.
pub(super) fn limit(message: &str) -> Option<Signal> {
    if message.is_empty() {
        return None;
    }
    let normal = limit_name::normal(message);
    let words: Vec<_> = normal.split_ascii_whitespace().collect();
    let mut pairs = words.windows(2);
    let is_reached = words.iter().any(|word| REACHED.contains(word))
        || pairs.any(|pair| matches!(pair, ["run" | "ran", "out"] | ["out", "of"]))
        || REACHED_IN_CHINESE.iter().any(|word| message.contains(word));
    if !is_reached {
        return None;
    }
    let mut pairs = words.windows(2);
    let is_of_usage = pairs.any(|pair| pair[0] == "usage" && LIMITS.contains(&pair[1]));
    let in_chinese = || is_limit_in_chinese(message).then(|| chinese::window(message))?;
    match window(&words, is_of_usage).or_else(in_chinese) {
        Some(window) => (window >= SHORTEST).then(|| PLAN.per(window)),
        None => is_of_usage.then(|| PLAN.per(SHORTEST)),
    }
}

/// As [`limit`], for a code in normal form, which has to name its window.
pub(super) fn limit_of_code(code: &str) -> Option<Signal> {
    if !LIMITS.iter().any(|limit| code.contains(limit)) {
        return None;
    }
    // Copilot: `user_weekly_rate_limited`.
    let code = code.replace("_limited", "_limit_reached");
    let words: Vec<_> = code.split('_').collect();
    if !words.iter().any(|word| REACHED.contains(word)) {
        return None;
    }
    let window = window(&words, false).filter(|window| *window >= SHORTEST)?;
    Some(PLAN.per(window))
}

/// Returns the window next to a limit. Without such a window, returns the one that a limit "for this week" names, or
/// else the first window beside a limit of usage.
fn window(words: &[&str], is_of_usage: bool) -> Option<Window> {
    let next_to_limit = (0..words.len()).find_map(|at| {
        let (window, after) = window_at(words, at)?;
        // "Tokens per day limit exceeded" is a rate.
        let is_per = matches!(words.get(..at), Some([.., "per"]));
        let is_rate = is_per && limit_name::length_at(words, at).is_none();
        (!is_rate && is_before_limit(words, after, window)).then_some(window)
    });
    let anywhere = || {
        (0..words.len()).find_map(|at| {
            let (window, after) = window_at(words, at)?;
            let is_bare = BARE.contains(words.get(at)?);
            let length = limit_name::length_at(words, at);
            let is_length = length.is_some_and(|(_, end)| end == after);
            let before = at.checked_sub(1).and_then(|before| words.get(before));
            let follows = before.is_some_and(|before| BEFORE_A_WINDOW.contains(before));
            let is_named = match is_of_usage {
                true => follows || !(is_bare || is_length),
                // "10 requests per day" is a rate, and "for 5 hours" may be a delay.
                false => follows && !is_length && before != Some(&"per"),
            };
            is_named.then_some(window)
        })
    };
    let has_limit = || words.iter().any(|word| LIMITS.contains(word));
    next_to_limit.or_else(|| has_limit().then(anywhere)?)
}

/// Returns the window that begins at a word, and the place behind it.
fn window_at(words: &[&str], at: usize) -> Option<(Window, usize)> {
    let before = words.get(..at)?;
    let is_delay = before.last().is_some_and(|it| BEFORE_A_DELAY.contains(it));
    if is_delay || before.ends_with(&["wait", "for"]) {
        return None;
    }
    if let Some((length, after)) = limit_name::length_at(words, at) {
        return Some((Window::covering(length)?, after));
    }
    let next = words.get(at + 1).copied().unwrap_or_default();
    let window = match *words.get(at)? {
        "billing" if matches!(next, "cycle" | "period") => return Some((Window::Month, at + 2)),
        // A session of Ollama, Claude and Kimi lasts five hours.
        "session" => Window::FiveHours,
        // "hour allocated quota" and `coding_plan_hour_quota` mean the five hours of a coding plan.
        "hour" if next == "allocated" || words.contains(&"plan") => Window::FiveHours,
        word => limit_name::unit_or_adjective(word)?,
    };
    Some((window, at + 1))
}

/// Whether a limit follows.
fn is_before_limit(words: &[&str], after: usize, window: Window) -> bool {
    let is_between = |word: &str| {
        BETWEEN.contains(&word)
            || (window != Window::Day && BETWEEN_UNLESS_DAILY.contains(&word))
            || word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut following = words.iter().skip(after).take(MAX_BETWEEN + 1);
    let limit = following.find(|word| !is_between(word));
    limit.is_some_and(|word| LIMITS.contains(word) || is_limit_in_chinese(word))
}

fn is_limit_in_chinese(text: &str) -> bool {
    LIMITS_IN_CHINESE.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(message: &str) -> Option<Window> {
        limit(&message.to_lowercase()).and_then(|limit| limit.window)
    }

    #[test]
    fn limit_of_a_plan_is_read_in_every_wording() {
        use Window::*;
        let table = [
            (
                "Usage limit reached for 5 hour. Your limit will reset at 2026-09-09 05:38:28",
                FiveHours,
            ),
            ("[1308][Usage limit reached for 5 hours]", FiveHours),
            (
                "已达到 5 小时的使用上限。您的限额将在 2026-09-09 05:38:28 重置",
                FiveHours,
            ),
            ("已达到5小时的使用上限", FiveHours),
            ("已达到 5 hour 的使用上限。", FiveHours),
            ("您的五小时额度已用完", FiveHours),
            (
                "您已达到每周/每月使用上限，您的限额将在 2026-09-09 05:38:28 重置",
                Week,
            ),
            ("您已达到 7 天的使用上限", Week),
            ("已达到 24 小时使用上限", Day),
            ("本月额度已用尽", Month),
            ("您已达到本周期用量上限", Month),
            (
                "Weekly/Monthly Limit Exhausted. Your limit will reset at 2026-07-14 07:49:08",
                Week,
            ),
            (
                "You have exceeded the 5-hour usage quota. It will reset at 2026-08-03",
                FiveHours,
            ),
            ("You have exceeded the weekly usage quota.", Week),
            ("You have exceeded the monthly usage quota.", Month),
            (
                "usage limit exceeded, 5-hour usage limit reached for Token Plan Starter (0/0 used)",
                FiveHours,
            ),
            ("5h usage limit reached", FiveHours),
            ("Five-hour limit reached", FiveHours),
            ("You've hit the 24-hour usage limit", Day),
            ("24h limit exceeded", Day),
            ("7d quota exhausted", Week),
            ("seven-day usage limit reached", Week),
            ("30-day usage limit reached", Month),
            (
                "You've reached your weekly (7-day) usage limit. Your quota will reset when the current 7-day window ends.",
                Week,
            ),
            (
                "You've reached your usage limit for this billing cycle.",
                Month,
            ),
            ("You've reached your usage limit for this week.", Week),
            (
                "Your plan's allowance for this billing cycle is exhausted",
                Month,
            ),
            ("Quota exceeded for this month", Month),
            ("Token Plan 5小时用量已达上限", FiveHours),
            (
                "You've reached your usage limit of 100 requests per week.",
                Week,
            ),
            (
                "You've reached your monthly usage limit for this billing cycle",
                Month,
            ),
            (
                "you (someone) have reached your session usage limit, please wait or upgrade to continue",
                FiveHours,
            ),
            (
                "you've reached your weekly usage limit, please wait or upgrade",
                Week,
            ),
            ("You've hit your session limit", FiveHours),
            ("You've hit your session rate limit. Please wait", FiveHours),
            ("You've reached your weekly rate limit.", Week),
            ("Rate limit: 5-hour token limit exceeded", FiveHours),
            ("You have run out of your weekly quota", Week),
            ("套餐5小时用量已用完", FiveHours),
            ("hour allocated quota exceeded.", FiveHours),
            ("week allocated quota exceeded.", Week),
            ("month allocated quota exceeded.", Month),
            ("The usage limit has been reached", FiveHours),
            (
                "You have used 100% of your 5 hour rolling window limit",
                FiveHours,
            ),
            ("usage limit exceeded", FiveHours),
            ("You've reached your usage limit", FiveHours),
        ];
        for (message, window) in table {
            assert_eq!(named(message), Some(window), "{message}");
        }
    }

    #[test]
    fn limit_of_a_plan_is_not_read_from_delays_or_rates() {
        for message in [
            "Rate limit reached. Please try again in 5 hours.",
            "Rate limit exceeded, wait for 7 days",
            "You've reached your hourly usage limit",
            "Limit of 50 requests per minute exceeded",
            "You have exceeded your daily rate limit",
            "Rate limit exceeded. Your account is blocked for 24 hours",
            "Open api daily request limit reached",
            "Tokens per day limit exceeded - too many tokens processed.",
            "Rate limit reached on requests per day. Limit: 10000 / day.",
            "您的账户已达到速率限制，请您控制请求频率",
            "Your plan has a weekly limit of 100 requests.",
            "Your weekly usage is fine",
            "Too many requests. Check out your weekly limit at example.com",
            "请求超过速率限制，请查看每日用量",
            "Request too large: the session has used 5 hours of audio",
            "",
        ] {
            assert_eq!(named(message), None, "{message}");
        }
        // The delay after it is not one of its windows.
        let message = "Usage limit reached. Try again in 3 days.";
        assert_eq!(named(message), Some(SHORTEST));
    }

    #[test]
    fn limit_of_a_plan_in_a_code_needs_its_window() {
        let window = |code| limit_of_code(code).and_then(|limit| limit.window);
        for (code, expected) in [
            ("weekly_limit_reached", Some(Window::Week)),
            ("user_weekly_rate_limited", Some(Window::Week)),
            ("user_global_rate_limited", None),
            ("five_hour_quota_exceeded", Some(Window::FiveHours)),
            ("5h_limit_exceeded", Some(Window::FiveHours)),
            ("session_usage_limit_exceeded", Some(Window::FiveHours)),
            ("coding_plan_hour_quota_exceeded", Some(Window::FiveHours)),
            ("coding_plan_week_quota_exceeded", Some(Window::Week)),
            ("rate_limit_exceeded", None),
            ("hourly_limit_exceeded", None),
            ("weekly_limit", None),
        ] {
            assert_eq!(window(code), expected, "{code}");
        }
    }
}
