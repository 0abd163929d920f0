//! Answers that providers send in more than one wording, shape or place.

use std::time::{Duration, SystemTime};

use http::Response;
use tower_429::rejection::{Dimension, Reason, Rejection, Scope, Window};

/// 2026-05-31T10:04:00Z
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_221_840)
}

fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Rejection> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Rejection::from_parts(&head, body.as_bytes(), now())
}

/// Reason and hint, and whether time, another key and another model help.
fn short(rejection: Option<Rejection>) -> String {
    let Some(it) = rejection else {
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
            401,
            "",
            r#"{"error":{"message":"OpenAI-Organization header should match organization for API key","type":"invalid_request_error","param":null,"code":"mismatched_organization"}}"#,
            "none",
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
            "RateLimited Spend FiveHours 60000ms +time +key",
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
            "RateLimited Tokens Second 2000ms +time +key +model",
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
            "RateLimited Requests Minute 1000ms +time +key",
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
fn openai_and_azure_in_other_words() {
    check(&[
        // 2023: no abbreviation, no organisation's id in the new form, a limit and its unit.
        (
            429,
            "x-ratelimit-reset-requests: 20s\nx-ratelimit-remaining-requests: 0\nx-ratelimit-limit-requests: 3",
            r#"{"error":{"message":"Rate limit reached for gpt-3.5-turbo in organization org-B on requests per min. Limit: 3 / min. Please try again in 20s.","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
            "RateLimited Requests Minute 20000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for gpt-4o-mini in organization org-B on tokens per day (TPD): Limit 2000000, Used 1999000, Requested 1300. Please try again in 12.96s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
            "RateLimited Tokens Day 12960ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for gpt-image-1 in organization org-B on input-images per min: Limit 5, Used 5, Requested 1. Please try again in 12s.","type":"input-images","param":null,"code":"rate_limit_exceeded"}}"#,
            "RateLimited Minute 12000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Request too large for gpt-4-turbo-preview in organization org-B on tokens per min (TPM): Limit 10000, Requested 12044. Visit https://platform.openai.com/account/rate-limits to learn more.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
            "TooLarge Tokens Minute +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            "QuotaExhausted +key",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#,
            "QuotaExhausted +key",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Your organization has reached its monthly spend limit.","type":"insufficient_quota","param":null,"code":"organization_spend_limit_exceeded"}}"#,
            "QuotaExhausted Month +key",
        ),
        // Before it was a 429.
        (
            503,
            "retry-after: 4",
            r#"{"error":{"message":"Slow down.","type":"service_unavailable_error","param":null,"code":"slow_down"}}"#,
            "Overloaded 4000ms +time +model",
        ),
        (
            401,
            "",
            r#"{"error":{"message":"You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.","type":"invalid_request_error","param":null,"code":null}}"#,
            "KeyRejected +key",
        ),
        (
            429,
            "Retry-After-Ms: 1234.5",
            r#"{"error":{"message":"Slower.","type":"rate_limit_error"}}"#,
            "RateLimited 1235ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":"429","message":"Requests to the Embeddings_Create Operation under Azure OpenAI API version 2024-02-01 have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 59 seconds. Please contact Azure support service if you would like to further increase the default rate limit."}}"#,
            "RateLimited Requests Minute 59000ms +time +key +model",
        ),
        (
            429,
            "x-ratelimit-remaining-tokens: -1\nx-ratelimit-reset-tokens: -1\nretry-after: 12\nx-ratelimit-renewalperiod-tokens: 60",
            r#"{"error":{"code":"RateLimitReached","message":"Your requests to gpt-5-mini for gpt-5-mini in East US have exceeded the token rate limit for your current AIServices S0 pricing tier."}}"#,
            "RateLimited Tokens Minute 12000ms +time +key +model",
        ),
        (
            429,
            "policy-id: DeploymentRatelimit-Request\nx-rate-limit-reset-requests: 9",
            r#"{"error":{"code":"429","message":"Rate limit is exceeded."}}"#,
            "RateLimited Requests Minute 9000ms +time +key +model",
        ),
        (
            403,
            "",
            r#"{ "statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 1.02:03:04." }"#,
            "QuotaExhausted 93784000ms +key",
        ),
        (
            401,
            "",
            r#"{"statusCode":401,"message":"Access denied due to missing subscription key. Make sure to include subscription key when making requests to an API."}"#,
            "KeyRejected +key",
        ),
    ]);
}

