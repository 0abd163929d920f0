//! What the sentences of error messages mean.
//!
//! Only phrases that say the thing itself. Words that several reasons share are not here: Gemini
//! says "exceeded your current quota, please check your plan and billing details" of a limit per
//! minute, and DeepSeek names the balance when it means concurrency.

use super::{
    Dimension, Scope, Window,
    codes::FREE_TIER,
    meaning::{BUSY, KEY, LARGE, LIMIT, Meaning, NOTHING, QUOTA},
};

/// All parts of a row must be in the message (lower case, `’` as `'`), in any order.
#[rustfmt::skip]
static PHRASES: &[(&[&str], Meaning)] = &[
    // --- Billing. xAI, Together, Fireworks, Gemini:
    (&["used all available credits"], QUOTA.of(Scope::Account)),
    (&["purchase more credits"], QUOTA.of(Scope::Account)),
    (&["spending limit"], QUOTA.of(Scope::Account)),
    (&["spending cap"], QUOTA.of(Scope::Account)),
    (&["spend limit"], QUOTA.of(Scope::Account)),
    (&["spend cap"], QUOTA.of(Scope::Account)),
    (&["credits are depleted"], QUOTA.of(Scope::Account)),
    (&["credits have been depleted"], QUOTA.of(Scope::Account)),
    (&["billing hard limit"], QUOTA.of(Scope::Account)),
    (&["account", "is not active", "billing"], QUOTA.of(Scope::Account)),
    (&["account is suspended"], QUOTA.of(Scope::Account)),
    (&["account suspended"], QUOTA.of(Scope::Account)),
    (&["account has been suspended"], QUOTA.of(Scope::Account)),
    // Anthropic; a workspace is its word for a project.
    (&["credit balance is too low"], QUOTA.of(Scope::Account)),
    (&["workspace api usage limits"], QUOTA.of(Scope::Project)),
    (&["reached your specified api usage limits"], QUOTA.of(Scope::Account)),
    (&["reached your api usage limits"], QUOTA.of(Scope::Account)),
    (&["api usage", "regain access"], QUOTA.of(Scope::Account)),
    (&["you're out of extra usage"], QUOTA.of(Scope::Account)),
    // DeepSeek, OpenRouter, OpenAI, NVIDIA, Hugging Face:
    (&["insufficient balance"], QUOTA.of(Scope::Account)),
    // SiliconFlow, xAI:
    (&["account balance is insufficient"], QUOTA.of(Scope::Account)),
    (&["team doesn't have any credits"], QUOTA.of(Scope::Account)),
    // A cheaper or a free model needs fewer credits or none.
    (&["insufficient credit"], QUOTA.of(Scope::Account).model_helps(true)),
    (&["requires more credits"], QUOTA.of(Scope::Account).model_helps(true)),
    (&["insufficient funds"], QUOTA.of(Scope::Account)),
    (&["no credits remaining"], QUOTA.of(Scope::Account)),
    // Only the link tells this sentence of OpenAI from Gemini's, which means a minute.
    (&["exceeded your current quota", "platform.openai.com"], QUOTA.of(Scope::Account)),
    (&["out of credits"], QUOTA.of(Scope::Account)),
    (&["credits expired"], QUOTA.of(Scope::Account)),
    (&["exceeded your monthly included credits"], QUOTA.of(Scope::Account)),
    (&["depleted your monthly included credits"], QUOTA.of(Scope::Account)),
    // OpenRouter: the credits do not cover the prompt; a cheaper model or a shorter prompt passes.
    (&["prompt tokens limit exceeded"], QUOTA.of(Scope::Account).model_helps(true)),
    // DashScope, Volcengine Ark: bills, and free tiers of one model.
    (&["account is in good standing"], QUOTA.of(Scope::Account)),
    (&["overdue balance"], QUOTA.of(Scope::Account)),
    (&["account balance is overdue"], QUOTA.of(Scope::Account)),
    (&["account is overdue"], QUOTA.of(Scope::Account)),
    (&["account is in arrears"], QUOTA.of(Scope::Account)),
    (&["free tier of the model has been exhausted"], QUOTA.of(Scope::AccountModel)),
    (&["free allocated quota exceeded"], QUOTA.of(Scope::AccountModel)),
    (&["exhausted", "free trial quota"], QUOTA.of(Scope::AccountModel)),
    (&["reached the set inference limit"], QUOTA.of(Scope::AccountModel)),
    // Z.ai, in both of its languages; a subscription that is over or lacks the model.
    (&["no resource package"], QUOTA.of(Scope::Account)),
    (&["余额不足"], QUOTA.of(Scope::Account)),
    (&["欠费"], QUOTA.of(Scope::Account)),
    (&["套餐已到期"], QUOTA.of(Scope::Account)),
    (&["plan package has expired"], QUOTA.of(Scope::Account)),
    // LiteLLM: a budget of one model, of a deployment for all keys, of a provider's models.
    (&["exceeded budget for model"], NOTHING.of(Scope::AccountModel)),
    (&["exceeded budget for deployment"], NOTHING.of(Scope::Model).key_helps(false)),
    (&["exceeded budget for provider"], NOTHING.of(Scope::Model).key_helps(false)),
    // OpenRouter's cap on one key, API Management's on one subscription, LiteLLM's on one virtual key:
    (&["key limit exceeded"], QUOTA.of(Scope::Key)),
    (&["out of call volume quota"], QUOTA.of(Scope::Key)),
    (&["out of bandwidth quota"], QUOTA.of(Scope::Key)),
    (&["budget has been exceeded"], QUOTA.of(Scope::Key)),
    (&["exceeded budget"], QUOTA.of(Scope::Key)),
    (&["exceededbudget"], QUOTA.of(Scope::Key)),

    // --- Keys.
    (&["incorrect api key"], KEY.of(Scope::Key)),
    (&["invalid api key"], KEY.of(Scope::Key)),
    (&["wrong api key"], KEY.of(Scope::Key)),
    (&["no api key"], KEY.of(Scope::Key)),
    (&["api key not valid"], KEY.of(Scope::Key)),
    (&["api key not found"], KEY.of(Scope::Key)),
    (&["api key expired"], KEY.of(Scope::Key)),
    (&["api key", "is invalid"], KEY.of(Scope::Key)),
    (&["api key", "has expired"], KEY.of(Scope::Key)),
    (&["api key", "revoked"], KEY.of(Scope::Key)),
    (&["reported as leaked"], KEY.of(Scope::Key)),
    (&["invalid x-api-key"], KEY.of(Scope::Key)),
    (&["invalid api token"], KEY.of(Scope::Key)),
    (&["invalid subscription key"], KEY.of(Scope::Key)),
    (&["invalid username or password"], KEY.of(Scope::Key)),
    (&["security token", "is invalid"], KEY.of(Scope::Key)),
    (&["security token", "expired"], KEY.of(Scope::Key)),
    (&["missing authentication header"], KEY.of(Scope::Key)),
    (&["no auth credentials"], KEY.of(Scope::Key)),
    (&["authentication fails"], KEY.of(Scope::Key)),
    (&["authentication failed"], KEY.of(Scope::Key)),
    // NVIDIA says the same of a model that the account may not use.
    (&["authorization failed"], KEY.of(Scope::Key).model_helps(true)),
    // A good key that may not send this request. OpenAI's restricted keys, Hugging Face's tokens, Google,
    // Azure's roles, GitHub:
    (&["insufficient permissions"], KEY.of(Scope::Request)),
    (&["not have sufficient permissions"], KEY.of(Scope::Request)),
    (&["missing scope"], KEY.of(Scope::Request)),
    (&["insufficient authentication scopes"], KEY.of(Scope::Request)),
    (&["caller does not have permission"], KEY.of(Scope::Request)),
    (&["permission", "(or it may not exist)"], KEY.of(Scope::Request)),
    (&["lacks the required data action"], KEY.of(Scope::Request)),
    (&["not accessible by", "access token"], KEY.of(Scope::Request)),
    // xAI, Anthropic, LiteLLM:
    (&["missing acls"], KEY.of(Scope::Request)),
    (&["not meet scope requirement"], KEY.of(Scope::Request)),
    (&["not allowed to call this route"], KEY.of(Scope::Request)),
    (&["only proxy admin"], KEY.of(Scope::Request)),
    // OpenRouter's provisioning keys, GitHub Models, Copilot:
    (&["access this endpoint"], KEY.of(Scope::Request)),
    (&["access to this endpoint"], KEY.of(Scope::Request)),
    (&["required scope"], KEY.of(Scope::Request)),
    // A good key that may not use this model. OpenAI, Bedrock, Anthropic, LiteLLM, DashScope, Groq:
    (&["have access to", "model"], MODEL_DENIED),
    (&["not allowed to access", "model"], MODEL_DENIED),
    (&["not allowed to use", "model"], MODEL_DENIED),
    (&["not authorized to", "model"], MODEL_DENIED),
    (&["not have permission to", "model"], MODEL_DENIED),
    (&["access to model denied"], MODEL_DENIED),
    (&["model access denied"], MODEL_DENIED),
    (&["must be verified to use the model"], MODEL_DENIED),
    (&["you are not allowed to", "from this model"], MODEL_DENIED),
    (&["the model", "is blocked at the", "level"], MODEL_DENIED),
    (&["account associated with this api key has been deactivated"], KEY.of(Scope::Account)),
    (&["organization has been disabled"], KEY.of(Scope::Account)),
    (&["organization has been restricted"], KEY.of(Scope::Account)),
    (&["account blocked"], KEY.of(Scope::Account)),

    // --- Size. OpenAI and Groq send the code of a rate limit with it.
    (&["request too large"], LARGE.of(Scope::Request)),
    (&["request body too large"], LARGE.of(Scope::Request)),
    (&["reduce your message size"], LARGE.of(Scope::Request)),
    (&["prompt is too long"], LARGE.of(Scope::Request)),
    (&["prompt too long"], LARGE.of(Scope::Request)),
    (&["maximum context length"], LARGE.of(Scope::Request)),
    (&["exceeds", "context length"], LARGE.of(Scope::Request)),
    // Anthropic: the plan pays for the standard context only.
    (&["extra usage", "required", "context"], LARGE),

    // --- Overload.
    (&["overloaded"], BUSY.of(Scope::Model)),
    (&["service tier capacity exceeded"], BUSY.of(Scope::Model).key_helps(true)),
    (&["tier capacity exceeded"], BUSY.of(Scope::Model)),
    (&["capacity temporarily exceeded"], BUSY.of(Scope::Model)),
    (&["capacity constraints"], BUSY),
    (&["system capacity limits"], BUSY),
    (&["no capacity"], BUSY.of(Scope::Model)),
    (&["out of capacity"], BUSY.of(Scope::Model)),
    (&["at capacity"], BUSY.of(Scope::Model)),
    (&["no more data centers"], BUSY.of(Scope::Model)),
    (&["high demand"], BUSY.of(Scope::Model)),
    (&["high traffic"], BUSY.of(Scope::Model)),
    (&["high load"], BUSY.of(Scope::Model)),
    (&["server is busy"], BUSY),
    (&["system is too busy"], BUSY),
    (&["too many connections"], BUSY),
    (&["too many requests waiting"], BUSY.of(Scope::Model)),
    (&["model is not ready"], BUSY.of(Scope::Model)),
    (&["first token before the given deadline"], BUSY.of(Scope::Model)),
    // Z.ai:
    (&["访问量过大"], BUSY.of(Scope::Model)),

    // --- Rates.
    (&["api calls", "/ month"], QUOTA.of(Scope::Account)),
    (&["api calls", "/ minute"], LIMIT.of(Scope::Account).model_helps(false)),
    // OpenRouter's free tier, counted over all free models; "more keys or accounts do not help".
    (&["free-models-per-"], FREE_TIER),
    // Vertex's shared pool, of which no project owns a part:
    (&["resource exhausted. please try again later"], LIMIT.of(Scope::Model)),
    // LiteLLM: all deployments of a model cool down.
    (&["no deployments available"], LIMIT.of(Scope::Model)),
    // Azure's API Management, per subscription key:
    (&["rate limit is exceeded. try again in"], LIMIT.of(Scope::Key)),
    (&["token limit is exceeded. try again in"], LIMIT.counts(Dimension::Tokens).of(Scope::Key)),
    // LiteLLM's limits of a virtual key:
    (&["max parallel request limit"], LIMIT.of(Scope::Key)),
    (&["rate limit exceeded for api_key"], LIMIT.of(Scope::Key)),
    // Azure: minutes, whatever the delay says.
    (&["exceeded", "token rate limit"], LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    (&["the token rate limit"], LIMIT.counts(Dimension::Tokens).per(Window::Minute)),
    (&["call rate limit"], LIMIT.counts(Dimension::Requests).per(Window::Minute)),
    // What says no more than a 429 does, for events that have no status and no code:
    (&["rate limit exceeded"], LIMIT),
    (&["rate limit reached"], LIMIT),
    (&["would exceed your", "rate limit"], LIMIT),
    (&["exceeded your", "rate limit"], LIMIT),
    (&["concurrency limit"], LIMIT.counts(Dimension::Concurrency)),
    (&["too many requests"], LIMIT),
    (&["resource exhausted"], LIMIT),
    (&["resource has been exhausted"], LIMIT),
    (&["quota exceeded for"], LIMIT),
    // DashScope, Z.ai, Baidu:
    (&["allocated quota exceeded"], LIMIT),
    (&["request rate increased too quickly"], LIMIT),
    (&["concurrency usage"], LIMIT.counts(Dimension::Concurrency)),
    (&["frequency usage"], LIMIT.counts(Dimension::Requests)),
    (&["并发", "过高"], LIMIT.counts(Dimension::Concurrency)),
    (&["频率", "过高"], LIMIT.counts(Dimension::Requests)),
    (&["速率限制"], LIMIT),
    (&["今日调用次数限额"], LIMIT.counts(Dimension::Requests).per(Window::Day)),
    (&["api daily request limit"], LIMIT.counts(Dimension::Requests).per(Window::Day)),
    (&["qps request limit"], LIMIT.counts(Dimension::Requests).per(Window::Second)),
    // GitHub Models: counted over all models unless the name says "ByModel".
    (&["userbymodelby"], NOTHING.of(Scope::AccountModel).model_helps(true)),
    (&["per ", "exceeded for user"], NOTHING.of(Scope::Account).model_helps(false)),
    // OpenAI, Groq, xAI:
    (&["in organization"], NOTHING.of(Scope::AccountModel)),
    (&["requests for team", "and model"], NOTHING.of(Scope::AccountModel)),
    // Anthropic names the number where it counts by model, and only the owner where it counts them all.
    (&["organization's rate limit of "], NOTHING.of(Scope::AccountModel)),
    (&["your organization's rate limit"], NOTHING.of(Scope::Account)),
    (&["rate limit for your organization", " of "], NOTHING.of(Scope::AccountModel)),
    (&["rate limit for your organization"], NOTHING.of(Scope::Account)),
    (&["your account's rate limit"], NOTHING.of(Scope::Account)),
    (&["rate limit for your account"], NOTHING.of(Scope::Account)),
    (&["your account rate limit"], NOTHING.of(Scope::Account)),
    (&["your team's rate limit"], NOTHING.of(Scope::Account)),
    (&["your workspace's rate limit"], NOTHING.of(Scope::Project)),
    // Moonshot, whose models share their limits:
    (&["reached organization "], NOTHING.of(Scope::Account).model_helps(false)),
    (&["reached max organization "], NOTHING.of(Scope::Account).model_helps(false)),
];

pub(super) const MODEL_DENIED: Meaning = KEY.of(Scope::AccountModel);

/// What was seen under 400. That is mostly the status of a fault in the request, which the message may
/// repeat without quotes (OpenRouter: `{model} is not a valid model ID`); who names a model by one of
/// these cannot be told from the provider.
static SEEN_UNDER_400: &[&str] = &[
    // Anthropic, LiteLLM:
    "credit balance is too low",
    "workspace api usage limits",
    "reached your specified api usage limits",
    "reached your api usage limits",
    "you're out of extra usage",
    "budget has been exceeded",
    "exceeded budget for model",
    "exceeded budget for deployment",
    // DashScope:
    "account is in good standing",
    // Gemini, xAI, Anthropic, Groq:
    "api key not valid",
    "incorrect api key",
    "api key expired",
    "organization has been disabled",
    "organization has been restricted",
];

/// What the phrases of a message in lower case mean, in the order of the table.
pub(super) fn meanings(message: &str, status: Option<u16>) -> impl Iterator<Item = Meaning> {
    PHRASES
        .iter()
        .filter(move |(parts, _)| {
            let is_possible = status != Some(400) || SEEN_UNDER_400.contains(&parts[0]);
            is_possible && !message.is_empty() && parts.iter().all(|part| message.contains(part))
        })
        .map(|(_, meaning)| *meaning)
}

/// What only DashScope says; its link tells a minute's limit on tokens from spent credits, in OpenAI's
/// sentence of the latter (oh-my-pi#8476, opencode#23722).
pub(super) fn is_of_dash_scope(message: &str) -> bool {
    let has = |part| message.contains(part);
    has("error-code#token-limit")
        || (has("model-studio") && has("error-code"))
        || has("allocated quota exceeded")
}

/// The message without what stands between its first quotation mark and its last: what is quoted may
/// have quotation marks of its own.
pub(super) fn without_quotes(message: &str) -> String {
    let is_word = |at: usize| message[at..].starts_with(char::is_alphanumeric);
    let ends_in_word = |at: usize| message[..at].ends_with(char::is_alphanumeric);
    // An apostrophe stands in a word.
    let marks = message.match_indices(['`', '"', '\'']).map(|(at, _)| at);
    let mut opening = marks.clone().filter(|at| !ends_in_word(*at));
    let mut closing = marks.rev().filter(|at| !is_word(at + 1));
    match (opening.next(), closing.next()) {
        (Some(start), Some(end)) if start < end => {
            [&message[..start], &message[end + 1..]].concat()
        }
        _ => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_in_the_case_in_which_they_are_sought() {
        for (parts, _) in PHRASES {
            assert!(!parts.is_empty());
            for part in *parts {
                assert_eq!(*part, part.to_lowercase());
            }
        }
    }

    #[test]
    fn words_that_several_reasons_share_mean_nothing() {
        for message in [
            "you exceeded your current quota, please check your plan and billing details.",
            "your current concurrency is 26, based on your remaining balance.",
            "you can increase your rate limit by adding a payment method at /account/billing",
            "add 10 credits to unlock 1000 free model requests per day",
            "need more tokens? upgrade to dev tier today",
            "country, region, or territory not supported",
            "this model's temperature is out of range",
        ] {
            assert_eq!(meanings(message, None).next(), None, "{message}");
        }
    }

    #[test]
    fn what_is_quoted_is_taken_out() {
        let table = [
            (
                "the model `out of credits` does not exist",
                "the model  does not exist",
            ),
            (
                "invalid value: 'a', 'b' or 'c'. you've sent 'd'.",
                "invalid value: .",
            ),
            ("no 'x' out of credits 'y' here", "no  here"),
            (
                "you've used your team's credits",
                "you've used your team's credits",
            ),
            ("an \"open end", "an \"open end"),
            ("", ""),
        ];
        for (message, left) in table {
            assert_eq!(without_quotes(message), left);
        }
    }

    #[test]
    fn under_400_only_what_was_seen_under_it_is_believed() {
        let found = |message, status| meanings(message, Some(status)).next().is_some();
        assert!(!found("out of credits is not a valid model id", 400));
        assert!(found("you are out of credits", 402));
        assert!(found("your credit balance is too low", 400));
        for phrase in SEEN_UNDER_400 {
            assert!(
                PHRASES.iter().any(|(parts, _)| parts[0] == *phrase),
                "{phrase}"
            );
        }
    }
}
