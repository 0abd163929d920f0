//! Quotas under other statuses than 402, and what belongs to one model only.

use tower_429::rejection::{Reason, Rejection};

use super::{check, read};

const KIMI: &str = "api.kimi.com";

#[test]
fn quota_is_read_under_403_400_and_429() {
    check(&[
        (
            KIMI,
            403,
            r#"{"error":{"message":"You've reached your weekly (7-day) usage limit. Your quota will reset when the current 7-day window ends. To continue now, purchase extra usage or upgrade your plan: https://www.kimi.com/membership/subscription?tab=quota","type":"access_terminated_error"}}"#,
            "QuotaExhausted Week of Account +key",
        ),
        (
            KIMI,
            403,
            r#"{"error":{"message":"You've reached your usage limit for this billing cycle. Your quota will be refreshed in the next cycle. To continue now, purchase extra usage or upgrade your plan.","type":"access_terminated_error"}}"#,
            "QuotaExhausted Month of Account +key",
        ),
        // The same through its copy of Anthropic's API, whose type is one of keys.
        (
            KIMI,
            403,
            r#"{"error":{"type":"permission_error","message":"You've reached your usage limit for this billing cycle. Your quota will be refreshed in the next cycle."},"type":"error"}"#,
            "QuotaExhausted Month of Account +key",
        ),
        (
            "ark.cn-beijing.volces.com",
            403,
            r#"{"error":{"code":"AccountOverdueError","message":"The request failed because your account has an overdue balance. Request id: AAA","param":"","type":"Forbidden"}}"#,
            "QuotaExhausted of Account +key",
        ),
        (
            "ark.cn-beijing.volces.com",
            429,
            r#"{"error":{"code":"SetLimitExceeded","message":"Your account 1 has reached the set inference limit for the doubao model, and the model service has been paused.","type":"TooManyRequests"}}"#,
            "QuotaExhausted of AccountModel +key +model",
        ),
        // A key's own cap by the week stays the key's.
        (
            "openrouter.ai",
            403,
            r#"{"error":{"message":"Key limit exceeded (weekly limit). Manage it using https://openrouter.ai/settings/keys","code":403}}"#,
            "QuotaExhausted Week of Key +key",
        ),
        (
            "dashscope.aliyuncs.com",
            400,
            r#"{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing.","request_id":"AAA"}"#,
            "QuotaExhausted of Account +key",
        ),
        (
            "proxy.example",
            400,
            r#"{"error":{"message":"Access denied, please make sure your account is in good standing.","type":"invalid_request_error"}}"#,
            "QuotaExhausted of Account +key",
        ),
        (
            "dashscope.aliyuncs.com",
            403,
            r#"{"error":{"message":"The free tier of the model has been exhausted. If you wish to continue access the model on a paid basis, please disable the \"use free tier only\" mode in the management console.","type":"AllocationQuota.FreeTierOnly","code":"AllocationQuota.FreeTierOnly"}}"#,
            "QuotaExhausted of AccountModel +key +model",
        ),
        (
            "api.anthropic.com",
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Extra usage is required for long context requests."}}"#,
            "TooLarge +model",
        ),
        (
            "openrouter.ai",
            402,
            r#"{"error":{"message":"Prompt tokens limit exceeded: 69120 > 36608. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account","code":402}}"#,
            "QuotaExhausted of Account +key +model",
        ),
    ]);
}

#[test]
fn budget_of_a_model_or_deployment_is_that_models() {
    check(&[
        (
            "litellm.example",
            429,
            r#"{"error":{"message":"LiteLLM User: engineer-1, exceeded budget for model=claude-opus-4-8","type":"budget_exceeded","param":null,"code":"429"}}"#,
            "QuotaExhausted of AccountModel +key +model",
        ),
        (
            "litellm.example",
            400,
            r#"{"error":{"message":"LiteLLM Virtual Key: 88dc, exceeded budget for model=gpt-4o","type":"budget_exceeded","param":null,"code":"400"}}"#,
            "QuotaExhausted of AccountModel +key +model",
        ),
        (
            "litellm.example",
            429,
            r#"{"error":{"message":"No deployments available - crossed budget: Exceeded budget for deployment model_name: gpt-4o, litellm_params.model: openai/gpt-4o, model_id: 1: 0.36 >= 0.1","type":"None","code":"429"}}"#,
            "QuotaExhausted of Model +model",
        ),
        // A key's own budget is no model's.
        (
            "litellm.example",
            429,
            r#"{"error":{"message":"Budget has been exceeded! Current cost: 10.5, Max budget: 10.0","type":"budget_exceeded","code":"429"}}"#,
            "QuotaExhausted of Key +key",
        ),
        (
            "litellm.example",
            400,
            r#"{"error":{"message":"ExceededBudget: End User=someone over budget. Spend=0.0008, Budget=0.0001","type":"budget_exceeded","code":400}}"#,
            "QuotaExhausted +key",
        ),
    ]);
}

/// What would cool a key if a provider said it of an account.
const SENTENCES: &[&str] = &[
    "5-hour usage limit reached",
    "you've reached your weekly usage limit",
    "weekly/monthly limit exhausted",
    "已达到 5 小时的使用上限",
    "余额不足",
    "your account has an overdue balance",
    "exceeded budget for model=x",
    "extra usage is required for long context requests",
    "prompt tokens limit exceeded: 2 > 1",
    "your account's rate limit",
];

#[test]
fn model_named_like_a_quota_is_not_taken_for_one() {
    for (status, sentence) in [
        (
            404,
            "The model `{}` does not exist or you do not have access to it.",
        ),
        (400, "{} is not a valid model ID"),
        (400, "Invalid value: '{}'. Supported values are: 'auto'."),
        (403, "Project `proj_1` does not have access to model `{}`"),
        (422, "Input should be 'a' or 'b', input: \"{}\""),
    ] {
        let read_with = |name: &str| {
            let body = serde_json::json!({ "error": {
                "message": sentence.replace("{}", name),
                "type": "invalid_request_error",
                "code": "model_not_found",
            }});
            read("proxy.example", status, &body.to_string())
        };
        let plain = read_with("gpt-4o");
        let is_quota = |it: &Rejection| it.reason == Reason::QuotaExhausted;
        assert!(!plain.as_ref().is_some_and(is_quota), "{status} {sentence}");
        for name in SENTENCES {
            assert_eq!(read_with(name), plain, "{status} {sentence} {name}");
        }
    }
}

#[test]
fn refused_client_under_403_is_no_quota() {
    let body = r#"{"error":{"message":"Kimi For Coding is currently only available for Coding Agents such as Kimi CLI, Claude Code, Roo Code, Kilo Code, etc.","type":"access_terminated_error"}}"#;
    assert_eq!(read(KIMI, 403, body), None);
}
