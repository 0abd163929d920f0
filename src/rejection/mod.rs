//! Classify a response that reports "not now" or "not with this key".
//!
//! Status, headers and error body of a response, or one event of a stream, become a [`Rejection`]. It has the
//! reason, the delay, and what is known about the limit: its owner, what it counts, and over which time.
//! Everything here is pure and works without any layer:
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use tower_429::rejection::{Reason, Rejection, Window};
//!
//! let (head, body) = http::Response::builder()
//!     .status(429)
//!     .header("retry-after", "20")
//!     .body(r#"{"error": {"type": "rate_limit_error", "message": "50 requests per minute"}}"#)?
//!     .into_parts();
//! let rejection = Rejection::from_parts(&head, body.as_bytes(), SystemTime::now()).unwrap();
//! assert_eq!(rejection.reason, Reason::RateLimited);
//! assert_eq!(rejection.window, Some(Window::Minute));
//! assert_eq!(rejection.retry_after, Some(Duration::from_secs(20)));
//! assert!(rejection.time_helps() && rejection.another_key_helps());
//! # Ok::<(), http::Error>(())
//! ```
//!
//! | to read | use |
//! |---|---|
//! | a head alone | [`Rejection::from_head`] |
//! | a head and its error body | [`Rejection::from_parts`] |
//! | an event of a stream that began as a success | [`Rejection::from_event`] |
//! | the rate limits in the headers of any response | [`buckets`] |
//! | any of these, if the provider is known | [`Provider`] |
//!
//! # The rules
//!
//! 1. **The status is not the reason.** It is one signal among others, such as codes, types and sentences of
//!    the body. The signal with the highest precedence wins. The order is quota, key, size, overload, rate.
//! 2. **The window decides first, the delay second.** Gemini sends 22 s after the quota of a day is spent.
//!    Azure sends 86,400 s after a limit per minute is reached. [`time_helps`](Rejection::time_helps) says
//!    which of them a wait can end.
//! 3. **The first positive delay counts.** The order is: `retry-after-ms`, `x-ms-retry-after-ms`,
//!    `retry-after`, a field of the body (`retryDelay`, `quotaResetDelay`, `retry_after`,
//!    `resets_in_seconds`, `resets_at`), a sentence of the body ("try again in 6m0s"), the reset of an
//!    exhausted bucket, `RateLimit`, a reset that names no limit. Zero counts only if nothing is positive:
//!    Azure sends `retry-after-ms: 0` next to `retry-after: 1`.
//! 4. **Never early.** Every delay is rounded up to the millisecond. If there are two in the same place, the
//!    longer counts, also if a proxy has joined them with commas. If a `retry-after` has only the whole
//!    seconds of a delay in the body, the delay in the body counts.
//! 5. **A value that cannot be read counts as not sent.** Such a value is negative, infinite, in exponential
//!    form, longer than 366 days, or a date without a zone. Only the head counts if the body is compressed,
//!    cut off, nested deeper than 128 levels, longer than 64 KiB, or in none of the
//!    [forms](#what-the-fields-come-in) below.
//! 6. **A date is measured against the response's own `Date`**, so a skewed clock does not matter.
//! 7. **Only a bucket that rejected gives its reset.** It is exhausted if its `remaining` is 0, its status is
//!    `rejected`, or all of it is used. A `remaining` that is negative or cannot be read is unknown. If no
//!    bucket is reported as exhausted, a bucket that reports only a reset may have rejected.
//! 8. **A numeric code belongs to a provider.** It counts if the host or the shape of the body identifies
//!    that provider. Such shapes are `base_resp`, `error_code` beside `error_msg`, and four digits beside
//!    only a message.
//! 9. **A plan's window is longer than a call can wait.** Such windows are five hours, a session, a week and
//!    a billing cycle. They are read from words, digits and codes, in English and Chinese.
//! 10. **A number belongs to the limit beside it.** [`Rejection::numbers`] has those of the limit that rejected:
//!     "Limit 3, Used 3, Requested 1", "current: 1410, limit: 100", "(actual/limit): 2/2", "rate limit of 30,000
//!     input tokens per minute", "maximum of 2 concurrent requests", `quotaValue`. If a message names several
//!     limits and only one of them is used up, that one rejected.
//! 11. **Requests in flight have no window.** Such a rejection has [`Dimension::Concurrency`], also if a delay
//!     is beside it.
//!
//! # Without a body
//!
//! | status | reason | source |
//! |---|---|---|
//! | 429 | [`RateLimited`](Reason::RateLimited) | RFC 6585, section 4 |
//! | 402 | [`QuotaExhausted`](Reason::QuotaExhausted) | Anthropic `billing_error`, DeepSeek "Insufficient Balance", OpenRouter credits |
//! | 401 | [`KeyRejected`](Reason::KeyRejected) | RFC 9110, section 15.5.2 |
//! | 413 | [`TooLarge`](Reason::TooLarge) | RFC 9110, section 15.5.14; Groq |
//! | 498, 503, 529 | [`Overloaded`](Reason::Overloaded) | Groq flex capacity; RFC 9110, section 15.6.4; Anthropic |
//!
//! No other status is a rejection by itself, not even 403: only the body or `x-amzn-errortype` makes it one.
//!
//! # What providers send
//!
//! Collected from documentation, issue threads and client sources between 2023 and October 2026;
//! `repo#1` is a public issue. Each line is tested (`tests/data/`).
//!
//! ## Rejections whose status misleads
//!
//! | provider | response | meaning | source |
//! |---|---|---|---|
//! | OpenAI | 429, type `insufficient_quota` with any code or none; code `billing_hard_limit_reached` | quota of the account, or of the project with `project_spend_limit_exceeded` | NextChat#3123, help.openai.com 6614457 |
//! | OpenAI, Groq | 429 or 413 `rate_limit_exceeded`, "Request too large" | too large | shell_gpt#653, ha-groq#27 |
//! | OpenAI | 429 `slow_down`, formerly 503 | rate; another key does not help | developersdigest.tech, 2026 |
//! | Azure | 429 `no_capacity` | overload | learn.microsoft.com |
//! | Azure | 429, "token rate limit", `retry-after: 86400` | rate per minute, even with such a delay | azure-sdk-for-java#42696 |
//! | Azure API Management | 403 "Out of call volume quota. Quota will be replenished in 00:30:02." | quota of the key | learn.microsoft.com |
//! | Anthropic | 400 "Your credit balance is too low", "reached your specified API usage limits" | quota, of the workspace if it is named | claude-code#66314, #2127 |
//! | Anthropic | 429 "This request would exceed your account's rate limit" | rate of the account, or with its number ("rate limit of 30,000") of a model | claude-code#41956, #59993 |
//! | Anthropic | 429 "Extra usage is required for long context requests." | too large: neither time nor a key helps | claude-code#50784 |
//! | Anthropic | 429 without `retry-after`, `enforced_spend_limit_reached` | quota, with a date in [`available_at`](Rejection::available_at) | platform.claude.com api/errors, 2026 |
//! | Anthropic, Groq | 400 "This organization has been disabled.", `organization_restricted` | key rejected | claude-code#19028 |
//! | Anthropic | its OpenAI endpoint: 429, type and code swapped | rate | OpenManus#746, 2025 |
//! | Anthropic, NVIDIA, Bedrock, Gemini | 403 `permission_error`, "Authorization failed", `UnrecognizedClientException`, "reported as leaked" | key rejected | platform.claude.com, AWS, continue#10513 |
//! | OpenAI, Google, Azure, Hugging Face | 401 or 403, "Missing scopes: api.model.read", `ACCESS_TOKEN_SCOPE_INSUFFICIENT`, "lacks the required data action" | key rejected, for this request ([`Scope::Request`]) | platform.openai.com, cloud.google.com, learn.microsoft.com |
//! | Bedrock, OpenAI, LiteLLM, Anthropic | 401 or 403, "You don't have access to the model", `team_model_access_denied`, 403 `model_not_found` | key rejected, for this model | AWS, platform.openai.com, docs.litellm.ai |
//! | Gemini | 429, `quotaId` with `PerDay`, `retryDelay` of seconds or hours | rate per day | gemini-cli, 2025 to 2026 |
//! | Gemini | 429, "exceeded your current quota", the sentence of OpenAI's billing | rate, by its `quotaId` | Roo-Code#3883, 2025 |
//! | Gemini | 429, `quotaValue` or `limit:` 0 | quota: this plan contains only other models | continue#9570 |
//! | Gemini, xAI | 400 `API_KEY_INVALID`, "Incorrect API key provided" | key rejected | continue#10530, #11412 |
//! | Gemini Code Assist | 429, reason `MODEL_CAPACITY_EXHAUSTED`; `QUOTA_EXHAUSTED`, `INSUFFICIENT_G1_CREDITS_BALANCE` | overload; quota; another key does not help | gemini-cli, gcli2api#416 |
//! | Vertex | 429 "Resource exhausted. Please try again later." | rate of a pool that all projects share; another key does not help | gemini-cli#14831 |
//! | Bedrock | 429 `ModelNotReadyException`; 400 `ServiceQuotaExceededException` | overload; quota | AWS API reference |
//! | AWS | 503 `SlowDown`, `RequestLimitExceeded`, `Throttling` | rate | AWS SDK retry behavior |
//! | Bedrock | 429 "Too many tokens per day" | rate per day | agent-book#29 |
//! | Mistral | 429 or 503, code `3505`, "Service tier capacity exceeded" | overload | continue#6185 |
//! | Mistral | 429, `x-ratelimit-limit-req-minute: 0` | quota: not part of this plan | client-ts#169 |
//! | DeepSeek | 429, code `invalid_request_error`, "concurrency limit of 25 based on your remaining balance" | rate, concurrency | api-docs.deepseek.com, jobfetcher#42 |
//! | Anthropic | 429 "Number of concurrent connections has exceeded your rate limit" | rate, concurrency | anthropic-sdk-python#496 |
//! | Moonshot | 429 "reached max organization concurrency: 1, please try again after 1 seconds" | rate, concurrency of the account | kimi-cc#16 |
//! | Ollama | 429 "too many concurrent requests", "timed out waiting for a concurrent request slot" | rate, concurrency | ThrillhouseBot#838 |
//! | Ollama | 503 "maximum pending requests exceeded" | overload | ollama#4159 |
//! | ElevenLabs | 429 `too_many_concurrent_requests`, "a maximum of 2 concurrent requests" | rate, concurrency | help.elevenlabs.io, open-notebook#103 |
//! | CloudBase | `EXCEED_CONCURRENT_REQUEST_LIMIT` | rate, concurrency | docs.cloudbase.net |
//! | CoreWeave, W&B | 429 "Concurrency limit reached for requests" | rate, concurrency | docs.coreweave.com |
//! | LiteLLM | 429 "Limit type: max_parallel_requests. Current limit: 2"; "Crossed TPM / RPM / Max Parallel Request Limit" | rate, concurrency; the limit whose numbers reached it | litellm#14736, #13898 |
//! | OpenRouter | 429 "free-models-per-min", "free-models-per-day" | rate per minute or day; another key does not help | OpenRouterTeam/docs limits.mdx, 2026 |
//! | OpenRouter | 403 "Key limit exceeded" | quota of the key | inspector#1287 |
//! | OpenRouter | 402 "Prompt tokens limit exceeded: 69120 > 36608" | quota; a cheaper model or a shorter prompt passes | continue#10962 |
//! | OpenRouter | 402 `openrouter_in_flight_budget` | quota; time helps | errors-and-debugging.mdx, 2026 |
//! | Together | 403 "prompt is too long" | too large | docs.together.ai error codes |
//! | Fireworks | 412 "Account is suspended" | quota | docs.fireworks.ai |
//! | Fireworks | 429 "first token before the given deadline" | overload | llxprt-code#144 |
//! | xAI | 429 (until early 2026) or 403, "used all available credits", with the code of a rate limit | quota | continue#10373, koan#2412 |
//! | Cohere | 429 "1000 API calls / month" | quota | developer-experience#175 |
//! | Perplexity | 401 | key rejected; also documented for empty credits | docs.perplexity.ai |
//! | Cerebras | 429 `queue_exceeded` | overload | grammar-nazi-bot#954 |
//! | Cloudflare | 429, code 3040; 3036 or 4006 | overload; neurons per day | developers.cloudflare.com, OmniRoute#6980 |
//! | GitHub Models, until 2026-07-30 | 429 `RateLimitReached`, "50 per 86400s exceeded for UserByModelByDay" | rate per day | freecode, measured |
//! | LiteLLM | 400 until 2026, 429 since, `budget_exceeded` | quota of the key | litellm#37000 |
//! | LiteLLM | `budget_exceeded`, "exceeded budget for model=", "Exceeded budget for deployment" | quota of that model: another model helps; of a deployment, for all keys | docs.litellm.ai, litellm#14144 |
//! | Codex | 429 `usage_limit_reached` | rate of the plan; the delay or the full window of `x-codex-*` shows its window | codex2api#9 |
//! | Copilot | 429 "You've hit your session rate limit", `user_weekly_rate_limited` | rate of the plan | copilot-cli#2696 |
//! | DashScope | 429 `insufficient_quota`, "exceeded your current quota" with a link to `error-code#token-limit`; `Throttling.AllocationQuota` | rate, tokens per minute unless the message names another | oh-my-pi#8476, opencode#23722, help.aliyun.com |
//! | DashScope | 429 `limit_requests`, `Throttling.RateQuota`, `Throttling.BurstRate` | rate, requests per minute | help.aliyun.com model-studio rate-limit |
//! | DashScope | 400 `Arrearage`; 403 `AllocationQuota.FreeTierOnly` | quota; of one model's free tier | supersonic#1572, help.aliyun.com |
//! | Kimi | 403 `access_terminated_error` or `permission_error`, "reached your weekly (7-day) usage limit", "for this billing cycle" | quota of the account | openclaw#142656, kimi-code#2121 |
//! | SiliconFlow | 403, "account balance is insufficient" | quota | docs.siliconflow.cn |
//! | MiniMax | 429 `rate_limit_error`, "5-hour usage limit reached" | rate of the plan | MiniMax-M2.7#36 |
//! | Ollama | 429 "reached your session usage limit", "weekly" | rate of the plan; a session is five hours | continue#10579, #11444 |
//! | Volcengine Ark | 429 `AccountQuotaExceeded`, "exceeded the 5-hour usage quota"; 403 `AccountOverdueError` | rate of the plan; quota | volcengine.com 82379/1299023 |
//! | Z.ai, BigModel | 429, code 1308 or 1310, "Usage limit reached for 5 hour", in English or Chinese | rate of the plan | model-hotel#955, gajae-code#1821 |
//! | Z.ai, BigModel | 429, code 1113; 1302, 1303; 1305, 1312 | quota; concurrency, requests; overload | docs.bigmodel.cn api-code |
//! | TGI | 429 "Model is overloaded" | overload | TGI OpenAPI |
//! | problem details | 429 or 503, type `#quota-exceeded`, `#temporary-reduced-capacity` | rate, not billing; overload | IETF draft, 2025-09 |
//!
//! ## Errors inside a success
//!
//! A response with a 200 may still be a rejection. [`Rejection::from_event`] and
//! [`InspectLayer::first_event`](crate::InspectLayer::first_event) read:
//!
//! | provider | form | source |
//! |---|---|---|
//! | Anthropic | `event: error`, `{"type":"error","error":{"type":"overloaded_error",..}}` | docs, streaming |
//! | OpenAI Responses | `event: response.failed` with `response.error.code`; `event: error` | codex, 2025 to 2026 |
//! | OpenAI Chat, Azure | `data: {"error":{"type":"tokens","code":"rate_limit_exceeded",..}}`, `no_capacity` | codex#88, learn.microsoft.com |
//! | OpenRouter | a chunk with `error` after `: OPENROUTER PROCESSING`; JSON `{"error":{"code":502,..}}` | errors-and-debugging.mdx, 2026 |
//! | Bedrock | a message with `:exception-type: throttlingException` | AWS API reference |
//! | DeepSeek | `: keep-alive` or empty lines before the event, for at most ten minutes | api-docs.deepseek.com |
//! | Gemini | `data: {"error":{..}}`, or `[{"error":{..}}]` | gemini-cli |
//! | DashScope | `event:error`, `:HTTP_STATUS/429`, `{"code":"Throttling..","message":".."}` | opencode#23722 |
//! | MiniMax | `base_resp.status_code` 1002 (requests), 1008 (balance), 1039 (tokens), 2056 (plan); 0 is none | platform.minimax.io errorcode, GoModel#640 |
//! | Baidu | `error_code` with `error_msg`: 4, 17 (day), 18 (second), 19 (total), 336501 and 336502 (minute) | cloud.baidu.com WENXINWORKSHOP |
//!
//! ## What the fields come in
//!
//! | form | source |
//! |---|---|
//! | JSON, in any nesting; behind a byte order mark, before NULs | proxies |
//! | JSON in GBK, Big5 or Latin-1: codes, numbers and ASCII are read, other letters and UTF-16 are not | proxies |
//! | one event as the body of an error: `event: error`, `data: {..}`; DashScope with `:HTTP_STATUS/429` | help.aliyun.com, DashScope API reference |
//! | XML of AWS: `<ErrorResponse><Error><Code>Throttling</Code>`, `<Error>`, `<Response><Errors>`; mostly under 400 | AWS, query protocol; botocore's list of throttling codes |
//! | JSON in a message, plain or as Python's `b'..'` (LiteLLM), or in `upstreamResponse`, `metadata.raw` | litellm#14736, claude-relay-service#746 |
//!
//! ## Where the delay is
//!
//! | provider | in | source |
//! |---|---|---|
//! | OpenAI | the message ("Please try again in 6m0s."); `retry-after-ms`, `retry-after` are often absent | ChatDev#26, openai-node#1477 |
//! | Azure | `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after`, the message ("Please retry after 3 seconds."); in 2023 `x-rate-limit-reset-tokens` | action-python#12, openai-python#937 |
//! | Anthropic | `retry-after`; before 2024 only `anthropic-ratelimit-*-reset` | sdk-typescript#357, #358 |
//! | Gemini | `RetryInfo.retryDelay`, `quotaResetDelay`, the message; never in a header | gemini-cli |
//! | Vertex | mostly nowhere | gemini-cli#14831 |
//! | Go gateways | `retry-after` with units (`.5s`, `1m30s`) | Go `time.Duration` |
//! | Groq | `retry-after`, whole seconds or `7.66`; the message | console.groq.com, eliza#4040 |
//! | OpenRouter | `retry-after`, `x-ratelimit-reset` in headers or in `error.metadata.headers` | limits.mdx, 2026 |
//! | Together | `x-ratelimit-reset` | docs.together.ai |
//! | OpenAI Codex | `resets_in_seconds`, `resets_at`; `x-codex-{primary,secondary}-reset-after-seconds` of the exhausted window | codex2api#9, 2026 |
//! | Replicate | `retry_after` beside the message | nodetool#5196, 2026 |
//! | Volcengine, MiniMax | the message ("reset at 2026-08-03 23:59:59 +0800 CST", "resets at 2026-05-15T15:00:00Z") | MiniMax-M2.7#36, 2026 |
//! | claude-relay-service | the fields of the upstream's response in `upstreamResponse` | claude-relay-service#746, 2025 |
//! | Cerebras, GitHub Models | `retry-after` | inference-docs.cerebras.ai |
//! | LiteLLM | the message ("Limit resets at: 2026-05-31 10:04:41 UTC", "Try again in 60 seconds"); `llm_provider-retry-after` | litellm#14736, #37754 |
//! | Hugging Face, IETF draft | `RateLimit` | huggingface.co/docs/hub, draft of 2025-09 |
//! | Mistral | nowhere; its window is the minute of the wall clock | cline#9085 |
//! | NVIDIA | nowhere; its window is a minute | free-claude-code#690 |
//! | Bedrock, DeepSeek, xAI, Cohere, Perplexity | nowhere | |
//!
//! ## Buckets, on successes too
//!
//! | provider | headers | windows | reset | source |
//! |---|---|---|---|---|
//! | OpenAI | `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, since 2026-06 `-project-tokens` | minute; `requests` may be a low limit per day | `6m0s` until *full* | developers.openai.com |
//! | Azure, GitHub Models | the same, and `x-ratelimit-renewalperiod-*` | that period | `12`, seconds | openai-dotnet#838 |
//! | Groq | the same as OpenAI | **requests per day**, tokens per minute | `2m59.56s` until *full* | console.groq.com |
//! | Anthropic | `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-*` | minute | `2025-06-02T15:15:48Z` | platform.claude.com |
//! | Anthropic subscriptions | `anthropic-ratelimit-unified-{5h,7d}-{status,reset,utilization}`, of all windows on every response; `-unified-{status,reset,representative-claim}` over all of them; `-unified-7d_opus-*` of one model | as named | epoch seconds | gajae-code#2444, opencodex#3809, 2026 |
//! | OpenAI Codex | `x-codex-{primary,secondary}-{used-percent,window-minutes,reset-after-seconds,reset-at}` | as named | seconds; epoch seconds | openai/codex |
//! | Mistral | `x-ratelimit-{limit,remaining}-{req,tokens}-minute`, `x-ratelimit-tokens-query-cost`, not on streams | minute of the wall clock | none | client-ts#169 |
//! | Cerebras | `x-ratelimit-*-{requests,tokens}-{minute,hour,day}`, not on rejections | as named | `33011.38`, seconds | inference-docs.cerebras.ai |
//! | Together | `x-ratelimit-*`, `x-tokenlimit-*` | second | `1`, seconds | docs.together.ai |
//! | OpenRouter | `x-ratelimit-*`, on rejections only | minute or day | epoch milliseconds | limits.mdx, 2026 |
//! | Fireworks | `x-ratelimit-{limit,remaining}-requests`, `x-ratelimit-limit-tokens-{prompt,generated}` | minute | none | docs.fireworks.ai |
//! | Cohere | `x-trial-endpoint-call-*` | minute | none | clients |
//! | LiteLLM | `x-ratelimit-*` of the virtual key; those of the upstream begin with `llm_provider-` and are not read | minute | none | docs.litellm.ai |
//! | DigitalOcean, GitHub's API | `x-ratelimit-*` | unknown | epoch seconds | clients |
//! | Hugging Face, IETF draft | `RateLimit`, `RateLimit-Policy` | `w` | `t`, seconds | huggingface.co/docs/hub, draft of 2025-09 |
//! | older IETF drafts | `RateLimit-{Limit,Remaining,Reset}` | unknown | seconds | drafts 00 to 06 |
//!
//! DeepSeek, Gemini, NVIDIA and OpenRouter's successes have none. One name can mean three things:
//! `x-ratelimit-reset-requests` belongs to a minute at OpenAI, has whole seconds at Azure, and belongs to a
//! day at Groq. `x-ratelimit-reset` is seconds at Together, epoch milliseconds at OpenRouter and epoch
//! seconds elsewhere. The value shows its own form, but only the [`Provider`] shows the window.
//!
//! # What a provider needs
//!
//! | provider | address | key in | model in |
//! |---|---|---|---|
//! | OpenAI | `https://api.openai.com/v1` | `authorization` | the body |
//! | Azure | `https://{resource}.openai.azure.com` | `api-key` | the path; `api-version` in the query |
//! | Anthropic | `https://api.anthropic.com` | `x-api-key`; the caller adds `anthropic-version` | the body |
//! | Gemini | `https://generativelanguage.googleapis.com` | `x-goog-api-key` | the path |
//! | Gemini, in OpenAI's format | `https://generativelanguage.googleapis.com/v1beta/openai` | `authorization` | the body |
//! | Bedrock | `https://bedrock-runtime.{region}.amazonaws.com` | a signature, made inside the layers; or an API key in `authorization` | the path |
//! | Groq | `https://api.groq.com/openai/v1` | `authorization` | the body |
//! | Mistral | `https://api.mistral.ai/v1` | `authorization` | the body |
//! | OpenRouter | `https://openrouter.ai/api/v1` | `authorization` | the body |
//! | DeepSeek | `https://api.deepseek.com` | `authorization` | the body |
//! | xAI | `https://api.x.ai/v1` | `authorization` | the body |
//!
//! A [`KeyPool`](crate::KeyPool) sends `authorization: Bearer` unless a header or a parameter is set. One
//! layer can have a pool for each provider:
//!
//! ```
//! use tower_429::{KeyPool, KeyRotationLayer};
//!
//! let openai = KeyPool::builder(["sk-one"]).for_origin("https://api.openai.com").build()?;
//! let anthropic = KeyPool::builder(["sk-ant-one"])
//!     .header("x-api-key")
//!     .for_origin("https://api.anthropic.com")
//!     .build()?;
//! let gemini = KeyPool::builder(["AIza-one"])
//!     .header("x-goog-api-key")
//!     .for_origin("https://generativelanguage.googleapis.com")
//!     .build()?;
//! let layer = KeyRotationLayer::new(openai).pool(anthropic).pool(gemini);
//! # Ok::<(), tower_429::key_rotation::PoolError>(())
//! ```
//!
//! Most providers count per organization or project, not per key. Declare keys that share a limit with
//! [`Key::group`](crate::key_rotation::Key::group). A limit then puts the whole group on cooldown, and no
//! request is wasted on its other keys. If no group is given, the pool groups keys whose responses name the
//! same account, as those of OpenAI and Anthropic do. It also groups keys whose remaining counts fall
//! together. [`KeyPool::snapshot`](crate::KeyPool::snapshot) shows for each key how its group is known.
//!
//! # What it costs
//!
//! The head of a success takes 9 ns. The search for buckets in twelve headers without any takes 130 ns and no
//! allocation. Six bucket headers of OpenAI take 0.7 µs, and the head of a 429 takes 5.3 µs. A 429 with a
//! body of 2 KiB takes 32 µs, a fifth of it for the JSON. These are the lowest medians of four runs on two
//! cores of a busy server, November 2026. `cargo bench --bench rejection` repeats them.

mod account;
mod bucket;
mod classify;
mod numbers;
mod parse;
mod provider;
mod read;
mod remedies;
mod signal;
mod tables;
mod types;

pub(crate) use self::{
    account::{NamedAccount, is_same_organization},
    parse::{
        framing::MAX_BODY_BYTES,
        retry_after::date,
        sse::{SseEvent, SseParser},
    },
};
pub use self::{
    bucket::{Bucket, buckets},
    numbers::LimitNumbers,
    provider::Provider,
    types::{Dimension, Reason, Rejection, Remedies, Scope, Window},
};
