//! Which of several buckets rejected the request.

use std::time::Duration;

use http::HeaderMap;
use tower_429::rejection::{Provider, Reason, Rejection, Scope, Window, buckets};

use super::{hint, lines, now, read};

const UNIFIED: &str = "anthropic-ratelimit-unified";

/// Returns the headers of an Anthropic subscription. Every response has all of them.
fn unified(overall: &str, claim: &str, windows: &[(&str, &str, u64)]) -> String {
    let mut headers = format!("{UNIFIED}-status: {overall}\n");
    if !claim.is_empty() {
        headers += &format!("{UNIFIED}-representative-claim: {claim}\n");
    }
    for (window, status, seconds) in windows {
        let reset = 1_770_681_600 + seconds;
        headers += &format!("{UNIFIED}-{window}-status: {status}\n");
        headers += &format!("{UNIFIED}-{window}-reset: {reset}\n");
    }
    headers
}

fn limited(headers: &str) -> Rejection {
    let body = br#"{"type":"error","error":{"type":"rate_limit_error","message":"Error"}}"#;
    let rejection = read(429, headers, body).unwrap();
    assert_eq!(rejection.reason, Reason::RateLimited, "{headers}");
    rejection
}

const FIVE_DAYS: u64 = 5 * 86_400;

#[test]
fn rejected_window_gives_the_hint_whatever_other_windows_report() {
    for other in ["allowed", "allowed_warning", "Allowed", "something_new"] {
        let headers = unified(
            "rejected",
            "five_hour",
            &[("5h", "rejected", 1_200), ("7d", other, FIVE_DAYS)],
        );
        let rejection = limited(&headers);
        assert_eq!(rejection.retry_after, Some(Duration::from_secs(1_200)));
        assert_eq!(rejection.window, Some(Window::FiveHours));
        assert_eq!(rejection.scope, Some(Scope::Account));
        assert!(rejection.time_helps());
    }
}

#[test]
fn longest_of_two_rejected_windows_gives_the_hint() {
    let windows = [("5h", "rejected", 1_200), ("7d", "rejected", FIVE_DAYS)];
    for claim in ["seven_day", "five_hour", ""] {
        let rejection = limited(&unified("rejected", claim, &windows));
        assert_eq!(rejection.retry_after, Some(Duration::from_secs(FIVE_DAYS)));
        assert_eq!(rejection.window, Some(Window::Week));
        assert!(!rejection.time_helps());
    }
}

#[test]
fn windows_that_are_all_allowed_leave_a_plain_rate_limit() {
    for status in ["allowed", "allowed_warning"] {
        let windows = [("5h", status, 1_200), ("7d", status, FIVE_DAYS)];
        let headers = unified(status, "five_hour", &windows);
        assert_eq!(limited(&headers).retry_after, None);
        let rejection = limited(&format!("{headers}retry-after: 3\n"));
        assert_eq!(rejection.retry_after, Some(Duration::from_secs(3)));
        assert_eq!(rejection.window, None);
        assert!(rejection.time_helps());
    }
}

#[test]
fn representative_claim_names_the_window_and_its_reset() {
    let headers = format!(
        "{UNIFIED}-status: rejected\n{UNIFIED}-representative-claim: five_hour\n\
         {UNIFIED}-reset: 1770682800\n{UNIFIED}-5h-reset: 1770682800\n{UNIFIED}-7d-reset: 1771113600\n"
    );
    let rejection = limited(&headers);
    assert_eq!(rejection.window, Some(Window::FiveHours));
    assert_eq!(rejection.retry_after, Some(Duration::from_secs(1_200)));
    let headers = format!(
        "{UNIFIED}-status: rejected\n{UNIFIED}-representative-claim: seven_day_opus\n\
         {UNIFIED}-reset: 1771113600\n{UNIFIED}-7d-status: allowed\n{UNIFIED}-7d-reset: 1770690000\n"
    );
    let rejection = limited(&headers);
    assert_eq!(rejection.window, Some(Window::Week));
    assert_eq!(rejection.scope, Some(Scope::AccountModel));
    assert_eq!(rejection.retry_after, Some(Duration::from_secs(432_000)));
}

#[test]
fn plan_that_is_called_a_quota_has_the_reset_of_its_exhausted_window() {
    let headers = unified(
        "rejected",
        "five_hour",
        &[("5h", "rejected", 1_200), ("7d", "allowed", FIVE_DAYS)],
    );
    let body = br#"{"error":{"type":"insufficient_quota"}}"#;
    let rejection = read(429, &headers, body).unwrap();
    assert_eq!(rejection.reason, Reason::QuotaExhausted);
    assert_eq!(rejection.window, Some(Window::FiveHours));
    assert_eq!(rejection.retry_after, Some(Duration::from_secs(1_200)));
}

