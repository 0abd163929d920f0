//! What the sentences of error messages mean.
//!
//! Only phrases that name the reason itself. Words that several reasons share are left out: Gemini says
//! "exceeded your current quota, please check your plan and billing details" about a limit per minute.
//! DeepSeek names the balance if it means concurrency.

use super::{
    super::{
        signal::{BUSY, KEY, LARGE, LIMIT, NOTHING, QUOTA, Signal},
        types::{Dimension, Scope, Window},
    },
    codes::FREE_TIER,
};

/// A phrase; all parts must be in the message (lower case, `’` as `'`), in any order.
type Phrase = &'static [&'static str];

/// If rows contradict each other, the first counts. So a narrower scope stands before a wider one.
#[rustfmt::skip]
static MESSAGES: &[(Signal, &[Phrase])] = &[
    // --- Billing. A workspace is Anthropic's word for a project.
    (QUOTA.of(Scope::Project), &[&["workspace api usage limits"]]),
    (QUOTA.of(Scope::Account), &[
        // xAI, Together, Fireworks, Gemini
        &["used all available credits"], &["purchase more credits"], &["spending limit"], &["spending cap"],
        &["spend limit"], &["spend cap"], &["credits are depleted"], &["credits have been depleted"],
        &["billing hard limit"], &["account", "is not active", "billing"], &["account is suspended"],
        &["account suspended"], &["account has been suspended"], &["team doesn't have any credits"],
        // Anthropic
        &["credit balance is too low"], &["reached your specified api usage limits"],
        &["reached your api usage limits"], &["api usage", "regain access"], &["you're out of extra usage"],
        // DeepSeek, OpenRouter, OpenAI, NVIDIA, Hugging Face, SiliconFlow
        &["insufficient balance"], &["insufficient funds"], &["account balance is insufficient"],
        &["no credits remaining"], &["out of credits"], &["credits expired"],
        &["exceeded your monthly included credits"], &["depleted your monthly included credits"],
        // Only the link separates OpenAI's sentence from Gemini's, which means a minute
        &["exceeded your current quota", "platform.openai.com"],
        // DashScope, Volcengine Ark
        &["account is in good standing"], &["overdue balance"], &["account balance is overdue"],
        &["account is overdue"], &["account is in arrears"],
        // Z.ai in both of its languages: credits, or a subscription that has ended or lacks the model
        &["no resource package"], &["plan package has expired"], &["余额不足"], &["欠费"], &["套餐已到期"],
    ]),
    // A cheaper or a free model needs fewer credits or none, and a shorter prompt fewer tokens (OpenRouter).
    (QUOTA.of(Scope::Account).model_helps(true), &[
        &["insufficient credit"], &["requires more credits"], &["prompt tokens limit exceeded"],
    ]),
    // Free tiers of one model: DashScope, Volcengine Ark.
    (QUOTA.of(Scope::AccountModel), &[
        &["free tier of the model has been exhausted"], &["free allocated quota exceeded"],
        &["exhausted", "free trial quota"], &["reached the set inference limit"],
    ]),
    // LiteLLM: a budget of one model, of a deployment for all keys, of a provider's models.
    (NOTHING.of(Scope::AccountModel), &[&["exceeded budget for model"]]),
    (NOTHING.of(Scope::Model).key_helps(false), &[
        &["exceeded budget for deployment"], &["exceeded budget for provider"],
    ]),
    // The cap of OpenRouter on one key, of API Management on a subscription, of LiteLLM on a virtual key.
    (QUOTA.of(Scope::Key), &[
        &["key limit exceeded"], &["out of call volume quota"], &["out of bandwidth quota"],
        &["budget has been exceeded"], &["exceeded budget"], &["exceededbudget"],
    ]),

    // --- Keys.
    (KEY.of(Scope::Key), &[
        &["incorrect api key"], &["invalid api key"], &["wrong api key"], &["no api key"],
        &["api key not valid"], &["api key not found"], &["api key expired"], &["api key", "is invalid"],
        &["api key", "has expired"], &["api key", "revoked"], &["reported as leaked"], &["invalid x-api-key"],
        &["invalid api token"], &["invalid subscription key"], &["invalid username or password"],
        &["security token", "is invalid"], &["security token", "expired"],
        &["missing authentication header"], &["no auth credentials"], &["authentication fails"],
        &["authentication failed"],
    ]),
    // NVIDIA says the same about a model that the account may not use.
    (KEY.of(Scope::Key).model_helps(true), &[&["authorization failed"]]),
    // A valid key that may not send this request.
    (KEY.of(Scope::Request), &[
        // OpenAI's restricted keys, Hugging Face's tokens, Google, Azure's roles, GitHub
        &["insufficient permissions"], &["not have sufficient permissions"], &["missing scope"],
        &["insufficient authentication scopes"], &["caller does not have permission"],
        &["permission", "(or it may not exist)"], &["lacks the required data action"],
        &["not accessible by", "access token"],
        // xAI, Anthropic, LiteLLM
        &["missing acls"], &["not meet scope requirement"], &["not allowed to call this route"],
        &["only proxy admin"],
        // OpenRouter's provisioning keys, GitHub Models, Copilot
        &["access this endpoint"], &["access to this endpoint"], &["required scope"],
    ]),
    // OpenAI, Bedrock, Anthropic, LiteLLM, DashScope, Groq.
    (MODEL_DENIED, &[
        &["have access to", "model"], &["not allowed to access", "model"], &["not allowed to use", "model"],
        &["not authorized to", "model"], &["not have permission to", "model"], &["access to model denied"],
        &["model access denied"], &["must be verified to use the model"],
        &["you are not allowed to", "from this model"], &["the model", "is blocked at the", "level"],
    ]),
    (KEY.of(Scope::Account), &[
        &["account associated with this api key has been deactivated"], &["organization has been disabled"],
        &["organization has been restricted"], &["account blocked"],
    ]),

    // --- Size. OpenAI and Groq send the code of a rate limit with it.
    (LARGE.of(Scope::Request), &[
        &["request too large"], &["request body too large"], &["reduce your message size"],
        &["prompt is too long"], &["prompt too long"], &["maximum context length"],
        &["exceeds", "context length"],
    ]),
    // Anthropic: the plan pays for the standard context only.
    (LARGE, &[&["extra usage", "required", "context"]]),

    // --- Overload.
    (BUSY.of(Scope::Model), &[
        &["overloaded"], &["tier capacity exceeded"], &["capacity temporarily exceeded"], &["no capacity"],
        &["out of capacity"], &["at capacity"], &["no more data centers"], &["high demand"],
        &["high traffic"], &["high load"], &["too many requests waiting"], &["model is not ready"],
        &["first token before the given deadline"],
        // Z.ai
        &["访问量过大"],
    ]),
    (BUSY.of(Scope::Model).key_helps(true), &[&["service tier capacity exceeded"]]),
    (BUSY, &[
        &["capacity constraints"], &["system capacity limits"], &["server is busy"], &["system is too busy"],
        &["too many connections"],
    ]),

    // --- Rates. Cohere; OpenRouter's free tier, counted over all free models.
    (QUOTA.of(Scope::Account), &[&["api calls", "/ month"]]),
    (LIMIT.of(Scope::Account).model_helps(false), &[&["api calls", "/ minute"]]),
    (FREE_TIER, &[&["free-models-per-"]]),
    // Vertex's pool, which all projects share; LiteLLM, when all deployments of a model are on cooldown.
    (LIMIT.of(Scope::Model), &[
        &["resource exhausted. please try again later"], &["no deployments available"],
    ]),
    // The limits of an API Management's subscription and of LiteLLM's virtual key.
    (LIMIT.of(Scope::Key), &[
        &["rate limit is exceeded. try again in"], &["max parallel request limit"],
        &["rate limit exceeded for api_key"],
    ]),
    (LIMIT.counts(Dimension::Tokens).of(Scope::Key), &[&["token limit is exceeded. try again in"]]),
    // Azure: minutes, even if the hint is a day.
    (LIMIT.counts(Dimension::Tokens).per(Window::Minute), &[
        &["exceeded", "token rate limit"], &["the token rate limit"],
    ]),
    (LIMIT.counts(Dimension::Requests).per(Window::Minute), &[&["call rate limit"]]),
    // Phrases that say no more than a 429, for events without status and code; the last are DashScope's and
    // Z.ai's.
    (LIMIT, &[
        &["rate limit exceeded"], &["rate limit reached"], &["would exceed your", "rate limit"],
        &["exceeded your", "rate limit"], &["too many requests"], &["resource exhausted"],
        &["resource has been exhausted"], &["quota exceeded for"], &["allocated quota exceeded"],
        &["request rate increased too quickly"], &["速率限制"],
    ]),
    (LIMIT.counts(Dimension::Concurrency), &[
        &["concurrency limit"], &["concurrency usage"], &["并发", "过高"], &["too many concurrent"],
        &["too many requests in flight"],
        // Anthropic, Scaleway, Ollama's cloud
        &["concurrent connections has exceeded"], &["threshold of concurrent requests"],
        &["waiting for a concurrent request slot"],
    ]),
    (LIMIT.counts(Dimension::Requests), &[&["frequency usage"], &["频率", "过高"]]),
    // Z.ai, Baidu.
    (LIMIT.counts(Dimension::Requests).per(Window::Day), &[
        &["今日调用次数限额"], &["api daily request limit"],
    ]),
    (LIMIT.counts(Dimension::Requests).per(Window::Second), &[&["qps request limit"]]),
    // GitHub Models: counted over all models unless the name says "ByModel".
    (NOTHING.of(Scope::AccountModel).model_helps(true), &[&["userbymodelby"]]),
    (NOTHING.of(Scope::Account).model_helps(false), &[&["per ", "exceeded for user"]]),
    // OpenAI, Groq, xAI. Anthropic adds the number to a limit of one model.
    (NOTHING.of(Scope::AccountModel), &[
        &["in organization"], &["requests for team", "and model"], &["organization's rate limit of "],
    ]),
    (NOTHING.of(Scope::Account), &[&["your organization's rate limit"]]),
    (NOTHING.of(Scope::AccountModel), &[&["rate limit for your organization", " of "]]),
    (NOTHING.of(Scope::Account), &[
        &["rate limit for your organization"], &["your account's rate limit"], &["rate limit for your account"],
        &["your account rate limit"], &["your team's rate limit"],
    ]),
    (NOTHING.of(Scope::Project), &[&["your workspace's rate limit"]]),
    // Moonshot, whose models share their limits.
    (NOTHING.of(Scope::Project).model_helps(false), &[&["reached project "]]),
    (NOTHING.of(Scope::Account).model_helps(false), &[
        &["reached organization "], &["reached max organization "],
    ]),
];

