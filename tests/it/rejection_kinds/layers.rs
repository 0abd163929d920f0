//! What each layer does after these responses, in both orders.

use std::{io, time::Duration};

use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    inspect::InspectedBody,
    rejection::{Reason, Rejection},
};

use crate::script::{Answer, Provider, chat, ok, pool, secs};

const FIVE_HOURS: &str = r#"{"error":{"code":"1308","message":"Usage limit reached for 5 hour."}}"#;
const WEEK: &str = r#"{"error":{"message":"You've reached your weekly (7-day) usage limit.","type":"access_terminated_error"}}"#;
const TOKENS: &str = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit","type":"insufficient_quota","code":"insufficient_quota"}}"#;
const OF_MODEL: &str = r#"{"error":{"message":"LiteLLM User: engineer-1, exceeded budget for model=m","type":"budget_exceeded","code":"429"}}"#;
const OF_ACCOUNT: &str = r#"{"error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit. Please try again in 20s."}}"#;
const PROMPT: &str =
    r#"{"error":{"message":"Prompt tokens limit exceeded: 69120 > 36608.","code":402}}"#;
const MINIMAX_RATE: &str = r#"{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}"#;
const MINIMAX_BALANCE: &str =
    r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#;

const HOUR: Duration = Duration::from_secs(3_600);

type Body = InspectedBody<String>;

/// Returns a response with a JSON body.
fn json(status: u16, body: &str) -> Answer {
    Answer::Response(status, vec![("x-script-body", body.into())])
}

type Client = BoxCloneService<Request<String>, Response<Body>, io::Error>;

/// Returns the provider behind an `InspectLayer` that reads the bodies of its responses.
fn client(provider: &Provider) -> Client {
    let provider = ServiceBuilder::new()
        .layer(InspectLayer::new().first_event(secs(1)))
        .map_response(|mut response: Response<String>| {
            if let Some(body) = response.headers_mut().remove("x-script-body") {
                *response.body_mut() = body.to_str().unwrap().into();
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
            }
            response
        })
        .service(provider.clone());
    BoxCloneService::new(provider)
}

/// Stacks KeyRotation and Fallback over a client, in one of the two orders.
fn stacked(provider: &Provider, pool: &KeyPool, keys_outside: bool) -> Client {
    let keys = KeyRotationLayer::new(pool.clone());
    let targets = FallbackLayer::new(["backup"]);
    let client = client(provider);
    match keys_outside {
        true => BoxCloneService::new(keys.layer(targets.layer(client))),
        false => BoxCloneService::new(targets.layer(keys.layer(client))),
    }
}

async fn call(service: &Client, model: &str) -> Response<Body> {
    service.clone().oneshot(chat(model)).await.unwrap()
}

/// Returns the keys of two calls if the first is rejected. An inner Fallback sends to its target with the same key.
fn with_next_key(keys_outside: bool) -> &'static [&'static str] {
    match keys_outside {
        true => &["a", "a", "b", "b"],
        false => &["a", "b", "b"],
    }
}

/// Rejects all requests with a key, or only those for one model.
fn rejecting(
    key: &'static str,
    model: Option<&'static str>,
    status: u16,
    body: &'static str,
) -> Provider {
    Provider::new(move |seen| {
        let is_refused = seen.key() == key && model.is_none_or(|model| seen.model() == model);
        if is_refused { json(status, body) } else { ok() }
    })
}

