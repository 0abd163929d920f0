//! What is known about each provider: its hosts and headers, and the facts that no response contains.

use std::sync::LazyLock;

use http::HeaderMap;

use super::super::{
    provider::Provider,
    types::{Dimension, Scope, Window},
};

/// The facts that a provider never sends, and how to recognise it.
struct Profile {
    provider: Provider,
    /// What its rate limits belong to.
    scope: Option<Scope>,
    /// The host itself, or the end of it after a dot.
    hosts: &'static [&'static str],
    /// The prefixes of names that only this provider's responses carry.
    headers: &'static [&'static str],
    /// The time over which its unnamed windows count: requests, tokens.
    windows: [Option<Window>; 2],
    /// The one limit that it has, if its responses name none.
    only: Option<(Dimension, Window)>,
}

const MINUTE: [Option<Window>; 2] = [Some(Window::Minute); 2];

const fn profile(
    provider: Provider,
    scope: Option<Scope>,
    hosts: &'static [&'static str],
    headers: &'static [&'static str],
) -> Profile {
    Profile {
        provider,
        scope,
        hosts,
        headers,
        windows: MINUTE,
        only: None,
    }
}

/// Ordered by the precedence of their headers. The headers of a proxy count before those that it passes on.
#[rustfmt::skip]
static PROFILES: &[Profile] = &[
    profile(Provider::LiteLlm, None, &[], &["x-litellm-", "llm_provider-"]),
    profile(Provider::GitHubModels, Some(Scope::AccountModel),
        &["models.github.ai", "models.inference.ai.azure.com"], &["x-ratelimit-timeremaining"]),
    profile(Provider::Azure, Some(Scope::AccountModel),
        &["openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com", "azure-api.net",
            "models.ai.azure.com"],
        &["x-ratelimit-renewalperiod-", "apim-", "azureml-", "x-ms-", "policy-id"]),
    profile(Provider::Anthropic, Some(Scope::AccountModel), &["api.anthropic.com"], &["anthropic-"]),
    profile(Provider::Gemini, Some(Scope::ProjectModel), &["googleapis.com"], &[]),
    profile(Provider::Bedrock, Some(Scope::AccountModel), &["amazonaws.com"], &["x-amzn-"]),
    Profile {
        windows: [Some(Window::Day), Some(Window::Minute)],
        ..profile(Provider::Groq, Some(Scope::AccountModel), &["api.groq.com"], &["x-groq-"])
    },
    profile(Provider::Mistral, Some(Scope::AccountModel), &["mistral.ai"],
        &["mistral-", "x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute"]),
    profile(Provider::DeepSeek, Some(Scope::AccountModel), &["api.deepseek.com"], &[]),
    Profile {
        windows: [None, None],
        ..profile(Provider::OpenRouter, Some(Scope::Model), &["openrouter.ai"], &[])
    },
    Profile {
        windows: [Some(Window::Second); 2],
        ..profile(Provider::Together, Some(Scope::AccountModel), &["together.xyz", "together.ai"],
            &["x-tokenlimit-"])
    },
    profile(Provider::Fireworks, Some(Scope::AccountModel), &["fireworks.ai"],
        &["fireworks-", "x-ratelimit-over-limit"]),
    profile(Provider::Xai, Some(Scope::AccountModel), &["x.ai"], &[]),
    profile(Provider::Cohere, Some(Scope::Account), &["cohere.com", "cohere.ai"],
        &["x-trial-endpoint-call-", "x-endpoint-monthly-call-"]),
    profile(Provider::Perplexity, Some(Scope::Account), &["api.perplexity.ai"], &[]),
    profile(Provider::Cerebras, Some(Scope::AccountModel), &["api.cerebras.ai"], &[]),
    Profile {
        only: Some((Dimension::Requests, Window::Minute)),
        ..profile(Provider::Nvidia, Some(Scope::Account), &["api.nvidia.com"], &[])
    },
    profile(Provider::HuggingFace, Some(Scope::Account), &["huggingface.co"], &["x-error-message"]),
    profile(Provider::Cloudflare, Some(Scope::Account), &["api.cloudflare.com"], &[]),
    profile(Provider::DashScope, Some(Scope::AccountModel), &["aliyuncs.com"], &[]),
    // The documents contradict each other about whether limits belong to an account or to each model.
    profile(Provider::Zai, None, &["api.z.ai", "bigmodel.cn"], &[]),
    profile(Provider::MiniMax, None, &["minimax.io", "minimaxi.com", "minimax.chat"], &[]),
    profile(Provider::Baidu, None, &["baidubce.com"], &[]),
    profile(Provider::OpenAi, Some(Scope::AccountModel), &["api.openai.com"], &["openai-"]),
];