#[test]
fn anthropic_and_google_in_other_words() {
    check(&[
        (
            429,
            "retry-after: 16\nanthropic-ratelimit-requests-limit: 50\nanthropic-ratelimit-requests-remaining: 0\nanthropic-ratelimit-requests-reset: 2026-05-31T10:04:16Z\nanthropic-ratelimit-input-tokens-remaining: 30000",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed the rate limit for your organization (00000000-0000-0000-0000-000000000000) of 50 requests per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits."},"request_id":"req_B"}"#,
            "RateLimited Requests Minute 16000ms +time +key +model",
        ),
        (
            429,
            "retry-after: 41",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization’s rate limit of 400,000 input tokens per minute (org: 0, model: claude-opus-4-5). You can see the response headers for current usage."}}"#,
            "RateLimited InputTokens Minute 41000ms +time +key +model",
        ),
        (
            429,
            "retry-after: 3000",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Number of concurrent connections has exceeded your rate limit. Please try again later or contact sales."}}"#,
            "RateLimited Concurrency 3000000ms +time +key +model",
        ),
        (
            529,
            "x-should-retry: true",
            r#"{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded. https://docs.claude.com/en/api/errors"},"request_id":"req_B"}"#,
            "Overloaded +time +model",
        ),
        (
            401,
            "",
            r#"{"type":"error","error":{"type":"authentication_error","message":"OAuth token has expired. Please obtain a new token or refresh your existing token."}}"#,
            "KeyRejected +key",
        ),
        (
            403,
            "",
            r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}"#,
            "KeyRejected +key +model",
        ),
        (
            429,
            "anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-5h-status: rejected\nanthropic-ratelimit-unified-5h-reset: 1780232640",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Error"}}"#,
            "RateLimited Spend FiveHours 10800000ms +key",
        ),
        (
            429,
            "anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-reset: 1780221960\nanthropic-ratelimit-unified-representative-claim: seven_day\nanthropic-ratelimit-unified-7d-status: rejected\nanthropic-ratelimit-unified-7d-reset: 1780308240",
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"Error"}}"#,
            "RateLimited Spend Week 86400000ms +key",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"17.5s"},{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_requests","quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier","quotaValue":"5"}]}]}}"#,
            "RateLimited Requests Minute 17500ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_requests_per_model_per_day","quotaId":"GenerateRequestsPerDayPerProjectPerModel","quotaDimensions":{"model":"gemini-2.5-pro"},"quotaValue":"10000"}]}]}}"#,
            "RateLimited Requests Day +key +model",
        ),
        // Zero is the default of a number in proto3, and not sent.
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0\nPlease retry in 12.3s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_requests","quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"12s"}]}}"#,
            "QuotaExhausted Requests Day 12000ms +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}"#,
            "RateLimited +time +key +model",
        ),
        (
            400,
            "",
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}}]}}]"#,
            "KeyRejected +key",
        ),
        (
            403,
            "",
            r#"{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}"#,
            "KeyRejected +key",
        ),
        // Code Assist's users have no keys to change.
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"You have exhausted your capacity on this model. Your quota will reset after 3s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"cloudcode-pa.googleapis.com","metadata":{"quotaResetDelay":"2.84s","model":"gemini-2.5-pro"}}]}}"#,
            "RateLimited 2840ms +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"Out of G1 credits.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"INSUFFICIENT_G1_CREDITS_BALANCE","domain":"cloudcode-pa.googleapis.com"}]}}"#,
            "QuotaExhausted +model",
        ),
        (
            503,
            "",
            r#"{"error":{"code":503,"message":"No capacity available for model gemini-3-pro on the server","status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"MODEL_CAPACITY_EXHAUSTED","domain":"cloudcode-pa.googleapis.com"}]}}"#,
            "Overloaded +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"code":429,"message":"Quota exceeded for aiplatform.googleapis.com/online_prediction_input_tokens_per_minute_per_base_model with base model: anthropic-claude-sonnet-4. Please submit a quota increase request.","status":"RESOURCE_EXHAUSTED"}}"#,
            "RateLimited InputTokens Minute +time +key +model",
        ),
    ]);
}