#[tokio::test(start_paused = true)]
async fn backoff_returns_plan_windows_and_quotas_at_once() {
    for (status, body) in [
        (429, FIVE_HOURS),
        (403, WEEK),
        (402, PROMPT),
        (429, OF_MODEL),
    ] {
        for inside in [false, true] {
            let provider = Provider::new(move |_| json(status, body));
            let retries = BackoffLayer::new().layer(client(&provider));
            let service = match inside {
                true => BoxCloneService::new(KeyRotationLayer::new(pool(&["a"])).layer(retries)),
                false => BoxCloneService::new(retries),
            };
            let start = Instant::now();
            let response = call(&service, "m").await;
            assert_eq!(response.status(), status, "{body}");
            assert_eq!(start.elapsed(), Duration::ZERO, "{body}");
            assert_eq!(provider.seen().len(), 1, "{body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_retries_a_rate_limit_that_is_called_a_quota() {
    for (status, body) in [(429, TOKENS), (200, MINIMAX_RATE)] {
        for inside in [false, true] {
            let provider = Provider::script([json(status, body), json(status, body), ok()]);
            let retries = BackoffLayer::new().jitter(0, Duration::ZERO);
            let retries = retries.layer(client(&provider));
            let service = match inside {
                true => BoxCloneService::new(KeyRotationLayer::new(pool(&["a"])).layer(retries)),
                false => BoxCloneService::new(retries),
            };
            let response = call(&service, "m").await;
            assert_eq!(response.status(), 200, "{body}");
            assert!(provider.waits().iter().all(|wait| *wait >= secs(1)));
            assert_eq!(provider.seen().len(), 3, "{body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn next_key_is_tried_if_a_plan_window_is_exhausted() {
    for keys_outside in [true, false] {
        let provider = rejecting("a", None, 429, FIVE_HOURS);
        let pool = pool(&["a", "b"]);
        let service = stacked(&provider, &pool, keys_outside);
        assert_eq!(call(&service, "m").await.status(), 200);
        assert_eq!(call(&service, "other").await.status(), 200);
        // The plan belongs to the account, so its key is not tried for the other model.
        assert_eq!(provider.keys(), with_next_key(keys_outside));
    }
}

#[tokio::test(start_paused = true)]
async fn key_of_an_exhausted_plan_without_a_hint_is_probed_hourly() {
    for backoff_outside in [true, false] {
        let provider = Provider::script([json(429, FIVE_HOURS), json(429, FIVE_HOURS), ok()]);
        let pool = pool(&["a"]);
        let (keys, retries) = (KeyRotationLayer::new(pool.clone()), BackoffLayer::new());
        let service = match backoff_outside {
            true => BoxCloneService::new(retries.layer(keys.layer(client(&provider)))),
            false => BoxCloneService::new(keys.layer(retries.layer(client(&provider)))),
        };
        for sends in [1, 2] {
            assert_eq!(call(&service, "m").await.status(), 429);
            assert_eq!(provider.seen().len(), sends);
            let until = pool.snapshot()[0].cooldown_until.expect("a cooldown");
            assert!(until.duration_since(Instant::now()) > HOUR - secs(1));
            advance(HOUR + secs(1)).await;
        }
        assert_eq!(call(&service, "m").await.status(), 200);
        assert_eq!(pool.snapshot()[0].cooldown_until, None);
    }
}

#[tokio::test(start_paused = true)]
async fn next_key_is_tried_for_quotas_under_any_status() {
    for (status, body) in [(403, WEEK), (200, MINIMAX_BALANCE)] {
        for keys_outside in [true, false] {
            let provider = rejecting("a", None, status, body);
            let pool = pool(&["a", "b"]);
            let service = stacked(&provider, &pool, keys_outside);
            for _ in 0..2 {
                let response = call(&service, "m").await;
                assert_eq!(response.extensions().get::<Rejection>(), None, "{body}");
            }
            assert_eq!(provider.keys(), with_next_key(keys_outside), "{body}");
            let state = pool.snapshot().remove(0);
            assert_eq!(
                state.cooldown_reason,
                Some(Reason::QuotaExhausted),
                "{body}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn next_target_is_tried_if_the_plan_of_the_only_key_is_exhausted() {
    for (status, body) in [
        (429, FIVE_HOURS),
        (403, WEEK),
        (402, PROMPT),
        (429, OF_MODEL),
    ] {
        let provider = rejecting("a", Some("m"), status, body);
        let targets = FallbackLayer::new(["backup"]).layer(client(&provider));
        let service = BoxCloneService::new(targets);
        let mut request = chat("m");
        request
            .headers_mut()
            .insert("authorization", HeaderValue::from_static("Bearer a"));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{body}");
        assert_eq!(provider.models(), ["m", "backup"], "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn key_without_a_models_budget_serves_the_other_models() {
    for (status, body) in [(429, OF_MODEL), (402, PROMPT)] {
        for keys_outside in [true, false] {
            let provider = rejecting("a", Some("m"), status, body);
            let pool = pool(&["a"]);
            let service = stacked(&provider, &pool, keys_outside);
            assert_eq!(call(&service, "m").await.status(), 200, "{body}");
            assert_eq!(call(&service, "other").await.status(), 200, "{body}");
            assert_eq!(provider.models(), ["m", "backup", "other"], "{body}");
            let state = pool.snapshot().remove(0);
            assert_eq!(state.cooldown_reason, None, "{body}");
            let models: Vec<_> = state.limited_models.iter().map(|it| &*it.model).collect();
            assert_eq!(models, ["m"], "{body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn limit_of_the_account_applies_to_all_its_models() {
    for keys_outside in [true, false] {
        let provider = rejecting("a", None, 429, OF_ACCOUNT);
        let pool = pool(&["a", "b"]);
        let service = stacked(&provider, &pool, keys_outside);
        assert_eq!(call(&service, "m").await.status(), 200);
        assert_eq!(call(&service, "other").await.status(), 200);
        assert_eq!(provider.keys(), with_next_key(keys_outside));
        let state = pool.snapshot().remove(0);
        assert_eq!(state.cooldown_reason, Some(Reason::RateLimited));
    }
}
