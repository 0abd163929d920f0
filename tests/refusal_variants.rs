//! Answers that providers send in more than one wording, shape or place.

use std::time::{Duration, SystemTime};

use http::Response;
use tower_429::refusal::{Dimension, Reason, Refusal, Scope, Window};

/// 2026-05-31T10:04:00Z
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_221_840)
}

fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Refusal> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Refusal::from_parts(&head, body.as_bytes(), now())
}

/// Reason and hint, and whether time, another key and another model help.
fn short(refusal: Option<Refusal>) -> String {
    let Some(it) = refusal else {
        return "none".to_owned();
    };
    let mut line = format!("{:?}", it.reason);
    for word in [
        it.dimension.map(|it| format!("{it:?}")),
        it.window.map(|it| format!("{it:?}")),
        it.retry_after.map(|it| format!("{}ms", it.as_millis())),
    ] {
        line.extend(word.map(|word| format!(" {word}")));
    }
    for (helps, name) in [
        (it.time_helps(), "time"),
        (it.another_key_helps(), "key"),
        (it.another_model_helps(), "model"),
    ] {
        if helps {
            line.push_str(&format!(" +{name}"));
        }
    }
    line
}

/// Status, header lines, body, and what they mean in [`short`].
type Row = (u16, &'static str, &'static str, &'static str);

fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (status, headers, body, expected) in rows {
        let headers: Vec<_> = headers
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        let read = short(read(*status, &headers, body));
        if read != *expected {
            wrong.push(format!(
                "{status} {body}\n  read     {read}\n  expected {expected}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn openai() {
    check(&[
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for default-gpt-3.5-turbo in organization org-A on requests per min. Limit: 3 / min. Please try again in 20s. Contact us through our help center at help.openai.com if you continue to have issues.","type":"requests","param":null,"code":null}}"#,
            "RateLimited Requests Minute 20000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for gpt-4 in organization org-A on tokens_usage_based per min: Limit 10000, Used 9000, Requested 2000. Please try again in 6ms.","type":"tokens_usage_based","code":"rate_limit_exceeded"}}"#,
            "RateLimited Tokens Minute 6ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for o4-mini in organization org-A on requests per day (RPD): Limit 10, Used 10, Requested 1. Please try again in 2h24m0s.","type":"requests","code":"rate_limit_exceeded"}}"#,
            "RateLimited Requests Day 8640000ms +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for o4-mini in organization org-A on requests per day. Limit: 10000 / day. Please try again in 8.64s.","type":"requests"}}"#,
            "RateLimited Requests Day 8640ms +time +key +model",
        ),
        (
            429,
            "x-ratelimit-remaining-tokens: 0\nx-ratelimit-limit-tokens: 100\nx-ratelimit-reset-tokens: 6m0s",
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":null}}"#,
            "QuotaExhausted +key",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Request too large for gpt-4o in organization org-A on tokens per min (TPM): Limit 30000, Requested 31538. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
            "TooLarge Tokens Minute +model",
        ),
        (
            503,
            "",
            r#"{"error":{"message":"That model is currently overloaded with other requests. You can retry your request.","type":"server_error","code":null}}"#,
            "Overloaded +time +model",
        ),
        (
            503,
            "retry-after: 30",
            r#"{"error":{"message":"Our servers are currently overloaded.","type":"service_unavailable_error","code":"server_is_overloaded"}}"#,
            "Overloaded 30000ms +time +model",
        ),
        (
            403,
            "",
            r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#,
            "none",
        ),
        (
            400,
            "",
            r#"{"error":{"message":"max_tokens is too large: 100000. This model supports at most 4096 completion tokens.","type":"invalid_request_error","param":"max_tokens","code":null}}"#,
            "none",
        ),
        (
            400,
            "",
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            "none",
        ),
        (
            404,
            "",
            r#"{"error":{"message":"The model `gpt-9` does not exist or you do not have access to it.","type":"invalid_request_error","code":"model_not_found"}}"#,
            "none",
        ),
        (
            500,
            "",
            r#"{"error":{"message":"The server had an error while processing your request.","type":"server_error"}}"#,
            "none",
        ),
        (
            429,
            "retry-after: Sun, 31 May 2026 10:04:30 GMT",
            "",
            "RateLimited 30000ms +time +key +model",
        ),
    ]);
}

