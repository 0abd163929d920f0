//! What the codes, types and names of errors mean at every provider.

use super::super::{
    signal::{BUSY, KEY, LARGE, LIMIT, NOTHING, PLAN, QUOTA, SHORTEST, Signal},
    types::{Dimension, Scope, Window},
};

/// Returns what a code in normal form means.
pub(crate) fn signal(code: &str) -> Option<Signal> {
    let (signal, _) = CODES.iter().find(|(_, codes)| codes.contains(&code))?;
    Some(*signal)
}

pub(super) const FREE_TIER: Signal = LIMIT
    .counts(Dimension::Requests)
    .of(Scope::Account)
    .key_helps(false);

/// Codes in normal form, each once. A comment names the providers if the code does not.
#[rustfmt::skip]
static CODES: &[(Signal, &[&str])] = &[
    // --- Billing.
    (QUOTA.of(Scope::Account), &[
        // OpenAI; Codex, if the plan does not contain it
        "insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded", "billing_hard_limit_reached", "billing_not_active",
        "usage_not_included",
        // Anthropic
        "billing_error", "enforced_spend_limit_reached",
        // Moonshot; PPIO and Novita; several
        "exceeded_current_quota_error", "not_enough_balance", "payment_required", "insufficient_balance",
        "insufficient_credits", "insufficient_balance_error",
        // DashScope
        "arrearage", "prepaidbilloverdue", "postpaidbilloverdue", "commoditynotpurchased",
        // Groq: the spend limit that an organisation has set for itself
        "blocked_api_access",
        // Volcengine Ark
        "accountoverdueerror", "operationdenied_serviceoverdue",
    ]),
    (QUOTA.of(Scope::Project), &["project_spend_limit_exceeded", "project_usage_limit_exceeded"]),
    // One model: DashScope's free tiers, and the limit that a user of Volcengine Ark has set.
    (QUOTA.of(Scope::AccountModel), &["allocationquota_freetieronly", "setlimitexceeded"]),
    // Code Assist, whose users have no keys to change, by its domain and its reasons.
    (NOTHING.key_helps(false), &["cloudcode_pa_googleapis_com"]),
    (QUOTA.of(Scope::AccountModel).key_helps(false), &["quota_exhausted"]),
    (QUOTA.of(Scope::Account).key_helps(false).model_helps(true), &["insufficient_g1_credits_balance"]),
    // Bedrock; more often than not a quota of one model.
    (QUOTA.of(Scope::Account).model_helps(true), &["servicequotaexceededexception"]),
    // OpenRouter: the amount that requests in flight have reserved is released when they end.
    (QUOTA.of(Scope::Account).time_helps().model_helps(true), &[
        "openrouter_in_flight_budget", "in_flight_budget",
    ]),
    // LiteLLM; the message names the owner of the budget.
    (QUOTA, &["budget_exceeded"]),
    // Plans, whose window is in the message, or only in the delay: Codex, MiniMax, Volcengine Ark.
    (PLAN.per(SHORTEST), &["usage_limit_reached", "usage_limit_exceeded", "accountquotaexceeded"]),

    // --- Keys.
    (KEY.of(Scope::Key), &[
        // OpenAI, Groq, Together; Anthropic, DeepSeek; Cerebras; LiteLLM
        "invalid_api_key", "authentication_error", "wrong_api_key", "auth_error", "token_not_found_in_db",
        "expired_key",
        // Gemini, xAI, Fireworks
        "api_key_invalid", "api_key_expired", "unauthenticated", "unauthorized", "permission_denied",
        // Bedrock
        "unrecognizedclientexception", "invalidclienttokenid", "invalidsignatureexception",
        "expiredtokenexception",
    ]),
    (KEY.of(Scope::Account), &["account_deactivated", "organization_restricted"]),
    // A key that may not use one model may use another: Anthropic, Bedrock, Groq.
    (KEY.of(Scope::Key).model_helps(true), &[
        "permission_error", "forbidden", "accessdeniedexception", "permissions_error",
    ]),
    // A valid key that may not use this model: Groq, LiteLLM, DashScope.
    (KEY.of(Scope::AccountModel), &[
        "model_permission_blocked_project", "model_permission_blocked_org", "key_model_access_denied",
        "team_model_access_denied", "user_model_access_denied", "org_model_access_denied",
        "project_model_access_denied", "model_accessdenied",
    ]),
    // A valid key that may not send this request: OpenAI's restricted keys, OAuth (RFC 6750), Google.
    (KEY.of(Scope::Request), &[
        "missing_scope", "insufficient_scope", "insufficient_permissions", "access_token_scope_insufficient",
        "iam_permission_denied", "api_key_service_blocked",
    ]),

    // --- Size: Anthropic, GitHub Models, OpenAI.
    (LARGE.of(Scope::Request), &["request_too_large", "tokens_limit_reached", "context_length_exceeded"]),

    // --- Overload.
    (BUSY.of(Scope::Model), &[
        "overloaded", "engine_overloaded_error", "modelnotreadyexception", "no_capacity", "capacity_exceeded",
        "capacity_exhausted", "model_capacity_exhausted", "provider_overloaded", "provider_unavailable",
        // Cerebras, Volcengine Ark
        "queue_exceeded", "serveroverloaded",
    ]),
    // The last is a problem type of the IETF draft (RFC 9457).
    (BUSY.of(Scope::Platform), &["overloaded_error", "server_is_overloaded", "temporary_reduced_capacity"]),
    (BUSY, &[
        "service_unavailable_error", "serviceunavailableerror", "service_unavailable", "serviceunavailable",
        "serviceunavailableexception", "unavailable",
    ]),
    // Mistral; capacity belongs to a service tier, and another account may have a higher one.
    (BUSY.of(Scope::Model).key_helps(true), &["service_tier_capacity_exceeded"]),

    // --- Rates. Types that only name the dimension:
    (NOTHING.counts(Dimension::Requests), &["requests"]),
    (NOTHING.counts(Dimension::Tokens), &["tokens"]),
    (LIMIT, &[
        "rate_limit_exceeded", "rate_limit_error", "rate_limited", "rate_limit_reached_error", "rate_limit",
        "ratelimitreached", "too_many_requests", "too_many_requests_error", "toomanyrequestsexception",
        "toomanyrequests", "throttling_error", "throttlingexception", "throttling", "resource_exhausted",
        "some_resource_has_been_exhausted", "model_rate_limit",
        // AWS, in JSON or XML: the codes that its SDKs take for throttling
        "throttledexception", "requestthrottled", "requestthrottledexception", "provisionedthroughputexceeded",
        "provisionedthroughputexceededexception",
        // DashScope
        "throttling_ratequota", "throttling_allocationquota", "throttling_burstrate", "limit_requests",
        "limit_burst_rate",
        // Problem types of the IETF draft; its "quota" is any rate policy, not billing
        "quota_exceeded", "abnormal_usage_detected",
    ]),
    (LIMIT.of(Scope::Account), &["accountratelimitexceeded"]),
    // AWS, Volcengine Ark, Cerebras.
    (LIMIT.counts(Dimension::Requests), &[
        "requestlimitexceeded", "slowdown", "requestbursttoofast", "request_quota_exceeded",
    ]),
    (LIMIT.counts(Dimension::Tokens), &["token_quota_exceeded"]),
    // Volcengine Ark, ElevenLabs, CloudBase, a gateway (generalbots#1393).
    (LIMIT.counts(Dimension::Concurrency), &[
        "inflightbatchsizeexceeded", "too_many_concurrent_requests", "exceed_concurrent_request_limit",
        "concurrent_request_limit_exceeded",
    ]),
    // Volcengine Ark, Baidu's second API.
    (LIMIT.counts(Dimension::Requests).per(Window::Minute), &[
        "ratelimitexceeded_endpointrpmexceeded", "ratelimitexceeded_foundationmodelrpmexceeded",
        "modelaccountrpmratelimitexceeded", "rpm_rate_limit_exceeded",
    ]),
    (LIMIT.counts(Dimension::Tokens).per(Window::Minute), &[
        "ratelimitexceeded_endpointtpmexceeded", "ratelimitexceeded_foundationmodeltpmexceeded",
        "modelaccounttpmratelimitexceeded", "tpm_rate_limit_exceeded",
    ]),
    (LIMIT.counts(Dimension::Requests).per(Window::Minute).of(Scope::Account), &[
        "apiaccountrpmratelimitexceeded",
    ]),
    (LIMIT.per(Window::Minute), &["modelaccountipmratelimitexceeded"]),
    // OpenAI: a rate that rose too fast; the account is slowed down as a whole.
    (LIMIT.counts(Dimension::Requests).per(Window::Minute).key_helps(false), &["slow_down"]),
    // Together, whose windows are seconds.
    (LIMIT.counts(Dimension::Requests).per(Window::Second), &["dynamic_request_limited"]),
    (LIMIT.counts(Dimension::Tokens).per(Window::Second), &["dynamic_token_limited"]),
    // Perplexity.
    (LIMIT.counts(Dimension::Requests).per(Window::Minute).model_helps(false), &[
        "request_rate_limit_exceeded",
    ]),
    // OpenRouter's free tier, counted over all free models; "more keys or accounts do not help".
    (FREE_TIER.per(Window::Minute), &["openrouter_free_tier_per_minute", "free_tier_per_minute"]),
    (FREE_TIER.per(Window::Day), &[
        "openrouter_free_tier_daily", "openrouter_free_tier_per_day", "free_tier_daily", "free_tier_per_day",
    ]),
    // OpenCode Zen, counted per address and client.
    (LIMIT.of(Scope::Platform), &["freeusagelimiterror"]),
];

#[cfg(test)]
mod tests {
    use super::{super::super::parse::code::normal, *};

    #[test]
    fn every_code_is_in_normal_form_and_unique() {
        let codes: Vec<_> = CODES.iter().flat_map(|(_, codes)| *codes).collect();
        for (at, code) in codes.iter().enumerate() {
            assert_eq!(normal(code).as_deref(), Some(**code));
            let first = codes.iter().position(|other| other == code);
            assert_eq!(first, Some(at), "{code}");
        }
    }
}
