//! The cost of reading a response: `cargo bench --bench rejection`.

use std::time::{Duration, SystemTime};

use divan::{Bencher, black_box};
use http::{Response, response};
use tower_429::rejection::{Provider, Rejection, buckets};

mod provider;
use provider::{LIMITS, USUAL, headers};

fn main() {
    divan::main();
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_221_840)
}

fn head(status: u16, lists: &[&[(&'static str, &'static str)]]) -> response::Parts {
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    *response.headers_mut() = headers(lists);
    response.into_parts().0
}

/// A Gemini 429 with all its details.
fn body_of_two_kib() -> String {
    let violation = r#"{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_requests","quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier","quotaDimensions":{"location":"global","model":"gemini-2.5-flash"},"quotaValue":"15"}"#;
    let violations = [violation; 5].join(",");
    format!(
        r#"{{"error":{{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 15, model: gemini-2.5-flash\nPlease retry in 44.097740004s.","status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{violations}]}},{{"@type":"type.googleapis.com/google.rpc.Help","links":[{{"description":"Learn more about Gemini API quotas","url":"https://ai.google.dev/gemini-api/docs/rate-limits"}}]}},{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"44s"}}]}}}}"#
    )
}

#[divan::bench]
fn success_head(bencher: Bencher<'_, '_>) {
    let head = head(200, &[USUAL]);
    bencher.bench_local(|| Rejection::from_head(black_box(&head), now()));
}

#[divan::bench]
fn buckets_of_a_head_without_any(bencher: Bencher<'_, '_>) {
    let head = head(200, &[USUAL]);
    bencher.bench_local(|| buckets(black_box(&head.headers), Provider::OpenAi, now()));
}

#[divan::bench]
fn buckets_of_openai(bencher: Bencher<'_, '_>) {
    let head = head(200, &[USUAL, LIMITS]);
    bencher.bench_local(|| buckets(black_box(&head.headers), Provider::OpenAi, now()));
}

#[divan::bench]
fn rejected_head(bencher: Bencher<'_, '_>) {
    let head = head(429, &[USUAL, LIMITS, &[("retry-after", "20")]]);
    bencher.bench_local(|| Rejection::from_head(black_box(&head), now()));
}

#[divan::bench]
fn rejection_with_a_body_of_2_kib(bencher: Bencher<'_, '_>) {
    let head = head(429, &[USUAL]);
    let body = body_of_two_kib();
    assert!((1_900..2_300).contains(&body.len()), "{}", body.len());
    bencher
        .bench_local(|| Rejection::from_parts(black_box(&head), black_box(body.as_bytes()), now()));
}

/// The cost of the JSON alone, for comparison.
#[divan::bench]
fn json_of_2_kib(bencher: Bencher<'_, '_>) {
    let body = body_of_two_kib();
    bencher.bench_local(|| serde_json::from_slice::<serde_json::Value>(black_box(body.as_bytes())));
}