/// A valid key that may not use this model.
pub(crate) const MODEL_DENIED: Signal = KEY.of(Scope::AccountModel);

/// Phrases that were seen under 400. That status mostly reports a fault in the request. The message may
/// repeat the request without quotes (OpenRouter: `{model} is not a valid model ID`). So the name of a model
/// could contain any other phrase.
#[rustfmt::skip]
static SEEN_UNDER_400: &[&str] = &[
    // Anthropic, LiteLLM
    "credit balance is too low", "workspace api usage limits", "reached your specified api usage limits",
    "reached your api usage limits", "you're out of extra usage", "budget has been exceeded",
    "exceeded budget for model", "exceeded budget for deployment",
    // DashScope
    "account is in good standing",
    // Gemini, xAI, Anthropic, Groq
    "api key not valid", "incorrect api key", "api key expired", "organization has been disabled",
    "organization has been restricted",
];

/// Returns what the phrases in a message in lower case mean, in the order of the table.
pub(crate) fn signals(message: &str, status: Option<u16>) -> impl Iterator<Item = Signal> {
    let is_in = move |phrase: &&Phrase| {
        let is_possible = status != Some(400) || SEEN_UNDER_400.contains(&phrase[0]);
        is_possible && phrase.iter().all(|part| message.contains(part))
    };
    let rows = MESSAGES.iter().filter(|_| !message.is_empty());
    rows.filter(move |(_, phrases)| phrases.iter().any(|phrase| is_in(&phrase)))
        .map(|(signal, _)| *signal)
}

