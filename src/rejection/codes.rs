//! What the codes, types and names of errors mean, whoever sends them.

use super::{
    Dimension, Provider, Scope, Window,
    meaning::{BUSY, KEY, LARGE, LIMIT, Meaning, NOTHING, QUOTA},
    plan::{self, PLAN, SHORTEST},
    provider_codes,
};

/// A place in a body whose codes are numbers of their own: they get its name in front.
pub(super) type Space = &'static str;

/// Elements of an `errors` list (Cloudflare).
pub(super) const ERRORS: Space = "errors";
/// MiniMax.
pub(super) const BASE_RESP: Space = "base_resp";
/// Baidu, next to `error_msg`.
pub(super) const ERROR_CODE: Space = "error_code";

/// Codes in [normal form](normal). One row for one code: which providers send it is in the comment
/// where it is not plain from the code itself.
#[rustfmt::skip]
static CODES: &[(&str, Meaning)] = &[
    // --- Billing. OpenAI:
    ("insufficient_quota", QUOTA.of(Scope::Account)),
    ("credit_balance_exhausted", QUOTA.of(Scope::Account)),
    ("organization_spend_limit_exceeded", QUOTA.of(Scope::Account)),
    ("organization_usage_limit_exceeded", QUOTA.of(Scope::Account)),
    ("project_spend_limit_exceeded", QUOTA.of(Scope::Project)),
    ("project_usage_limit_exceeded", QUOTA.of(Scope::Project)),
    ("billing_hard_limit_reached", QUOTA.of(Scope::Account)),
    ("billing_not_active", QUOTA.of(Scope::Account)),
    // Anthropic:
    ("billing_error", QUOTA.of(Scope::Account)),
    ("enforced_spend_limit_reached", QUOTA.of(Scope::Account)),
    // Moonshot:
    ("exceeded_current_quota_error", QUOTA.of(Scope::Account)),
    // Code Assist, whose users have no keys to change, by its domain and its reasons:
    ("cloudcode_pa_googleapis_com", NOTHING.key_helps(false)),
    ("quota_exhausted", QUOTA.of(Scope::AccountModel).key_helps(false)),
    ("insufficient_g1_credits_balance", QUOTA.of(Scope::Account).key_helps(false).model_helps(true)),
    // Bedrock; a quota of one model more often than not.
    ("servicequotaexceededexception", QUOTA.of(Scope::Account).model_helps(true)),
    // OpenRouter: what the requests in flight have reserved comes back when they end.
    ("openrouter_in_flight_budget", QUOTA.of(Scope::Account).time_helps().model_helps(true)),
    ("in_flight_budget", QUOTA.of(Scope::Account).time_helps().model_helps(true)),
    // LiteLLM; whose budget it is, the message tells.
    ("budget_exceeded", QUOTA),
    ("payment_required", QUOTA.of(Scope::Account)),
    ("insufficient_balance", QUOTA.of(Scope::Account)),
    ("insufficient_credits", QUOTA.of(Scope::Account)),
    ("insufficient_balance_error", QUOTA.of(Scope::Account)),
    // DashScope: bills, and a free tier that each model has for itself.
    ("arrearage", QUOTA.of(Scope::Account)),
    ("prepaidbilloverdue", QUOTA.of(Scope::Account)),
    ("postpaidbilloverdue", QUOTA.of(Scope::Account)),
    ("commoditynotpurchased", QUOTA.of(Scope::Account)),
    ("allocationquota_freetieronly", QUOTA.of(Scope::AccountModel)),
    // PPIO and Novita:
    ("not_enough_balance", QUOTA.of(Scope::Account)),
    // Groq: the spend limit that an organisation has set for itself.
    ("blocked_api_access", QUOTA.of(Scope::Account)),
    // Volcengine Ark: bills, and the limit that a user has set for one model.
    ("accountoverdueerror", QUOTA.of(Scope::Account)),
    ("operationdenied_serviceoverdue", QUOTA.of(Scope::Account)),
    ("setlimitexceeded", QUOTA.of(Scope::AccountModel)),
    // Codex, of a plan that does not contain it:
    ("usage_not_included", QUOTA.of(Scope::Account)),

    // --- Plans; the window is in the message, or only in the delay. Codex, MiniMax:
    ("usage_limit_reached", PLAN.per(SHORTEST)),
    ("usage_limit_exceeded", PLAN.per(SHORTEST)),
    // Volcengine Ark:
    ("accountquotaexceeded", PLAN.per(SHORTEST)),

    // --- Keys. OpenAI, Groq, Together:
    ("invalid_api_key", KEY.of(Scope::Key)),
    ("account_deactivated", KEY.of(Scope::Account)),
    ("organization_restricted", KEY.of(Scope::Account)),
    // Anthropic, DeepSeek; a key that may not use one model may use another:
    ("authentication_error", KEY.of(Scope::Key)),
    ("permission_error", KEY.of(Scope::Key).model_helps(true)),
    // Gemini, xAI, Fireworks:
    ("api_key_invalid", KEY.of(Scope::Key)),
    ("api_key_expired", KEY.of(Scope::Key)),
    ("unauthenticated", KEY.of(Scope::Key)),
    ("unauthorized", KEY.of(Scope::Key)),
    ("permission_denied", KEY.of(Scope::Key)),
    ("forbidden", KEY.of(Scope::Key).model_helps(true)),
    // Cerebras:
    ("wrong_api_key", KEY.of(Scope::Key)),
    // Bedrock:
    ("unrecognizedclientexception", KEY.of(Scope::Key)),
    ("invalidclienttokenid", KEY.of(Scope::Key)),
    ("invalidsignatureexception", KEY.of(Scope::Key)),
    ("expiredtokenexception", KEY.of(Scope::Key)),
    ("accessdeniedexception", KEY.of(Scope::Key).model_helps(true)),
    // Groq:
    ("permissions_error", KEY.of(Scope::Key).model_helps(true)),
    ("model_permission_blocked_project", KEY.of(Scope::AccountModel)),
    ("model_permission_blocked_org", KEY.of(Scope::AccountModel)),
    // A good key that may not send this request. OpenAI's restricted keys, OAuth (RFC 6750), Google:
    ("missing_scope", KEY.of(Scope::Request)),
    ("insufficient_scope", KEY.of(Scope::Request)),
    ("insufficient_permissions", KEY.of(Scope::Request)),
    ("access_token_scope_insufficient", KEY.of(Scope::Request)),
    ("iam_permission_denied", KEY.of(Scope::Request)),
    ("api_key_service_blocked", KEY.of(Scope::Request)),
    // LiteLLM:
    ("auth_error", KEY.of(Scope::Key)),
    ("token_not_found_in_db", KEY.of(Scope::Key)),
    ("expired_key", KEY.of(Scope::Key)),
    ("key_model_access_denied", KEY.of(Scope::AccountModel)),
    ("team_model_access_denied", KEY.of(Scope::AccountModel)),
    ("user_model_access_denied", KEY.of(Scope::AccountModel)),
    ("org_model_access_denied", KEY.of(Scope::AccountModel)),
    ("project_model_access_denied", KEY.of(Scope::AccountModel)),
    // DashScope:
    ("model_accessdenied", KEY.of(Scope::AccountModel)),
    // Cloudflare:
    ("errors/10000", KEY.of(Scope::Key)),
    ("errors/3023", KEY.of(Scope::Account)),

    // --- Size. Anthropic, GitHub Models, OpenAI:
    ("request_too_large", LARGE.of(Scope::Request)),
    ("tokens_limit_reached", LARGE.of(Scope::Request)),
    ("context_length_exceeded", LARGE.of(Scope::Request)),

    // --- Overload.
    ("overloaded_error", BUSY.of(Scope::Platform)),
    ("overloaded", BUSY.of(Scope::Model)),
    ("server_is_overloaded", BUSY.of(Scope::Platform)),
    ("engine_overloaded_error", BUSY.of(Scope::Model)),
    ("service_unavailable_error", BUSY),
    ("serviceunavailableerror", BUSY),
    ("service_unavailable", BUSY),
    ("serviceunavailable", BUSY),
    ("serviceunavailableexception", BUSY),
    ("unavailable", BUSY),
    ("modelnotreadyexception", BUSY.of(Scope::Model)),
    ("no_capacity", BUSY.of(Scope::Model)),
    ("capacity_exceeded", BUSY.of(Scope::Model)),
    ("capacity_exhausted", BUSY.of(Scope::Model)),
    ("model_capacity_exhausted", BUSY.of(Scope::Model)),
    ("provider_overloaded", BUSY.of(Scope::Model)),
    ("provider_unavailable", BUSY.of(Scope::Model)),
    ("queue_exceeded", BUSY.of(Scope::Model)),
    // Mistral; capacity belongs to a service tier, and another account may have a higher one.
    ("service_tier_capacity_exceeded", BUSY.of(Scope::Model).key_helps(true)),
    // Volcengine Ark:
    ("serveroverloaded", BUSY.of(Scope::Model)),
    ("errors/3040", BUSY.of(Scope::Model)),
    // RFC 9457 problem types of the IETF draft; "quota" is any rate policy there, not billing.
    ("temporary_reduced_capacity", BUSY.of(Scope::Platform)),
    ("quota_exceeded", LIMIT),
    ("abnormal_usage_detected", LIMIT),

    // --- Rates. What only names the dimension:
    ("requests", NOTHING.counts(Dimension::Requests)),
    ("tokens", NOTHING.counts(Dimension::Tokens)),
    // What names no dimension:
    ("rate_limit_exceeded", LIMIT),
    ("rate_limit_error", LIMIT),
    ("rate_limited", LIMIT),
    ("rate_limit_reached_error", LIMIT),
    ("rate_limit", LIMIT),
    ("ratelimitreached", LIMIT),
    ("too_many_requests", LIMIT),
    ("too_many_requests_error", LIMIT),
    ("toomanyrequestsexception", LIMIT),
    ("throttling_error", LIMIT),
    ("throttlingexception", LIMIT),
    ("throttling", LIMIT),
    // AWS, in JSON or XML: the codes that its SDKs take for throttling.
    ("throttledexception", LIMIT),
    ("requestthrottled", LIMIT),
    ("requestthrottledexception", LIMIT),
    ("requestlimitexceeded", LIMIT.counts(Dimension::Requests)),
    ("provisionedthroughputexceeded", LIMIT),
    ("provisionedthroughputexceededexception", LIMIT),
    ("slowdown", LIMIT.counts(Dimension::Requests)),
    ("resource_exhausted", LIMIT),
    ("some_resource_has_been_exhausted", LIMIT),
    ("model_rate_limit", LIMIT),
    // OpenAI: a rate that rose too fast; the account is slowed down as a whole.
    ("slow_down", LIMIT.counts(Dimension::Requests).per(Window::Minute).key_helps(false)),
    // DashScope:
    ("throttling_ratequota", LIMIT),
    ("throttling_allocationquota", LIMIT),
    ("throttling_burstrate", LIMIT),
    ("limit_requests", LIMIT),
    ("limit_burst_rate", LIMIT),
    // Volcengine Ark, whose messages name the limits; OpenAI-like proxies:
    ("toomanyrequests", LIMIT),
    ("accountratelimitexceeded", LIMIT.of(Scope::Account)),
    ("apiaccountrpmratelimitexceeded", LIMIT.counts(Dimension::Requests).per(Window::Minute).of(Scope::Account)),
    ("inflightbatchsizeexceeded", LIMIT.counts(Dimension::Concurrency)),
    ("requestbursttoofast", LIMIT.counts(Dimension::Requests)),
    ("ratelimitexceeded_endpointrpmexceeded", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
    ("ratelimitexceeded_endpointtpmexceeded", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    ("ratelimitexceeded_foundationmodelrpmexceeded", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
    ("ratelimitexceeded_foundationmodeltpmexceeded", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    ("modelaccountipmratelimitexceeded", LIMIT.per(Window::Minute)),
    ("modelaccountrpmratelimitexceeded", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
    ("modelaccounttpmratelimitexceeded", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    // Baidu's second API:
    ("rpm_rate_limit_exceeded", LIMIT.counts(Dimension::Requests).per(Window::Minute)),
    ("tpm_rate_limit_exceeded", LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    // Cerebras; the window is in the message:
    ("request_quota_exceeded", LIMIT.counts(Dimension::Requests)),
    ("token_quota_exceeded", LIMIT.counts(Dimension::Tokens)),
    // Together, whose windows are seconds:
    ("dynamic_request_limited", LIMIT.counts(Dimension::Requests).per(Window::Second)),
    ("dynamic_token_limited", LIMIT.counts(Dimension::Tokens).per(Window::Second)),
    // Perplexity:
    ("request_rate_limit_exceeded", LIMIT.counts(Dimension::Requests).per(Window::Minute).model_helps(false)),
    // OpenRouter's free tier: counted over all free models, and "more keys or accounts do not help".
    ("openrouter_free_tier_per_minute", FREE_TIER.per(Window::Minute)),
    ("free_tier_per_minute", FREE_TIER.per(Window::Minute)),
    ("openrouter_free_tier_daily", FREE_TIER.per(Window::Day)),
    ("openrouter_free_tier_per_day", FREE_TIER.per(Window::Day)),
    ("free_tier_daily", FREE_TIER.per(Window::Day)),
    ("free_tier_per_day", FREE_TIER.per(Window::Day)),
    // OpenCode Zen, counted per address and client:
    ("freeusagelimiterror", LIMIT.of(Scope::Platform)),
    // Cloudflare's daily neurons, as documented and as seen:
    ("errors/3036", NEURONS),
    ("errors/4006", NEURONS),
];

pub(super) const FREE_TIER: Meaning = LIMIT
    .counts(Dimension::Requests)
    .of(Scope::Account)
    .key_helps(false);
const NEURONS: Meaning = LIMIT
    .counts(Dimension::Neurons)
    .per(Window::Day)
    .of(Scope::Account)
    .model_helps(false);

/// Longer strings are not codes.
const LONGEST_CODE: usize = 128;

/// What a code means that `provider` sent. A space of its own tells its provider.
pub(super) fn meaning(provider: Provider, code: &str) -> Option<Meaning> {
    match code.split_once('/') {
        Some((BASE_RESP, code)) => return provider_codes::meaning(Provider::MiniMax, code),
        Some((ERROR_CODE, code)) => return provider_codes::meaning(Provider::Baidu, code),
        _ => {}
    }
    provider_codes::meaning(provider, code)
        .or_else(|| {
            let (_, meaning) = CODES.iter().find(|(name, _)| *name == code)?;
            Some(*meaning)
        })
        .or_else(|| plan::limit_of_code(code))
}

/// Lower case with underscores, without the name spaces that AWS and problem types put around it.
pub(super) fn normal(code: &str) -> Option<String> {
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(':').next().unwrap_or(code).trim();
    let fits = !code.is_empty() && code.len() <= LONGEST_CODE;
    fits.then(|| {
        code.chars()
            .map(|c| {
                if matches!(c, '-' | ' ' | '.') {
                    '_'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
    })
}

/// A code of a space of its own.
pub(super) fn in_space(space: Space, code: &str) -> String {
    format!("{space}/{code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_normal_form_and_stands_once() {
        for (at, (code, _)) in CODES.iter().enumerate() {
            assert_eq!(normal(code).as_deref(), Some(*code));
            let first = CODES.iter().position(|(other, _)| other == code);
            assert_eq!(first, Some(at), "{code}");
        }
    }

    #[test]
    fn name_spaces_are_cut_off() {
        let table = [
            (
                "ThrottlingException:http://internal.amazon.com/coral/",
                "throttlingexception",
            ),
            (
                "com.amazon.coral.service#ThrottlingException",
                "throttlingexception",
            ),
            (
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "quota_exceeded",
            ),
            (
                "Some resource has been exhausted",
                "some_resource_has_been_exhausted",
            ),
            ("permission-denied", "permission_denied"),
        ];
        for (code, expected) in table {
            assert_eq!(normal(code).as_deref(), Some(expected));
        }
        assert_eq!(normal(""), None);
        assert_eq!(normal(&"x".repeat(129)), None);
    }
}