#[test]
fn azure() {
    check(&[
        (
            429,
            "",
            r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded the token rate limit of your current AIServices S0 pricing tier. Please retry after 1 second."}}"#,
            "RateLimited Tokens Minute 1000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"Your requests to gpt-4o have exceeded the token rate limit for your current AIServices S0 pricing tier. Please retry after 60 seconds."}}"#,
            "RateLimited Tokens Minute 60000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"type":"too_many_requests","code":"no_capacity","message":"The service is temporarily unable to process your request."}}"#,
            "Overloaded +time +model",
        ),
        (
            403,
            "",
            r#"{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 14.07:13:56."}"#,
            "QuotaExhausted 1235636000ms +key",
        ),
        (
            403,
            "",
            r#"{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 2.12 days."}"#,
            "QuotaExhausted +key",
        ),
        (
            429,
            "",
            r#"{"statusCode":429,"message":"Token limit is exceeded. Try again in 59 seconds."}"#,
            "RateLimited Tokens 59000ms +time +key +model",
        ),
        (
            429,
            "apim-request-id: x\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 12",
            "",
            "RateLimited Requests Minute 12000ms +time +key +model",
        ),
        (
            429,
            "retry-after-ms: 0\nx-ms-retry-after-ms: 700\nretry-after: 1",
            "",
            "RateLimited 700ms +time +key +model",
        ),
    ]);
}

#[test]
fn anthropic() {
    check(&[
        (
            400,
            "",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#,
            "QuotaExhausted +key",
        ),
        (
            400,
            "",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified workspace API usage limits. You will regain access on 2026-07-01 at 00:00 UTC."}}"#,
            "QuotaExhausted +key",
        ),
        (
            429,
            "",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"You have reached your API usage limits: your organization has crossed its monthly API usage threshold. You will regain access on 2026-06-01 at 00:00 UTC."}}"#,
            "QuotaExhausted Month +key",
        ),
        (
            429,
            "retry-after: 20",
            r#"{"error":{"code":"rate_limit_error","message":"This request would exceed your organization's rate limit of 50 requests per minute.","type":"invalid_request_error","param":null}}"#,
            "RateLimited Requests Minute 20000ms +time +key +model",
        ),
        (
            429,
            "anthropic-ratelimit-input-tokens-remaining: 0\nanthropic-ratelimit-input-tokens-reset: 2026-05-31T10:04:37Z\nanthropic-ratelimit-requests-remaining: 5\nanthropic-ratelimit-requests-reset: 2026-05-31T10:05:00Z",
            "",
            "RateLimited InputTokens Minute 37000ms +time +key +model",
        ),
        (
            429,
            "anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-5h-status: rejected\nanthropic-ratelimit-unified-5h-reset: 1780221900\nanthropic-ratelimit-unified-7d-status: allowed",
            "",
            "RateLimited Spend FiveHours 60000ms +time +key +model",
        ),
        (
            413,
            "",
            r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
            "TooLarge +model",
        ),
        (
            500,
            "",
            r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
            "none",
        ),
        (
            500,
            "",
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            "Overloaded +time +model",
        ),
        (
            400,
            "",
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            "none",
        ),
        (
            404,
            "",
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}"#,
            "none",
        ),
    ]);
}