#[test]
fn exhausted_codex_window_gives_the_hint() {
    let codex = |primary: &str, secondary: &str| {
        let headers = format!(
            "x-codex-primary-used-percent: {primary}\nx-codex-primary-window-minutes: 300\n\
             x-codex-primary-reset-after-seconds: 1200\nx-codex-secondary-used-percent: {secondary}\n\
             x-codex-secondary-window-minutes: 10080\nx-codex-secondary-reset-after-seconds: 432000\n"
        );
        let rejection = limited(&headers);
        (
            rejection.retry_after.map(|wait| wait.as_secs()),
            rejection.window,
        )
    };
    assert_eq!(codex("100", "51"), (Some(1_200), Some(Window::FiveHours)));
    assert_eq!(codex("100.0", "51"), (Some(1_200), Some(Window::FiveHours)));
    assert_eq!(codex("34", "100"), (Some(432_000), Some(Window::Week)));
    assert_eq!(codex("100", "100"), (Some(432_000), Some(Window::Week)));
    assert_eq!(codex("34", "51"), (None, None));
    assert_eq!(codex("NaN", "-1"), (None, None));
    let alone = "x-codex-primary-reset-after-seconds: 1200\n";
    assert_eq!(limited(alone).retry_after, Some(Duration::from_secs(1_200)));
    let dated = "x-codex-primary-used-percent: 100\nx-codex-primary-reset-at: 1770682800\n";
    assert_eq!(limited(dated).retry_after, Some(Duration::from_secs(1_200)));
}

#[test]
fn negative_or_unreadable_remaining_is_unknown() {
    for remaining in [
        "-1",
        "NaN",
        "many",
        "",
        "1e9",
        "99999999999999999999",
        "0.5",
    ] {
        for headers in [
            format!(
                "x-ratelimit-remaining-requests: {remaining}\nx-ratelimit-reset-requests: 86400"
            ),
            format!("x-ratelimit-remaining: {remaining}\nx-ratelimit-reset: 86400"),
            format!("ratelimit-remaining: {remaining}\nratelimit-reset: 86400"),
            format!(
                "anthropic-ratelimit-tokens-remaining: {remaining}\nanthropic-ratelimit-tokens-reset: 2026-02-11T00:00:00Z"
            ),
        ] {
            assert_eq!(limited(&headers).retry_after, None, "{headers}");
            let map: HeaderMap = lines(&headers)
                .map(|(name, value)| (name, value.parse().unwrap()))
                .collect();
            for bucket in buckets(&map, Provider::Generic, now()) {
                assert_eq!(bucket.remaining, None, "{headers}");
            }
        }
    }
    let zero = "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 86400";
    assert_eq!(limited(zero).retry_after, Some(Duration::from_secs(86_400)));
}

#[test]
fn reset_of_a_limit_of_zero_is_no_hint() {
    for headers in [
        "x-ratelimit-limit-requests: 0\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 86400",
        "x-ratelimit-limit: 0\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 86400",
        "x-ratelimit-limit: 0\nx-ratelimit-reset: 86400",
        "ratelimit: \"a\";r=0;t=86400\nratelimit-policy: \"a\";q=0;w=86400",
    ] {
        let rejection = limited(headers);
        assert_eq!(
            (rejection.retry_after, rejection.window),
            (None, None),
            "{headers}"
        );
        let map: HeaderMap = lines(headers)
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect();
        for bucket in buckets(&map, Provider::Generic, now()) {
            assert_eq!(bucket.remaining, None, "{headers}");
        }
    }
    let mistral = "x-ratelimit-limit-req-minute: 0\nx-ratelimit-remaining-req-minute: 0";
    let rejection = read(429, mistral, b"").unwrap();
    assert_eq!(
        rejection.reason,
        Reason::QuotaExhausted,
        "the plan does not include it"
    );
}

#[test]
fn exhausted_bucket_takes_precedence_over_others() {
    let table = [
        (
            "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 20s\nx-ratelimit-reset-tokens: 6m0s",
            Some(20_000),
        ),
        (
            "x-ratelimit-remaining-requests: 12\nx-ratelimit-reset-requests: 6m0s\nx-ratelimit-reset-tokens: 20s",
            Some(20_000),
        ),
        (
            "x-ratelimit-remaining-requests: 12\nx-ratelimit-reset-requests: 6m0s\nx-ratelimit-remaining-tokens: 7\nx-ratelimit-reset-tokens: 20s",
            None,
        ),
    ];
    for (headers, expected) in table {
        assert_eq!(hint(read(429, headers, b"")), expected, "{headers}");
    }
}

#[test]
fn buckets_report_only_rejected_windows_as_empty() {
    let headers = unified(
        "rejected",
        "five_hour",
        &[
            ("5h", "rejected", 1_200),
            ("7d", "allowed_warning", FIVE_DAYS),
        ],
    );
    let map: HeaderMap = lines(&headers)
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect();
    let buckets = buckets(&map, Provider::Anthropic, now());
    let read: Vec<_> = buckets
        .iter()
        .map(|bucket| (bucket.window, bucket.remaining, bucket.scope))
        .collect();
    let account = Some(Scope::Account);
    assert_eq!(
        read,
        [
            (Some(Window::FiveHours), Some(0), account),
            (Some(Window::Week), None, account),
        ]
    );
}

#[test]
fn unreadable_cost_counts_as_missing() {
    let cost = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        let left = http::HeaderValue::from_static("9");
        headers.insert("x-ratelimit-remaining-tokens-minute", left);
        for value in values {
            let value = http::HeaderValue::from_bytes(value).unwrap();
            headers.append("x-ratelimit-tokens-query-cost", value);
        }
        let buckets = buckets(&headers, Provider::Mistral, std::time::SystemTime::now());
        buckets[0].cost
    };
    assert_eq!(cost(&[b" 52 "]), Some(52));
    assert_eq!(cost(&[b"52", b"many", b"60"]), Some(60));
    for value in [
        &b""[..],
        b"-1",
        b"+1",
        b"1.5",
        b"1e3",
        b"\xff",
        b"18446744073709551616",
    ] {
        assert_eq!(cost(&[value]), None, "{value:?}");
    }
    assert_eq!(cost(&[]), None);
}
