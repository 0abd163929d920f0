//! The headers of a response that report the limits.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    limits::Reading,
    meters::{Judged, Unit},
    plan::{HeaderStyle, Headers, Plan},
};

pub(super) fn add(headers: &mut HeaderMap, plan: &Plan, at: Duration, judged: &Judged) {
    for (unit, reading) in &judged.readings {
        match plan.style {
            HeaderStyle::OpenAi => openai(headers, plan.headers, *unit, *reading),
            HeaderStyle::Anthropic => anthropic(headers, at, *unit, *reading),
        }
    }
    if plan.style == HeaderStyle::Anthropic {
        let date = format!("Thu, 01 Jan 2026 {} GMT", clock(at.as_secs()));
        insert(headers, "date", &date);
    }
}

fn openai(map: &mut HeaderMap, headers: Headers, unit: Unit, reading: Reading) {
    let (remaining, reset) = match headers {
        Headers::TooMuchLeft => (reading.limit, reading.reset),
        Headers::NothingLeft => (0, reading.reset),
        Headers::NothingForAMoment => (0, Duration::from_millis(300)),
        Headers::TooLittleLeft => (reading.remaining.saturating_sub(20), reading.reset),
        Headers::PastReset => (reading.remaining, Duration::ZERO),
        _ => (reading.remaining, reading.reset),
    };
    let unit = name(unit);
    let limit = reading.limit.to_string();
    insert(map, &format!("x-ratelimit-limit-{unit}"), &limit);
    let remaining = remaining.to_string();
    insert(map, &format!("x-ratelimit-remaining-{unit}"), &remaining);
    let reset = format!("{}ms", reset.as_nanos().div_ceil(1_000_000));
    insert(map, &format!("x-ratelimit-reset-{unit}"), &reset);
}

/// Resets are dates in whole seconds.
fn anthropic(map: &mut HeaderMap, at: Duration, unit: Unit, reading: Reading) {
    let unit = name(unit);
    let prefix = format!("anthropic-ratelimit-{unit}");
    insert(map, &format!("{prefix}-limit"), &reading.limit.to_string());
    let remaining = reading.remaining.to_string();
    insert(map, &format!("{prefix}-remaining"), &remaining);
    let reset = clock((at + reading.reset).as_secs_f64().ceil() as u64);
    insert(
        map,
        &format!("{prefix}-reset"),
        &format!("2026-01-01T{reset}Z"),
    );
}

/// Formats seconds as the time of the day. Every run starts at midnight, and takes less than a day.
fn clock(seconds: u64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("{:02}:{:02}:{seconds:02}", minutes / 60, minutes % 60)
}

fn name(unit: Unit) -> &'static str {
    match unit {
        Unit::Requests => "requests",
        Unit::Tokens => "tokens",
        Unit::InputTokens => "input-tokens",
        Unit::OutputTokens => "output-tokens",
    }
}

fn insert(map: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        map.insert(name, value);
    }
}