#[test]
fn google() {
    check(&[
        (
            400,
            "",
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
            "KeyRejected +key",
        ),
        (
            400,
            "",
            r#"[{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}]"#,
            "KeyRejected +key",
        ),
        (
            400,
            "",
            r#"{"error":{"code":400,"message":"Request contains an invalid argument.","status":"INVALID_ARGUMENT"}}"#,
            "none",
        ),
        (
            503,
            "",
            r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#,
            "Overloaded +time +model",
        ),
        (
            503,
            "",
            r#"{"error":{"code":503,"message":"This model is currently experiencing high demand.","status":"UNAVAILABLE"}}"#,
            "Overloaded +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"Resource exhausted. Please try again later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.","status":"RESOURCE_EXHAUSTED"}}"#,
            "RateLimited +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"You have exhausted your capacity on this model. Your quota will reset after 2h7m3s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"QUOTA_EXHAUSTED","domain":"cloudcode-pa.googleapis.com","metadata":{"quotaResetDelay":"2h7m2.5s","model":"gemini-3-pro"}}]}}"#,
            "QuotaExhausted 7622500ms +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"Too fast.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","metadata":{"quotaResetDelay":"539.477544ms"}}]}}"#,
            "RateLimited 540ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-3-pro\nPlease retry in 34.07s.","status":"RESOURCE_EXHAUSTED"}}"#,
            "QuotaExhausted Requests 34070ms +key +model",
        ),
        (
            429,
            "",
            r#"[{"error":{"code":429,"message":"Quota exceeded for metric: generate_content_free_tier_requests, limit: 20, model: x\nPlease retry in 900.2ms.","status":"RESOURCE_EXHAUSTED"}}]"#,
            "RateLimited Requests 901ms +time +key +model",
        ),
        (
            403,
            "",
            r#"{"error":{"code":403,"message":"Generative Language API has not been used in project 1 before or it is disabled.","status":"PERMISSION_DENIED"}}"#,
            "KeyRejected +key",
        ),
    ]);
}

#[test]
fn bedrock() {
    check(&[
        (
            429,
            "x-amzn-errortype: ThrottlingException",
            r#"{"message":"Too many tokens per day, please wait before trying again."}"#,
            "RateLimited Tokens Day +key +model",
        ),
        (
            400,
            "",
            r#"{"__type":"com.amazon.coral.service#ThrottlingException","message":"Too many requests, please wait before trying again."}"#,
            "RateLimited Requests Minute +time +key +model",
        ),
        (
            429,
            "x-amzn-errortype: ModelNotReadyException:http://x/",
            r#"{"message":"The model is not ready for inference."}"#,
            "Overloaded +time +model",
        ),
        (
            503,
            "x-amzn-errortype: ServiceUnavailableException",
            r#"{"message":"Too many connections, please wait before trying again."}"#,
            "Overloaded +time +model",
        ),
        (
            403,
            "x-amzn-errortype: AccessDeniedException",
            r#"{"message":"You don't have access to the model with the specified model ID."}"#,
            "KeyRejected +key +model",
        ),
        (
            403,
            "",
            r#"{"__type":"InvalidClientTokenId","Message":"The security token included in the request is invalid"}"#,
            "KeyRejected +key",
        ),
        (
            400,
            "x-amzn-errortype: ValidationException",
            r#"{"message":"The provided model identifier is invalid."}"#,
            "none",
        ),
    ]);
}

#[test]
fn groq_mistral_deepseek() {
    check(&[
        (
            413,
            "retry-after: 7",
            r#"{"error":{"message":"Request too large for model `llama-3.1-8b-instant` in organization `org_A` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            "TooLarge Tokens Minute 7000ms +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for model `x` in organization `org_A` on input tokens per minute (ITPM): Limit 6000, Used 5034, Requested 1443. Please try again in 1m2.5s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            "RateLimited InputTokens Minute 62500ms +time +key +model",
        ),
        (
            429,
            "x-groq-region: x\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 1m26.4s",
            "",
            "RateLimited Requests Day 86400ms +key +model",
        ),
        (
            503,
            "",
            r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#,
            "Overloaded +time +key +model",
        ),
        (
            429,
            "",
            r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"invalid_request_error","param":null,"code":null}"#,
            "Overloaded +time +key +model",
        ),
        (401, "", r#"{"detail":"Unauthorized"}"#, "KeyRejected +key"),
        (
            401,
            "",
            r#"{"detail":"Invalid API Key"}"#,
            "KeyRejected +key",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Your current concurrency is 26, which exceeds your concurrency limit of 25 based on your remaining balance.","type":"rate_limit_error","param":null,"code":"invalid_request_error"}}"#,
            "RateLimited Concurrency +time +key +model",
        ),
        (
            402,
            "",
            r#"{"error":{"message":"Insufficient Balance"}}"#,
            "QuotaExhausted +key",
        ),
    ]);
}

