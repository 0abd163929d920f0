//! The forms of an error inside a 200, and the remedies.

pub(crate) const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

/// What the layers should do, by the reason of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Rate limited: a wait, another key or another target.
    Limited(Option<u64>),
    /// Rate limited, and another key does not help.
    LimitedForAllKeys(Option<u64>),
    /// Overloaded: a wait or another target.
    Busy,
    /// Quota exhausted: another key or another target.
    Billing,
    /// Key rejected: another key.
    Key,
    /// No rejection: the caller gets the response.
    Nothing,
}

/// Streams and bodies that begin with an error: a name, the media type, the body, and the remedy.
pub(crate) const FORMS: &[(&str, &str, &str, Remedy)] = &[
    (
        "Anthropic, overloaded",
        "text/event-stream; charset=utf-8",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"overloaded_error\",\"message\":\"Overloaded\"},\"request_id\":\"req_1\"}\n\n",
        Remedy::Busy,
    ),
    (
        "Anthropic, limited, after a ping",
        SSE,
        "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"This request would exceed your organization's rate limit of 30,000 input tokens per minute.\"}}\n\n",
        Remedy::Limited(None),
    ),
    (
        "Anthropic, an error of its own",
        SSE,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal server error\"}}\n\n",
        Remedy::Nothing,
    ),
    (
        "OpenAI Responses, response.failed",
        SSE,
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Rate limit reached for gpt-5.1 in organization org-AAA on tokens per min (TPM): Limit 30000, Used 22999, Requested 12528. Please try again in 11.054s. Visit https://platform.openai.com/account/rate-limits to learn more.\"},\"output\":[]}}\n\n",
        Remedy::Limited(Some(11_054)),
    ),
    (
        "OpenAI Responses, response.failed without its name",
        SSE,
        "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_is_overloaded\",\"message\":\"Our servers are currently overloaded. Please try again later.\"}}}\n\n",
        Remedy::Busy,
    ),
    (
        "OpenAI Responses, error",
        SSE,
        "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"error\":{\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\",\"message\":\"You exceeded your current quota, please check your plan and billing details.\",\"param\":null}}\n\n",
        Remedy::Billing,
    ),
    (
        "OpenAI Responses, flat error",
        SSE,
        "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"Rate limit reached on requests per min (RPM). Please try again in 20s.\",\"param\":null,\"sequence_number\":1}\n\n",
        Remedy::Limited(Some(20_000)),
    ),
    (
        "OpenAI Responses, an error of the model",
        SSE,
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"An error occurred.\"}}}\n\n",
        Remedy::Nothing,
    ),
    (
        "OpenAI Chat",
        SSE,
        "data: {\"error\":{\"message\":\"Rate limit reached for o4-mini in organization org-AAA on tokens per min (TPM): Limit 200000, Used 198000, Requested 7247. Please try again in 1.574s.\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\n",
        Remedy::Limited(Some(1_574)),
    ),
    (
        "Azure, no capacity",
        SSE,
        "data: {\"error\":{\"type\":\"too_many_requests\",\"code\":\"no_capacity\",\"message\":\"The service is temporarily unable to process your request.\"}}\n\n",
        Remedy::Busy,
    ),
    (
        "Azure, its status as a code",
        SSE,
        "event: error\r\ndata: {\"error\":{\"code\":\"429\",\"message\":\"Requests have exceeded the token rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds.\"}}\r\n\r\n",
        Remedy::Limited(Some(7_000)),
    ),
    (
        "OpenRouter, limited, after comments",
        SSE,
        ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: {\"id\":\"gen-abc123\",\"object\":\"chat.completion.chunk\",\"created\":1234567890,\"model\":\"openai/gpt-4o\",\"provider\":\"openai\",\"error\":{\"code\":429,\"message\":\"Rate limit exceeded\",\"metadata\":{\"error_type\":\"rate_limit_exceeded\"}},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
        Remedy::LimitedForAllKeys(None),
    ),
    (
        "OpenRouter, unavailable",
        SSE,
        ": OPENROUTER PROCESSING\n\ndata: {\"id\":\"gen-1\",\"error\":{\"code\":502,\"message\":\"Provider disconnected\",\"metadata\":{\"error_type\":\"provider_unavailable\"}},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
        Remedy::Busy,
    ),
    (
        "OpenRouter, JSON",
        JSON,
        "{\"error\":{\"code\":502,\"message\":\"Provider returned error\",\"metadata\":{\"error_type\":\"provider_unavailable\"}}}",
        Remedy::Busy,
    ),
    (
        "OpenRouter, JSON, out of credits",
        "application/json; charset=utf-8",
        "\n         \n         {\"error\":{\"message\":\"Insufficient credits\",\"code\":402},\"user_id\":\"user_AAA\"}",
        Remedy::Billing,
    ),
    (
        "OpenRouter, JSON, a bad key",
        JSON,
        "{\"error\":{\"message\":\"User not found.\",\"code\":401}}",
        Remedy::Key,
    ),
    (
        "DeepSeek, after keep-alives",
        SSE,
        ": keep-alive\n\n: keep-alive\n\n\n\n: keep-alive\n\ndata: {\"error\":{\"message\":\"Your current concurrency is 26, which exceeds your concurrency limit of 25 based on your remaining balance.\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"invalid_request_error\"}}\n\n",
        Remedy::Limited(None),
    ),
    (
        "DeepSeek, JSON after empty lines",
        JSON,
        "\n\n\n\n{\"error\":{\"message\":\"Insufficient Balance\",\"type\":\"unknown_error\",\"param\":null,\"code\":\"invalid_request_error\"}}",
        Remedy::Billing,
    ),
    (
        "Gemini, SSE",
        SSE,
        "data: {\"error\": {\"code\": 503,\"message\": \"The model is overloaded. Please try again later.\",\"status\": \"UNAVAILABLE\"}}\r\n\r\n",
        Remedy::Busy,
    ),
    (
        "Gemini, an array",
        "application/json; charset=UTF-8",
        "[{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"Please retry in 44.09s.\",\n    \"status\": \"RESOURCE_EXHAUSTED\",\n    \"details\": [{\"@type\": \"type.googleapis.com/google.rpc.RetryInfo\", \"retryDelay\": \"44s\"}]\n  }\n}\n]",
        Remedy::Limited(Some(44_000)),
    ),
    (
        "an error that the end of the stream cuts off",
        SSE,
        "data: {\"error\":{\"code\":429,\"type\":\"rate_limit_error\",\"message\":\"Slow.\"}}",
        Remedy::Limited(None),
    ),
];

/// The exceptions with which a stream of Bedrock may begin.
pub(crate) const EXCEPTIONS: &[(&str, Remedy)] = &[
    ("throttlingException", Remedy::Limited(None)),
    ("serviceUnavailableException", Remedy::Busy),
    ("modelStreamErrorException", Remedy::Nothing),
];

// === impl Remedy ===

impl Remedy {
    /// Returns the hint, if Backoff should wait.
    pub(crate) fn waits(self) -> Option<Option<u64>> {
        match self {
            Self::Limited(hint) | Self::LimitedForAllKeys(hint) => Some(hint),
            Self::Busy => Some(None),
            Self::Billing | Self::Key | Self::Nothing => None,
        }
    }

    pub(crate) fn rotates(self) -> bool {
        matches!(self, Self::Limited(_) | Self::Billing | Self::Key)
    }

    pub(crate) fn falls_back(self) -> bool {
        !matches!(self, Self::Key | Self::Nothing)
    }
}