/// All hosts, with their provider.
static HOSTS: LazyLock<Vec<(&str, Provider)>> = LazyLock::new(|| {
    let hosts = PROFILES
        .iter()
        .flat_map(|profile| profile.hosts.iter().map(|host| (*host, profile.provider)));
    hosts.collect()
});

/// All prefixes of headers in alphabetical order, with the place of their profile. No prefix begins with
/// another, so a name can only begin with the last one that sorts before it.
static PREFIXES: LazyLock<Vec<(&str, usize)>> = LazyLock::new(|| {
    let profiles = PROFILES.iter().enumerate();
    let prefixes =
        profiles.flat_map(|(at, profile)| profile.headers.iter().map(move |it| (*it, at)));
    let mut prefixes: Vec<_> = prefixes.collect();
    prefixes.sort_unstable();
    prefixes
});

// === impl Provider ===

impl Provider {
    /// Returns the provider of a host name, or else of the headers of its response.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tower_429::rejection::Provider;
    ///
    /// let mut headers = HeaderMap::new();
    /// assert_eq!(Provider::guess(Some("api.groq.com"), &headers), Provider::Groq);
    /// assert_eq!(Provider::guess(None, &headers), Provider::Generic);
    /// headers.insert("apim-request-id", "0".parse()?);
    /// assert_eq!(Provider::guess(None, &headers), Provider::Azure);
    /// # Ok::<(), http::header::InvalidHeaderValue>(())
    /// ```
    pub fn guess(host: Option<&str>, headers: &HeaderMap) -> Self {
        host.and_then(Self::of_host)
            .or_else(|| Self::of_headers(headers))
            .unwrap_or_default()
    }

    fn of_host(host: &str) -> Option<Self> {
        let host = host.split(':').next().unwrap_or(host);
        let is_under = |name: &str| {
            let parts = host.split_at_checked(host.len() - name.len());
            parts.is_some_and(|(before, end)| {
                let is_whole = before.is_empty() || before.ends_with(['.', '-']);
                is_whole && end.eq_ignore_ascii_case(name)
            })
        };
        let bytes = host.as_bytes();
        let (_, provider) = HOSTS.iter().find(|(name, _)| {
            // Nearly every name fails the first check.
            let start = bytes.len().wrapping_sub(name.len());
            let first = bytes.get(start).map(u8::to_ascii_lowercase);
            first == name.bytes().next() && is_under(name)
        })?;
        Some(*provider)
    }

    fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let place = |name: &str| {
            let behind = PREFIXES.partition_point(|(prefix, _)| *prefix <= name);
            let (prefix, place) = PREFIXES.get(behind.checked_sub(1)?)?;
            name.starts_with(prefix).then_some(*place)
        };
        let places = headers.keys().filter_map(|name| place(name.as_str()));
        places.min().map(|place| PROFILES[place].provider)
    }

    fn profile(self) -> Option<&'static Profile> {
        PROFILES.iter().find(|profile| profile.provider == self)
    }

    /// Returns what this provider's rate limits belong to.
    pub(crate) fn scope(self) -> Option<Scope> {
        self.profile()?.scope
    }

    /// Returns the limit that a rejection means if it names none.
    pub(crate) fn only_limit(self) -> Option<(Dimension, Window)> {
        self.profile()?.only
    }

    /// Whether it sends a 200 whose JSON has an error behind other keys.
    pub(crate) fn has_errors_in_successes(self) -> bool {
        matches!(self, Self::MiniMax | Self::Baidu)
    }

    /// Whether the body of its 429 says what kind of limit it is, or how long to wait, and the head may not.
    ///
    /// The body of NVIDIA says nothing either, and of Perplexity's none is known.
    pub(crate) fn explains_in_body(self) -> bool {
        matches!(
            self,
            Self::OpenAi
                | Self::Gemini
                | Self::Bedrock
                | Self::DeepSeek
                | Self::Xai
                | Self::Cohere
                | Self::Cloudflare
                | Self::DashScope
                | Self::Zai
                | Self::MiniMax
                | Self::Baidu
        )
    }

    /// Returns the time over which a limit counts if its name does not say so.
    pub(crate) fn window(self, dimension: Dimension) -> Option<Window> {
        // Providers that use OpenAI's names mean minutes; only Groq is known not to.
        let [requests, tokens] = self.profile().map_or(MINUTE, |profile| profile.windows);
        match dimension {
            Dimension::Requests => requests,
            Dimension::Tokens | Dimension::InputTokens | Dimension::OutputTokens => tokens,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn host_is_matched_at_the_end_of_its_name() {
        let table = [
            ("api.openai.com", Provider::OpenAi),
            ("API.OpenAI.com:443", Provider::OpenAi),
            ("my-resource.openai.azure.com", Provider::Azure),
            ("us-central1-aiplatform.googleapis.com", Provider::Gemini),
            ("bedrock-runtime.eu-west-1.amazonaws.com", Provider::Bedrock),
            ("integrate.api.nvidia.com", Provider::Nvidia),
            ("router.huggingface.co", Provider::HuggingFace),
            ("api.x.ai", Provider::Xai),
            ("dashscope-intl.aliyuncs.com", Provider::DashScope),
            ("api.z.ai", Provider::Zai),
            ("open.bigmodel.cn", Provider::Zai),
            ("api.minimaxi.com", Provider::MiniMax),
            ("aip.baidubce.com", Provider::Baidu),
            ("notx.ai", Provider::Generic),
            ("api.openai.com.evil.example", Provider::Generic),
            ("éx.ai", Provider::Generic),
            ("", Provider::Generic),
        ];
        for (host, expected) in table {
            let guess = Provider::guess(Some(host), &HeaderMap::new());
            assert_eq!(guess, expected, "{host}");
        }
    }

    #[test]
    fn host_takes_precedence_over_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-groq-region", "eu".parse().unwrap());
        assert_eq!(
            Provider::guess(Some("api.openai.com"), &headers),
            Provider::OpenAi
        );
        assert_eq!(Provider::guess(Some("localhost"), &headers), Provider::Groq);
    }

    #[test]
    fn headers_of_a_proxy_take_precedence_over_those_of_a_profile() {
        for (prefix, place) in &*PREFIXES {
            let name: HeaderName = format!("{prefix}x").parse().unwrap();
            let mut headers = HeaderMap::from_iter([(name, HeaderValue::from_static("1"))]);
            headers.insert("date", HeaderValue::from_static("1"));
            let provider = PROFILES[*place].provider;
            assert_eq!(Provider::guess(None, &headers), provider, "{prefix}");
            headers.insert("x-litellm-version", HeaderValue::from_static("1"));
            assert_eq!(Provider::guess(None, &headers), Provider::LiteLlm);
        }
    }

    #[test]
    fn no_header_prefix_begins_with_another() {
        for pair in PREFIXES.windows(2) {
            assert!(!pair[1].0.starts_with(pair[0].0), "{pair:?}");
        }
    }

    #[test]
    fn every_provider_has_one_profile() {
        for (at, profile) in PROFILES.iter().enumerate() {
            let first = PROFILES.iter().position(|p| p.provider == profile.provider);
            assert_eq!(first, Some(at), "{:?}", profile.provider);
        }
    }
}