#[test]
fn openrouter() {
    check(&[
        (
            429,
            "",
            r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"google/gemini-x:free is temporarily rate-limited upstream. Please retry shortly.","provider_name":"Google AI Studio"}},"user_id":"u"}"#,
            "RateLimited +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"{\"error\":{\"message\":\"Rate limit reached. Please try again in 3s.\"}}","provider_name":"X"}}}"#,
            "RateLimited 3000ms +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"headers":{"Retry-After":"7"},"provider_name":"X"}}}"#,
            "RateLimited 7000ms +time +model",
        ),
        (
            402,
            "",
            r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 1000.","code":402,"metadata":{"provider_name":null}}}"#,
            "QuotaExhausted +key +model",
        ),
        (
            403,
            "",
            r#"{"error":{"message":"Key limit exceeded (daily limit). Manage it using https://openrouter.ai/settings/keys","code":403}}"#,
            "QuotaExhausted Day +key",
        ),
        (
            403,
            "",
            r#"{"error":{"code":403,"message":"openai/gpt-5 requires moderation. Your input was flagged for \"x\".","metadata":{"reasons":["x"],"flagged_input":"y"}}}"#,
            "none",
        ),
        (
            401,
            "",
            r#"{"error":{"message":"User not found.","code":401}}"#,
            "KeyRejected +key",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-day-high-balance. ","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"1000","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1780272000000"},"provider_name":null}}}"#,
            "RateLimited Requests Day 50160000ms +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":"429","metadata":{"headers":{"X-RateLimit-Remaining":0,"X-RateLimit-Reset":1780221900000},"provider_name":null}}}"#,
            "RateLimited Requests Minute 60000ms +time +model",
        ),
        (
            200,
            "",
            r#"{"id":"gen-1","choices":[{"message":{"content":"Overloaded"}}]}"#,
            "none",
        ),
        (
            200,
            "",
            r#"{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}}}"#,
            "RateLimited +time +model",
        ),
    ]);
}

