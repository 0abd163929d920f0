//! Which provider's reading applies where a value alone is ambiguous.

use std::sync::LazyLock;

use http::HeaderMap;

use super::{Dimension, Scope, Window};

/// Whose answers are read.
///
/// Most of what a response says needs no provider: names, words and forms tell it. The provider adds
/// what no response says: over which time `x-ratelimit-remaining-requests` counts (a day at Groq, a
/// minute at OpenAI), and what a limit belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// No known provider: only what the response itself says.
    #[default]
    Generic,
    /// OpenAI.
    OpenAi,
    /// Azure OpenAI and Foundry, also behind API Management.
    Azure,
    /// Anthropic.
    Anthropic,
    /// Gemini and Vertex.
    Gemini,
    /// AWS Bedrock.
    Bedrock,
    /// Groq.
    Groq,
    /// Mistral.
    Mistral,
    /// DeepSeek.
    DeepSeek,
    /// OpenRouter.
    OpenRouter,
    /// Together.
    Together,
    /// Fireworks.
    Fireworks,
    /// xAI.
    Xai,
    /// Cohere.
    Cohere,
    /// Perplexity.
    Perplexity,
    /// Cerebras.
    Cerebras,
    /// NVIDIA NIM.
    Nvidia,
    /// Hugging Face's router and Hub.
    HuggingFace,
    /// GitHub Models, retired on 2026-07-30.
    GitHubModels,
    /// Cloudflare Workers AI.
    Cloudflare,
    /// A LiteLLM proxy.
    LiteLlm,
    /// Alibaba's DashScope (Model Studio, Bailian).
    DashScope,
    /// Z.ai and BigModel.
    Zai,
    /// MiniMax.
    MiniMax,
    /// Baidu's Qianfan.
    Baidu,
}

/// What a provider never says on the wire, and how to know it.
struct Profile {
    provider: Provider,
    /// The host itself, or the end of it after a dot.
    hosts: &'static [&'static str],
    /// How names begin that only this provider's responses carry.
    headers: &'static [&'static str],
    /// What its rate limits belong to.
    scope: Option<Scope>,
    /// Over which time its unnamed windows count: requests, tokens.
    windows: [Option<Window>; 2],
    /// The one limit that it has, where its answers name none.
    only: Option<(Dimension, Window)>,
}

const MINUTE: [Option<Window>; 2] = [Some(Window::Minute), Some(Window::Minute)];

const fn profile(
    provider: Provider,
    hosts: &'static [&'static str],
    headers: &'static [&'static str],
    scope: Option<Scope>,
) -> Profile {
    Profile {
        provider,
        hosts,
        headers,
        scope,
        windows: MINUTE,
        only: None,
    }
}

impl Profile {
    const fn counting(mut self, requests: Option<Window>, tokens: Option<Window>) -> Self {
        self.windows = [requests, tokens];
        self
    }

    const fn only(mut self, dimension: Dimension, window: Window) -> Self {
        self.only = Some((dimension, window));
        self
    }
}

/// In the order in which headers are asked: a proxy's own names stand before those that it passes on.
#[rustfmt::skip]
static PROFILES: &[Profile] = &[
    profile(Provider::LiteLlm, &[], &["x-litellm-", "llm_provider-"], None),
    profile(Provider::GitHubModels, &["models.github.ai", "models.inference.ai.azure.com"], &["x-ratelimit-timeremaining"], Some(Scope::AccountModel)),
    profile(Provider::Azure, &["openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com", "azure-api.net", "models.ai.azure.com"],
        &["x-ratelimit-renewalperiod-", "apim-", "azureml-", "x-ms-", "policy-id"], Some(Scope::AccountModel)),
    profile(Provider::Anthropic, &["api.anthropic.com"], &["anthropic-"], Some(Scope::AccountModel)),
    profile(Provider::Gemini, &["generativelanguage.googleapis.com", "aiplatform.googleapis.com", "cloudcode-pa.googleapis.com", "googleapis.com"], &[], Some(Scope::ProjectModel)),
    profile(Provider::Bedrock, &["amazonaws.com"], &["x-amzn-"], Some(Scope::AccountModel)),
    profile(Provider::Groq, &["api.groq.com"], &["x-groq-"], Some(Scope::AccountModel))
        .counting(Some(Window::Day), Some(Window::Minute)),
    profile(Provider::Mistral, &["mistral.ai"], &["mistral-", "x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute"], Some(Scope::AccountModel)),
    profile(Provider::DeepSeek, &["api.deepseek.com"], &[], Some(Scope::AccountModel)),
    profile(Provider::OpenRouter, &["openrouter.ai"], &[], Some(Scope::Model))
        .counting(None, None),
    profile(Provider::Together, &["together.xyz", "together.ai"], &["x-tokenlimit-"], Some(Scope::AccountModel))
        .counting(Some(Window::Second), Some(Window::Second)),
    profile(Provider::Fireworks, &["fireworks.ai"], &["fireworks-", "x-ratelimit-over-limit"], Some(Scope::AccountModel)),
    profile(Provider::Xai, &["x.ai"], &[], Some(Scope::AccountModel)),
    profile(Provider::Cohere, &["cohere.com", "cohere.ai"], &["x-trial-endpoint-call-", "x-endpoint-monthly-call-"], Some(Scope::Account)),
    profile(Provider::Perplexity, &["api.perplexity.ai"], &[], Some(Scope::Account)),
    profile(Provider::Cerebras, &["api.cerebras.ai"], &[], Some(Scope::AccountModel)),
    profile(Provider::Nvidia, &["api.nvidia.com"], &[], Some(Scope::Account))
        .only(Dimension::Requests, Window::Minute),
    profile(Provider::HuggingFace, &["huggingface.co"], &["x-error-message"], Some(Scope::Account)),
    profile(Provider::Cloudflare, &["api.cloudflare.com"], &[], Some(Scope::Account)),
    profile(Provider::DashScope, &["aliyuncs.com"], &[], Some(Scope::AccountModel)),
    // Whether its limits belong to an account or to each of its models, the documents contradict.
    profile(Provider::Zai, &["api.z.ai", "bigmodel.cn"], &[], None),
    profile(Provider::MiniMax, &["minimax.io", "minimaxi.com", "minimax.chat"], &[], None),
    profile(Provider::Baidu, &["baidubce.com"], &[], None),
    profile(Provider::OpenAi, &["api.openai.com"], &["openai-"], Some(Scope::AccountModel)),
];