/// Whether only DashScope writes this. Its link separates a minute's limit on tokens from spent credits, which
/// it reports in the same sentence as OpenAI (oh-my-pi#8476, opencode#23722).
pub(crate) fn is_of_dash_scope(message: &str) -> bool {
    let has = |part| message.contains(part);
    has("error-code#token-limit")
        || (has("model-studio") && has("error-code"))
        || has("allocated quota exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_in_lower_case() {
        for parts in MESSAGES.iter().flat_map(|(_, phrases)| *phrases) {
            assert!(!parts.is_empty());
            for part in *parts {
                assert_eq!(*part, part.to_lowercase());
            }
        }
    }

    #[test]
    fn words_that_reasons_share_are_ignored() {
        for message in [
            "you exceeded your current quota, please check your plan and billing details.",
            "your current concurrency is 26, based on your remaining balance.",
            "you can increase your rate limit by adding a payment method at /account/billing",
            "add 10 credits to unlock 1000 free model requests per day",
            "need more tokens? upgrade to dev tier today",
            "country, region, or territory not supported",
            "this model's temperature is out of range",
        ] {
            assert_eq!(signals(message, None).next(), None, "{message}");
        }
    }

    #[test]
    fn phrase_counts_with_status_400_only_if_it_was_observed_there() {
        let found = |message, status| signals(message, Some(status)).next().is_some();
        assert!(!found("out of credits is not a valid model id", 400));
        assert!(found("you are out of credits", 402));
        assert!(found("your credit balance is too low", 400));
        for phrase in SEEN_UNDER_400 {
            let mut known = MESSAGES.iter().flat_map(|(_, phrases)| *phrases);
            assert!(known.any(|parts| parts[0] == *phrase), "{phrase}");
        }
    }
}