#[test]
fn the_others() {
    check(&[
        // Together
        (
            429,
            "x-ratelimit-reset: 2",
            r#"{"error":{"message":"...","type":"dynamic_token_limited"}}"#,
            "RateLimited Tokens Second +time +key +model",
        ),
        (
            403,
            "",
            r#"{"error":{"message":"Input validation error: prompt is too long","type":"invalid_request_error"}}"#,
            "TooLarge +model",
        ),
        (
            503,
            "",
            r#"{"error":{"message":"The server is overloaded","type":"overloaded"}}"#,
            "Overloaded +time +model",
        ),
        // Fireworks
        (
            429,
            "",
            r#"{"error":"Too Many Requests"}"#,
            "RateLimited +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Request didn't generate first token before the given deadline","code":"rate_limit"}}"#,
            "Overloaded +time +model",
        ),
        // xAI
        (
            429,
            "",
            r#"{"code":"resource-exhausted","error":"Too many requests for team 0 and model grok-4. Your team's rate limit is - Tokens per Minute (actual/limit): 16001/16000."}"#,
            "RateLimited Tokens Minute +time +key +model",
        ),
        (
            400,
            "",
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***yz."}"#,
            "KeyRejected +key",
        ),
        // Cohere
        (
            429,
            "",
            r#"{"message":"You are using a Trial key, which is limited to 20 API calls / minute. You can continue to use the Trial key for free."}"#,
            "RateLimited Requests Minute +time +key",
        ),
        // Cerebras
        (
            429,
            "retry-after: 12",
            r#"{"message":"Tokens per minute limit exceeded - too many tokens processed.","type":"too_many_tokens_error","param":"quota","code":"token_quota_exceeded"}"#,
            "RateLimited Tokens Minute 12000ms +time +key +model",
        ),
        // NVIDIA
        (
            402,
            "",
            r#"{"status":402,"title":"Payment Required","detail":"Cloud credits expired - Please contact NVIDIA representatives"}"#,
            "QuotaExhausted +key",
        ),
        // Cloudflare
        (
            429,
            "",
            r#"{"errors":[{"message":"AiError: you have used up your daily free allocation of 10,000 neurons","code":4006}],"success":false,"result":{},"messages":[]}"#,
            "RateLimited Neurons Day +key",
        ),
        // GitHub Models
        (
            429,
            "",
            r#"{"error":{"code":"RateLimitReached","message":"Rate limit of 2 per 0s exceeded for UserConcurrentRequests. Please wait 0 seconds before retrying."}}"#,
            "RateLimited Concurrency 0ms +time +key",
        ),
        (
            429,
            "x-ratelimit-type: UserByModelByMinuteTokens\nx-ratelimit-timeremaining: 31",
            r#"{"error":{"code":"RateLimitReached","message":"Rate limit of 8000 per 60s exceeded for UserByModelByMinuteTokens."}}"#,
            "RateLimited Tokens Minute 31000ms +time +key +model",
        ),
        // LiteLLM
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit exceeded for api_key: 88dc. Limit type: requests. Current limit: 1, Remaining: 0. Limit resets at: 2026-05-31 10:04:41 UTC","type":"None","param":"None","code":"429"}}"#,
            "RateLimited Requests Minute 41000ms +time +key +model",
        ),
        (
            500,
            "",
            r#"{"error":{"message":"litellm.RateLimitError: RateLimitError: VertexAIException - {\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"Quota.\"}}","type":null,"code":"500"}}"#,
            "RateLimited +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"litellm.RateLimitError: OpenAIException - You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.","type":"throttling_error","code":"429"}}"#,
            "QuotaExhausted +key",
        ),
        (
            403,
            "",
            r#"{"error":"This authentication method does not have sufficient permissions to call Inference Providers"}"#,
            "KeyRejected +key",
        ),
        (403, "", r#"{"status":403,"error":"Forbidden"}"#, "none"),
        (
            400,
            "",
            r#"{"error":"insufficient_quota","message":"No."}"#,
            "QuotaExhausted +key",
        ),
        // TGI, vLLM
        (
            429,
            "",
            r#"{"error":"Model is overloaded","error_type":"overloaded"}"#,
            "Overloaded +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Too many requests waiting","type":"TooManyRequests","code":429}}"#,
            "Overloaded +time +model",
        ),
        // Moonshot, W&B
        (
            429,
            "",
            r#"{"error":{"message":"Your account org-1<ak-2> request reached organization max RPM: 3, please try again after 1 seconds","type":"rate_limit_reached_error"}}"#,
            "RateLimited Requests Minute 1000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Concurrency limit reached for requests"}}"#,
            "RateLimited Concurrency +time +key +model",
        ),
        // Problem details
        (
            429,
            "",
            r#"{"type":"https://iana.org/assignments/http-problem-types#abnormal-usage-detected","title":"Request not satisfied due to detection of abnormal request pattern"}"#,
            "RateLimited +time +key +model",
        ),
        // The IETF's fields
        (
            429,
            "ratelimit: \"daily\";r=0;t=40000,\"burst\";r=7;t=3\nratelimit-policy: \"daily\";q=1000;w=86400, \"burst\";q=10;w=1",
            "",
            "RateLimited Requests Day 40000000ms +key +model",
        ),
        (
            429,
            "ratelimit-limit: 100, 100;w=60\nratelimit-remaining: 0\nratelimit-reset: 30",
            "",
            "RateLimited Requests 30000ms +time +key +model",
        ),
    ]);
}

