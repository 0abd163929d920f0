//! The providers whose conventions are known.

/// The provider whose conventions apply to a response.
///
/// Most fields need no provider, because their names, words and forms are unambiguous. The provider adds two
/// facts that no response contains. One is the time over which `x-ratelimit-remaining-requests` counts (a day
/// at Groq, a minute at OpenAI). The other is what a limit belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// No known provider: only the response itself counts.
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