/// How the names of headers begin that only one provider sends, in the order of the alphabet, and the place
/// of its profile. None begins with another, so a name can begin only with the last that is not behind it.
static BEGINNINGS: LazyLock<Vec<(&str, usize)>> = LazyLock::new(|| {
    let profiles = PROFILES.iter().enumerate();
    let beginnings = profiles.flat_map(|(place, profile)| {
        let beginnings = profile.headers.iter();
        beginnings.map(move |beginning| (*beginning, place))
    });
    let mut beginnings: Vec<_> = beginnings.collect();
    beginnings.sort_unstable();
    beginnings
});

// === impl Provider ===

impl Provider {
    /// The provider that a host name, or else the headers of its response, belong to.
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
        let is_under = |name: &&str| {
            let Some(start) = host.len().checked_sub(name.len()) else {
                return false;
            };
            let (before, end) = match host.split_at_checked(start) {
                Some(parts) => parts,
                None => return false,
            };
            end.eq_ignore_ascii_case(name) && (before.is_empty() || before.ends_with(['.', '-']))
        };
        PROFILES
            .iter()
            .find(|profile| profile.hosts.iter().any(is_under))
            .map(|profile| profile.provider)
    }

    fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let place = |name: &str| {
            let behind = BEGINNINGS.partition_point(|(beginning, _)| *beginning <= name);
            let (beginning, place) = BEGINNINGS.get(behind.checked_sub(1)?)?;
            name.starts_with(beginning).then_some(*place)
        };
        let places = headers.keys().filter_map(|name| place(name.as_str()));
        places.min().map(|place| PROFILES[place].provider)
    }

    fn profile(self) -> Option<&'static Profile> {
        PROFILES.iter().find(|profile| profile.provider == self)
    }

    /// What this provider's rate limits belong to.
    pub(super) fn scope(self) -> Option<Scope> {
        self.profile()?.scope
    }

    /// The limit that is meant if a rejection names none.
    pub(super) fn only_limit(self) -> Option<(Dimension, Window)> {
        self.profile()?.only
    }

    /// Whether it answers with a 200 whose JSON has its error behind other keys.
    pub(crate) fn has_errors_in_successes(self) -> bool {
        matches!(self, Self::MiniMax | Self::Baidu)
    }

    /// Over which time a limit counts whose name does not say so.
    pub(super) fn window(self, dimension: Dimension) -> Option<Window> {
        let [requests, tokens] = match self.profile() {
            Some(profile) => profile.windows,
            // Whoever imitates OpenAI's names means minutes; only Groq is known not to.
            None => MINUTE,
        };
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
    fn a_host_is_a_provider_only_at_the_end_of_its_name() {
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
    fn a_host_is_believed_before_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-groq-region", "eu".parse().unwrap());
        assert_eq!(
            Provider::guess(Some("api.openai.com"), &headers),
            Provider::OpenAi
        );
        assert_eq!(Provider::guess(Some("localhost"), &headers), Provider::Groq);
    }

    #[test]
    fn every_header_of_a_profile_tells_it_and_that_of_a_proxy_before_all() {
        for (beginning, place) in &*BEGINNINGS {
            let name: HeaderName = format!("{beginning}x").parse().unwrap();
            let mut headers = HeaderMap::from_iter([(name, HeaderValue::from_static("1"))]);
            headers.insert("date", HeaderValue::from_static("1"));
            let provider = PROFILES[*place].provider;
            assert_eq!(Provider::guess(None, &headers), provider, "{beginning}");
            headers.insert("x-litellm-version", HeaderValue::from_static("1"));
            assert_eq!(Provider::guess(None, &headers), Provider::LiteLlm);
        }
    }

    #[test]
    fn no_beginning_of_a_header_begins_with_another() {
        for pair in BEGINNINGS.windows(2) {
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
