//! Windows of plans under the status, the code and the type of an ordinary rate limit.

use super::check;

#[test]
fn plan_window_is_read_from_sentence_and_code() {
    check(&[
        (
            "api.z.ai",
            429,
            r#"{"error":{"code":"1308","message":"Usage limit reached for 5 hour. Your limit will reset at 2026-09-09 05:38:28"}}"#,
            "RateLimited FiveHours of Account +key",
        ),
        (
            "open.bigmodel.cn",
            429,
            r#"{"error":{"code":"1308","message":"已达到 5 小时的使用上限。您的限额将在 2026-09-09 05:38:28 重置"}}"#,
            "RateLimited FiveHours of Account +key",
        ),
        (
            "open.bigmodel.cn",
            429,
            r#"{"error":{"code":"1310","message":"您已达到每周/每月使用上限，您的限额将在 2026-09-09 05:38:28 重置"}}"#,
            "RateLimited Week of Account +key",
        ),
        // The same through its copy of Anthropic's API, and through a proxy.
        (
            "api.z.ai",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","code":"1310","message":"[1310][Weekly/Monthly Limit Exhausted. Your limit will reset at 2026-07-14 07:49:08]"}}"#,
            "RateLimited Week of Account +key",
        ),
        (
            "proxy.example",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"[1310][Weekly/Monthly Limit Exhausted. Your limit will reset at 2026-07-14 07:49:08]"}}"#,
            "RateLimited Week of Account +key",
        ),
        (
            "ark.cn-beijing.volces.com",
            429,
            r#"{"error":{"code":"AccountQuotaExceeded","message":"You have exceeded the 5-hour usage quota. Request id: AAA","param":"","type":"TooManyRequests"}}"#,
            "RateLimited FiveHours of Account +key",
        ),
        (
            "ark.cn-beijing.volces.com",
            429,
            r#"{"error":{"code":"AccountQuotaExceeded","message":"You have exceeded the weekly usage quota. Request id: AAA","param":"","type":"TooManyRequests"}}"#,
            "RateLimited Week of Account +key",
        ),
        (
            "api.minimax.io",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"usage limit exceeded, 5-hour usage limit reached for Token Plan Starter (0/0 used), resets at 2026-05-31T13:04:00Z (2056)"}}"#,
            "RateLimited FiveHours 10800000ms of Account +key",
        ),
        // Within the hour, waiting helps.
        (
            "api.minimax.io",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"5-hour usage limit reached for Token Plan Starter, resets at 2026-05-31T10:24:00Z (2056)"}}"#,
            "RateLimited FiveHours 1200000ms of Account +time +key",
        ),
        (
            "ollama.com",
            429,
            r#"{"error":"you (someone) have reached your session usage limit, please wait or upgrade to continue"}"#,
            "RateLimited FiveHours of Account +key",
        ),
        (
            "ollama.com",
            429,
            r#"{"error":"you've reached your weekly usage limit, upgrade for higher limits: https://ollama.com/upgrade"}"#,
            "RateLimited Week of Account +key",
        ),
        (
            "ollama.com",
            429,
            r#"{"error":"you've reached your hourly usage limit, please wait or upgrade to continue"}"#,
            "RateLimited Hour +time +key +model",
        ),
        (
            "gateway.example",
            429,
            r#"{"error":{"message":"You've hit the 24-hour usage limit.","type":"rate_limit_error"}}"#,
            "RateLimited Day of Account +key",
        ),
        (
            "gateway.example",
            429,
            r#"{"error":{"message":"No.","type":"rate_limit_error","code":"weekly_limit_reached"}}"#,
            "RateLimited Week of Account +key",
        ),
        (
            "gateway.example",
            429,
            r#"{"error":{"message":"You've reached your monthly usage limit for this billing cycle."}}"#,
            "QuotaExhausted Month of Account +key",
        ),
    ]);
}

#[test]
fn plan_window_is_read_from_its_delay_where_nothing_names_it() {
    check(&[
        (
            "chatgpt.com",
            429,
            r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"free"}}"#,
            "RateLimited FiveHours of Account +key",
        ),
        (
            "chatgpt.com",
            429,
            r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","retry_after_seconds":602705}}"#,
            "RateLimited Week 602705000ms of Account +key",
        ),
        (
            "chatgpt.com",
            429,
            r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","retry_after_seconds":1200}}"#,
            "RateLimited FiveHours 1200000ms of Account +time +key",
        ),
    ]);
}
