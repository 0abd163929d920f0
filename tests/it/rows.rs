//! The rows of `tests/data/`. Each is a response or a value, with its meaning.

use std::time::{Duration, SystemTime};

use http::Response;
use serde_json::Value;
use tower_429::rejection::{Provider, Rejection};

pub(crate) fn rows(data: &str) -> Vec<Value> {
    data.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Returns all observed and documented error responses.
pub(crate) fn fixtures() -> Vec<Value> {
    let mut all = rows(include_str!("../data/fixtures.jsonl"));
    all.extend(rows(include_str!("../data/fixtures-2026-11.jsonl")));
    all
}

pub(crate) fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// Returns the date of a row, `2026-02-10T00:00:00Z`.
pub(crate) fn now(row: &Value) -> SystemTime {
    let at = row["now"].as_str().unwrap_or("2025-06-01T00:00:00Z");
    let number = |range: std::ops::Range<usize>| at[range].parse::<u64>().unwrap();
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if is_leap(number(0..4)) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let of_years = (1970..number(0..4)).map(|year| if is_leap(year) { 366 } else { 365 });
    let of_months = months.iter().take(at[5..7].parse::<usize>().unwrap() - 1);
    let days = of_years.sum::<u64>() + of_months.sum::<u64>() + number(8..10) - 1;
    let minutes = (days * 24 + number(11..13)) * 60 + number(14..16);
    SystemTime::UNIX_EPOCH + Duration::from_secs(minutes * 60 + number(17..19))
}

/// Returns when the response of a row arrived. A rejection that names a date arrived in the days before it.
pub(crate) fn arrival(row: &Value) -> SystemTime {
    match (row["now"].as_str(), row["available_at"].as_str()) {
        (None, Some(at)) => {
            now(&serde_json::json!({ "now": at })) - Duration::from_secs(10 * 86_400)
        }
        _ => now(row),
    }
}

/// Returns the host of the provider of a row.
pub(crate) fn host(provider: &str) -> Option<&'static str> {
    Some(match provider {
        "openai" => "api.openai.com",
        "azure_openai" => "example.openai.azure.com",
        "anthropic" => "api.anthropic.com",
        "gemini" => "generativelanguage.googleapis.com",
        "vertex" => "us-central1-aiplatform.googleapis.com",
        "bedrock" => "bedrock-runtime.us-east-1.amazonaws.com",
        "groq" => "api.groq.com",
        "mistral" => "api.mistral.ai",
        "deepseek" => "api.deepseek.com",
        "openrouter" => "openrouter.ai",
        "together" => "api.together.xyz",
        "fireworks" => "api.fireworks.ai",
        "xai" => "api.x.ai",
        "cohere" => "api.cohere.com",
        "perplexity" => "api.perplexity.ai",
        "cerebras" => "api.cerebras.ai",
        "nvidia_nim" => "integrate.api.nvidia.com",
        "huggingface" => "router.huggingface.co",
        "github_models" => "models.github.ai",
        "cloudflare" => "api.cloudflare.com",
        "moonshot" => "api.moonshot.ai",
        "kimi_code" => "api.kimi.com",
        "zai" => "api.z.ai",
        "minimax" => "api.minimax.io",
        "replicate" => "api.replicate.com",
        "openai_codex" => "chatgpt.com",
        "dashscope" => "dashscope.aliyuncs.com",
        "github_copilot" => "api.githubcopilot.com",
        "cloudflare_ai_gateway" => "gateway.ai.cloudflare.com",
        "volcengine_ark" => "ark.cn-beijing.volces.com",
        _ => return None,
    })
}

/// Classifies a provider's response. Without a host, only the headers identify the provider.
pub(crate) fn read_at<'a>(
    now: SystemTime,
    host: Option<&str>,
    status: u16,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) -> Option<Rejection> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Provider::guess(host, &head.headers).rejection(&head, body, now)
}

/// Returns reason, dimension, window, scope, hint and numbers, and whether a wait, another key and another model help.
pub(crate) fn summary(rejection: Option<&Rejection>) -> String {
    let Some(it) = rejection else {
        return "none".to_owned();
    };
    let helps = [
        (it.time_helps(), "+time"),
        (it.another_key_helps(), "+key"),
        (it.another_model_helps(), "+model"),
    ];
    let mut words = vec![format!("{:?}", it.reason)];
    words.extend(it.dimension.map(|it| format!("{it:?}")));
    words.extend(it.window.map(|it| format!("{it:?}")));
    words.extend(it.scope.map(|it| format!("@{it:?}")));
    words.extend(it.retry_after.map(|it| format!("{}ms", it.as_millis())));
    let numbers = [
        ("limit", it.numbers.limit),
        ("used", it.numbers.used),
        ("requested", it.numbers.requested),
    ];
    let numbers = numbers.iter();
    words.extend(numbers.filter_map(|(name, number)| Some(format!("{name}:{}", (*number)?))));
    words.extend(helps.iter().filter(|it| it.0).map(|it| it.1.to_owned()));
    words.join(" ")
}