#[test]
fn the_others_in_other_words() {
    check(&[
        // Bedrock
        (
            429,
            "",
            r#"{"message":"Too many tokens, please wait before trying again."}"#,
            "RateLimited Tokens Minute +time +key +model",
        ),
        (
            400,
            "x-amzn-errortype: ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
            r#"{"message":"Too many requests, please wait before trying again. You have sent too many requests.  Wait before trying again."}"#,
            "RateLimited Requests Minute +time +key +model",
        ),
        (
            403,
            "x-amzn-errortype: UnrecognizedClientException",
            r#"{"message":"The security token included in the request is invalid."}"#,
            "KeyRejected +key",
        ),
        (
            403,
            "x-amzn-errortype: ExpiredTokenException",
            r#"{"message":"The security token included in the request is expired"}"#,
            "KeyRejected +key",
        ),
        (
            503,
            "x-amzn-errortype: ServiceUnavailableException:http://internal.amazon.com/",
            r#"{"message":"Bedrock is unable to process your request."}"#,
            "Overloaded +time +model",
        ),
        // Groq
        (
            429,
            "retry-after: 7.66",
            r#"{"error":{"message":"Rate limit reached for model `openai/gpt-oss-120b` in organization `org_B` service tier `on_demand` on tokens per minute (TPM): Limit 8000, Used 7500, Requested 1521. Please try again in 7.6575s. Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing","type":"tokens","code":"rate_limit_exceeded"}}"#,
            "RateLimited Tokens Minute 7660ms +time +key +model",
        ),
        (
            429,
            "retry-after: 1211",
            r#"{"error":{"message":"Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_B` service tier `on_demand` on tokens per day (TPD): Limit 100000, Used 99780, Requested 1621. Please try again in 20m10.464s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            "RateLimited Tokens Day 1211000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit reached for model `x` in organization `org_B` on output tokens per minute (OTPM): Limit 6000, Used 5999, Requested 10. Please try again in 90ms.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            "RateLimited OutputTokens Minute 90ms +time +key +model",
        ),
        (
            498,
            "",
            r#"{"error":{"message":"Flex tier capacity exceeded.","type":"flex","code":"capacity_exceeded"}}"#,
            "Overloaded +time +model",
        ),
        (
            400,
            "",
            r#"{"error":{"message":"Organization has been restricted. Please reach out to support if you believe this was in error.","type":"invalid_request_error","code":"organization_restricted"}}"#,
            "KeyRejected +key",
        ),
        // Mistral
        (
            429,
            "x-ratelimit-limit-req-minute: 60\nx-ratelimit-remaining-req-minute: 0",
            r#"{"message":"Requests rate limit exceeded"}"#,
            "RateLimited Requests Minute +time +key +model",
        ),
        (
            401,
            "",
            r#"{"message":"Unauthorized","request_id":"1"}"#,
            "KeyRejected +key",
        ),
        // DeepSeek
        (
            503,
            "",
            r#"{"error":{"message":"Service is too busy. We advise users to temporarily switch to alternative LLM API service providers.","type":"service_unavailable_error","code":"service_unavailable_error"}}"#,
            "Overloaded +time +model",
        ),
        (
            401,
            "",
            r#"{"error":{"message":"Authentication Fails, Your api key: ****BBBB is invalid","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#,
            "KeyRejected +key",
        ),
        // OpenRouter, told from others by its words alone
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429}}"#,
            "RateLimited Requests Minute +time +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429}}"#,
            "RateLimited Requests Day +model",
        ),
        (
            402,
            "",
            r#"{"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits","code":402}}"#,
            "QuotaExhausted +key +model",
        ),
        (
            403,
            "",
            r#"{"error":{"message":"Key limit exceeded (weekly limit). Manage it using https://openrouter.ai/settings/keys","code":403},"user_id":"user_B"}"#,
            "QuotaExhausted Week +key",
        ),
        (
            503,
            "retry-after: 8",
            r#"{"error":{"code":503,"message":"No instances available","metadata":{"error_type":"provider_overloaded","provider_name":"X"}}}"#,
            "Overloaded 8000ms +time +model",
        ),
        // Together
        (
            429,
            "x-ratelimit-reset: 1.5",
            r#"{"error":{"message":"Token rate exceeded.","error_type":"dynamic_token_limited"}}"#,
            "RateLimited Tokens Second 1500ms +time +key +model",
        ),
        (
            402,
            "",
            r#"{"error":{"message":"Your account has reached its monthly spending limit.","type":"invalid_request_error"}}"#,
            "QuotaExhausted Month +key",
        ),
        // Fireworks
        (
            412,
            "",
            r#"{"error":{"message":"Account b is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices.","code":"PRECONDITION_FAILED"}}"#,
            "QuotaExhausted Month +key",
        ),
        (
            403,
            "",
            r#"{"error":{"code":"FORBIDDEN","message":"Not in scope."}}"#,
            "KeyRejected +key +model",
        ),
        // xAI
        (
            429,
            "",
            r#"{"code":"Some resource has been exhausted","error":"Too many requests for team 0b and model grok-4-fast. Your team's rate limit is - Requests per Second (actual/limit): 9/8, Requests per Minute (actual/limit): 12/480."}"#,
            "RateLimited Requests Second +time +key +model",
        ),
        (
            403,
            "",
            r#"{"code":"The caller does not have permission to execute the specified operation","error":"Your team 0b has either used all available credits or reached its monthly spending limit. To continue making API requests, please purchase more credits or raise your spending limit."}"#,
            "QuotaExhausted Month +key",
        ),
        // Cohere
        (
            429,
            "",
            r#"{"message":"You are using a Trial key, which is limited to 40 API calls / minute. You can continue to use the Trial key for free or upgrade to a Production key with higher rate limits at 'https://dashboard.cohere.com/api-keys'. Contact us on 'https://discord.gg/XW44jPfYJu' or email us at support@cohere.com with any questions"}"#,
            "RateLimited Requests Minute +time +key",
        ),
        (
            401,
            "",
            r#"{"message":"invalid api token"}"#,
            "KeyRejected +key",
        ),
        // Cerebras
        (
            429,
            "retry-after: 57",
            r#"{"message":"Requests per minute limit exceeded - too many requests sent.","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}"#,
            "RateLimited Requests Minute 57000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"message":"Tokens per day limit exceeded - too many tokens processed.","type":"too_many_tokens_error","param":"quota","code":"token_quota_exceeded"}"#,
            "RateLimited Tokens Day +key +model",
        ),
        (
            402,
            "",
            r#"{"message":"Payment required to access this resource. Please visit your billing tab.","type":"payment_required_error","param":"quota","code":"payment_required"}"#,
            "QuotaExhausted +key",
        ),
        // NVIDIA, Hugging Face
        (
            403,
            "",
            r#"{"status":403,"title":"Forbidden","detail":"Authorization failed"}"#,
            "KeyRejected +key +model",
        ),
        (
            402,
            "",
            r#"{"error":"You have depleted your monthly included credits. Purchase pre-paid credits to continue using Inference Providers with pay-as-you-go. Alternatively, subscribe to PRO."}"#,
            "QuotaExhausted Month +key",
        ),
        (
            401,
            "",
            "<!doctype html><html><body>Sign in</body></html>",
            "KeyRejected +key",
        ),
        // GitHub Models
        (
            429,
            "retry-after: 44913\nx-ratelimit-type: UserByModelByDay",
            r#"{"error":{"code":"RateLimitReached","message":"Rate limit of 8 per 86400s exceeded for UserByModelByDay. Please wait 44913 seconds before retrying.","details":"Rate limit of 8 per 86400s exceeded for UserByModelByDay. Please wait 44913 seconds before retrying."}}"#,
            "RateLimited Requests Day 44913000ms +key +model",
        ),
        // Cloudflare
        (
            429,
            "",
            r#"{"success":false,"errors":[{"code":3036,"message":"Account limited: You have used up your daily free allocation of 10,000 neurons, please upgrade to Cloudflare's Workers Paid plan."}],"messages":[],"result":null}"#,
            "RateLimited Neurons Day +key",
        ),
        (
            429,
            "",
            r#"{"errors":[{"message":"AiError: Capacity temporarily exceeded, please try again.","code":"3040"}],"success":false}"#,
            "Overloaded +time +model",
        ),
        // LiteLLM
        (
            429,
            "",
            r#"{"error":{"message":"LiteLLM Rate Limit Handler: Rate limit exceeded for api_key: 88dc. Limit type: tokens. Current limit: 100, Remaining: 0. Limit resets at: 2026-05-31 10:05:00 UTC","type":"None","param":"None","code":"429"}}"#,
            "RateLimited Tokens Minute 60000ms +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"No deployments available for selected model, Try again in 5 seconds. Passed model=gpt-4o. pre-call-checks=False, cooldown_list=[]","type":"None","param":"None","code":"429"}}"#,
            "RateLimited 5000ms +time +model",
        ),
        (
            429,
            "llm_provider-retry-after: 31\nllm_provider-x-ratelimit-remaining-requests: 0",
            r#"{"error":{"message":"litellm.RateLimitError: Upstream.","type":"throttling_error","code":"429"}}"#,
            "RateLimited 31000ms +time +key +model",
        ),
        (
            400,
            "",
            r#"{"error":{"message":"Budget has been exceeded! Current cost: 0.5, Max budget: 0.1","type":"budget_exceeded","param":null,"code":"400"}}"#,
            "QuotaExhausted +key",
        ),
        // Perplexity
        (
            429,
            "",
            r#"{"error":{"message":"Request rate limit exceeded, please try again later","type":"request_rate_limit_exceeded","code":429}}"#,
            "RateLimited Requests Minute +time +key",
        ),
        // Problem details
        (
            503,
            "retry-after: 6\nratelimit: \"default\";r=0;t=9",
            r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","title":"Reduced capacity"}"#,
            "Overloaded 6000ms +time +model",
        ),
        // Drafts of the IETF, and epochs
        (
            429,
            "ratelimit: \"burst\";r=0;t=3, \"daily\";r=412;t=9000\nratelimit-policy: \"burst\";q=10;w=1, \"daily\";q=1000;w=86400",
            "",
            "RateLimited Requests Second 3000ms +time +key +model",
        ),
        (
            429,
            "x-ratelimit-limit: 5000\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1780221900",
            "",
            "RateLimited Requests 60000ms +time +key +model",
        ),
        // A reset that names nothing is of what refused, unless something is left of its own.
        (
            429,
            "ratelimit-reset: 30",
            r#"{"error":{"message":"30 tokens per minute, and you have used 31"}}"#,
            "RateLimited Tokens Minute 30000ms +time +key +model",
        ),
        (
            429,
            "x-ratelimit-remaining: 4\nx-ratelimit-reset: 30",
            r#"{"error":{"message":"30 tokens per minute, and you have used 31"}}"#,
            "RateLimited Tokens Minute +time +key +model",
        ),
        (
            429,
            "x-tokenlimit-remaining: 0\nx-ratelimit-remaining: 4\nx-ratelimit-reset: 2",
            r#"{"error":{"message":"Token rate exceeded.","error_type":"dynamic_token_limited"}}"#,
            "RateLimited Tokens Second 2000ms +time +key +model",
        ),
        // Errors in errors
        (
            500,
            "",
            r#"{"detail":{"error":{"message":"Error code: 429 - {'error': {'message': 'x'}}","code":"rate_limit_exceeded"}}}"#,
            "RateLimited +time +key +model",
        ),
        (
            429,
            "",
            r#"{"error":{"message":"429: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"This request would exceed your organization's rate limit of 5 requests per minute. Try again in 9 seconds\"}}","type":"None","code":"429"}}"#,
            "RateLimited Requests Minute 9000ms +time +key +model",
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
    let event = |name, data: &str| short(Rejection::from_event(name, data.as_bytes(), now()));
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
    let rejection = read(400, &[], body).unwrap();
    assert_eq!(rejection.retry_after, None);
    let in_june = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_272_000);
    assert_eq!(rejection.available_at, Some(in_june));
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
    let rejection = read(429, &[("x-ratelimit-type", "Tokens")], "").unwrap();
    assert_eq!(
        (rejection.dimension, rejection.window),
        (Some(Dimension::Tokens), None)
    );
    assert_eq!(rejection.reason, Reason::RateLimited);
    assert!(Window::Hour < Window::Day && Window::FiveHours < Window::Day);
}

#[test]
fn what_litellm_writes_around_an_upstream_s_error_changes_nothing() {
    // As its proxy writes it behind nearly every error (litellm#29808).
    const BEHIND: &str = ". Received Model Group=a\nAvailable Model Group Fallbacks=None";
    let upstreams = [
        (
            429,
            r#"{"error":{"code":429,"message":"Resource has been exhausted.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","quotaValue":"50"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#,
            "RateLimited Requests Day 34000ms +key +model",
        ),
        (
            500,
            r#"{"error":{"code":429,"message":"Resource has been exhausted.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}"#,
            "RateLimited 34000ms +time +key +model",
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
            "QuotaExhausted +key",
        ),
    ];
    for (status, upstream, expected) in upstreams {
        for (open, close) in [("", ""), ("b'", "'"), ("b\"", "\"")] {
            for behind in ["", "\n", BEHIND] {
                let message =
                    format!("litellm.XError: XException - {open}{upstream}{close}{behind}");
                let body = serde_json::json!({ "error": { "message": message, "code": status.to_string() } });
                let read = short(read(status, &[], &body.to_string()));
                assert_eq!(read, expected, "{status} {message}");
            }
        }
    }
}