#[test]
fn a_body_that_cannot_be_read_leaves_what_the_head_says() {
    let plain = "RateLimited 5000ms +time +key +model";
    let billing = r#"{"error":{"type":"insufficient_quota"}}"#;
    let deep = format!("{}{billing}{}", "[".repeat(200), "]".repeat(200));
    let large = format!("{billing}{}", " ".repeat(64 * 1024));
    let five = ("retry-after", "5");
    for (headers, body) in [
        (vec![five, ("content-encoding", "gzip")], billing),
        (vec![five, ("content-encoding", "identity, br")], billing),
        (
            vec![five],
            "<html><body>429 Too Many Requests: insufficient_quota</body></html>",
        ),
        (vec![five], &billing[..20]),
        (vec![five], &deep),
        (vec![five], &large),
        (vec![five], "null"),
        (vec![five], "[]"),
    ] {
        assert_eq!(short(read(429, &headers, body)), plain, "{headers:?}");
    }
    let identity = [five, ("content-encoding", "identity")];
    assert_eq!(
        short(read(429, &identity, billing)),
        "QuotaExhausted 5000ms +key"
    );
}

#[test]
fn events_say_the_same_as_responses() {
    let event = |name, data: &str| short(Refusal::from_event(name, data.as_bytes(), now()));
    let table = [
        (
            Some("response.failed"),
            r#"{"type":"response.failed","sequence_number":3,"response":{"id":"r","object":"response","status":"failed","error":{"code":"rate_limit_exceeded","message":"Rate limit reached for gpt-5.1 in organization org-A on tokens per min (TPM): Limit 30000, Used 22999, Requested 12528. Please try again in 11.054s."},"output":[]}}"#,
            "RateLimited Tokens Minute 11054ms +time +key +model",
        ),
        (
            None,
            r#"{"type":"error","code":"server_is_overloaded","message":"Busy.","param":null}"#,
            "Overloaded +time +model",
        ),
        (
            Some("error"),
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your rate limit of 5 requests per minute."}}"#,
            "RateLimited Requests Minute +time +key +model",
        ),
        (
            None,
            r#"{"error":{"type":"too_many_requests","code":"no_capacity","message":"x"}}"#,
            "Overloaded +time +model",
        ),
        (
            None,
            r#"[{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}]"#,
            "Overloaded +time +model",
        ),
        (
            None,
            r#"{"error":{"code":402,"message":"x"}}"#,
            "QuotaExhausted +key",
        ),
        (
            None,
            r#"{"error":{"message":"Something else","type":"server_error","code":null}}"#,
            "none",
        ),
        (
            None,
            r#"{"choices":[{"delta":{"content":"429 rate limit exceeded, insufficient_quota"}}]}"#,
            "none",
        ),
        (None, "[DONE]", "none"),
        (Some("error"), "", "none"),
        (
            Some("message_start"),
            r#"{"type":"message_start","message":{"content":[]}}"#,
            "none",
        ),
    ];
    for (name, data, expected) in table {
        assert_eq!(event(name, data), expected, "{data}");
    }
}

#[test]
fn a_date_far_away_is_told_as_a_date() {
    let body = r#"{"error":{"message":"You have reached your specified API usage limits. You will regain access on 2026-06-01 at 00:00 UTC."}}"#;
    let refusal = read(400, &[], body).unwrap();
    assert_eq!(refusal.retry_after, None);
    let in_june = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_272_000);
    assert_eq!(refusal.available_at, Some(in_june));
}

#[test]
fn scopes_are_told_where_the_answer_tells_them() {
    let scope = |status, body| read(status, &[], body).unwrap().scope;
    assert_eq!(
        scope(
            429,
            r#"{"error":{"type":"insufficient_quota","code":"project_spend_limit_exceeded","message":"Your project has reached its spend limit."}}"#
        ),
        Some(Scope::Project)
    );
    assert_eq!(
        scope(
            403,
            r#"{"error":{"message":"Key limit exceeded (total limit)"}}"#
        ),
        Some(Scope::Key)
    );
    assert_eq!(scope(429, ""), None);
    let refusal = read(429, &[("x-ratelimit-type", "Tokens")], "").unwrap();
    assert_eq!(
        (refusal.dimension, refusal.window),
        (Some(Dimension::Tokens), None)
    );
    assert_eq!(refusal.reason, Reason::RateLimited);
    assert!(Window::Hour < Window::Day && Window::FiveHours < Window::Day);
}
