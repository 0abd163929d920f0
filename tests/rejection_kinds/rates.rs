//! Rates in the words of billing: DashScope and Bailian.

use std::time::SystemTime;

use http::HeaderMap;
use tower_429::rejection::Provider;

use super::{check, short};

const DASHSCOPE: &str = "dashscope.aliyuncs.com";
const PROXY: &str = "proxy.example";
const TOKENS: &str = "RateLimited Tokens Minute of AccountModel +time +key +model";
const REQUESTS: &str = "RateLimited Requests Minute of AccountModel +time +key +model";

#[test]
fn insufficient_quota_means_tokens_per_minute_at_dashscope() {
    check(&[
        (
            DASHSCOPE,
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            TOKENS,
        ),
        (
            "dashscope-intl.aliyuncs.com",
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            TOKENS,
        ),
        (
            DASHSCOPE,
            429,
            r#"{"error":{"message":"Allocated quota exceeded, please increase your quota limit.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            TOKENS,
        ),
        // Behind a proxy only the link tells.
        (
            PROXY,
            429,
            r#"{"error":{"message":"Error from provider (Alibaba): You exceeded your current quota, please check your plan and billing details. For details, see: https://www.alibabacloud.com/help/en/model-studio/error-code#token-limit","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            "RateLimited Tokens Minute +time +key +model",
        ),
        // Without it the sentence is OpenAI's.
        (
            PROXY,
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            "QuotaExhausted of Account +key",
        ),
    ]);
}

#[test]
fn throttling_codes_mean_rates_per_minute() {
    check(&[
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling.AllocationQuota","message":"Allocated quota exceeded, please increase your quota limit.","request_id":"A"}"#,
            TOKENS,
        ),
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded, please try again later.","request_id":"A"}"#,
            REQUESTS,
        ),
        (
            DASHSCOPE,
            429,
            r#"{"error":{"message":"You exceeded your current requests list.","type":"limit_requests","param":null,"code":"limit_requests"}}"#,
            REQUESTS,
        ),
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling.BurstRate","message":"Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests more smoothly over time."}"#,
            REQUESTS,
        ),
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling","message":"Requests throttling triggered."}"#,
            "RateLimited of AccountModel +time +key +model",
        ),
        // What the message names goes before what the code means otherwise.
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling.AllocationQuota","message":"week allocated quota exceeded."}"#,
            "RateLimited Week of Account +key",
        ),
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling.AllocationQuota","message":"hour allocated quota exceeded."}"#,
            "RateLimited FiveHours of Account +key",
        ),
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling.AllocationQuota","message":"concurrency allocated quota exceeded."}"#,
            "RateLimited Concurrency of AccountModel +time +key +model",
        ),
        (
            DASHSCOPE,
            429,
            r#"{"code":"Throttling.AllocationQuota","message":"Free allocated quota exceeded."}"#,
            "QuotaExhausted of AccountModel +key +model",
        ),
    ]);
}

#[test]
fn throttling_event_means_what_its_response_would() {
    // As it comes behind `id:1`, `event:error` and `:HTTP_STATUS/429`.
    let provider = Provider::guess(Some(DASHSCOPE), &HeaderMap::new());
    for (data, expected) in [
        (
            r#"{"code":"Throttling.AllocationQuota","message":"Allocated quota exceeded, please increase your quota limit.","request_id":"A"}"#,
            TOKENS,
        ),
        (
            r#"{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded, please try again later.","request_id":"A"}"#,
            REQUESTS,
        ),
        (
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            TOKENS,
        ),
    ] {
        let read = provider.event(Some("error"), data.as_bytes(), SystemTime::UNIX_EPOCH);
        assert_eq!(short(read.as_ref()), expected, "{data}");
    }
}

#[test]
fn owner_of_a_rate_is_read_from_its_sentence() {
    check(&[
        (
            "api.anthropic.com",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit. Please try again later."}}"#,
            "RateLimited of Account +time +key +model",
        ),
        (
            "api.anthropic.com",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization’s rate limit. Please try again later."}}"#,
            "RateLimited of Account +time +key +model",
        ),
        (
            "api.anthropic.com",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your workspace's rate limit. Please try again later."}}"#,
            "RateLimited of Project +time +key +model",
        ),
        (
            "gateway.example",
            429,
            r#"{"error":{"type":"rate_limit_error","message":"This request would exceed the rate limit for your account."}}"#,
            "RateLimited of Account +time +key +model",
        ),
        // With its number it is that of a model.
        (
            "api.anthropic.com",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 80,000 output tokens per minute."}}"#,
            "RateLimited OutputTokens Minute of AccountModel +time +key +model",
        ),
        (
            "api.moonshot.ai",
            429,
            r#"{"error":{"message":"Your account org-1<ak-1> request reached organization max RPM: 3, please try again after 1 seconds","type":"rate_limit_reached_error"}}"#,
            "RateLimited Requests Minute 1000ms of Account +time +key",
        ),
    ]);
}
