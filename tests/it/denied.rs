//! A valid key without permission for a model or a request. The clock is paused.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, advance};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    util::{BoxCloneSyncService, service_fn},
};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, rejection::Reason,
};

type Client = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

const SCOPES: &str = r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read. Check that you have the correct role in your organization.","type":"invalid_request_error","param":null,"code":null}}"#;
const MODEL: &str = r#"{"error":{"message":"team not allowed to access model. This team can only access models=['other']. Tried to access m","type":"team_model_access_denied","param":"model","code":"401"}}"#;

/// What the provider saw: key and model, or key and path if there is no model.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// Returns a provider that responds by key and by model or path.
fn provider(answer: fn(&str, &str) -> (u16, &'static str)) -> (Client, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let provider = service_fn(move |request: Request<Full<Bytes>>| {
        let log = log.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let model = json.and_then(|json| Some(json["model"].as_str()?.to_owned()));
            let model_or_path = model.unwrap_or_else(|| head.uri.path().to_owned());
            let key = head.headers["authorization"].to_str().unwrap();
            let key = key.trim_start_matches("Bearer ").to_owned();
            let (status, body) = answer(&key, &model_or_path);
            log.lock().unwrap().push((key, model_or_path));
            let mut response = Response::builder().status(status);
            if status == 429 {
                response = response.header("retry-after", "2");
            }
            Ok::<_, Infallible>(response.body(Full::from(body)).unwrap())
        }
    });
    (BoxCloneSyncService::new(provider), seen)
}

fn chat(model: &str) -> Request<Full<Bytes>> {
    Request::post("https://api.example/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Full::from(format!(r#"{{"model": "{model}"}}"#)))
        .unwrap()
}

fn list() -> Request<Full<Bytes>> {
    Request::get("https://api.example/v1/models")
        .body(Full::default())
        .unwrap()
}

async fn call<S, R>(service: &S, request: Request<Full<Bytes>>) -> u16
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible> + Clone,
{
    let response = service.clone().oneshot(request).await.unwrap();
    response.status().as_u16()
}

fn keys(pool: &KeyPool) -> KeyRotationLayer {
    KeyRotationLayer::new(pool.clone())
}

fn is_free(pool: &KeyPool) -> bool {
    let keys = pool.snapshot();
    keys.iter()
        .all(|key| key.cooldown_until.is_none() && key.limited_models.is_empty())
}

/// Returns the keys of the requests since the last check, in order.
fn sent(seen: &Seen) -> Vec<String> {
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.into_iter().map(|(key, _)| key).collect()
}

fn models(seen: &Seen) -> Vec<String> {
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.into_iter().map(|(_, model)| model).collect()
}

#[tokio::test(start_paused = true)]
async fn missing_scope_of_one_endpoint_never_blocks_other_requests() {
    let (client, seen) = provider(|key, model_or_path| match (key, model_or_path) {
        ("a", "/v1/models") => (401, SCOPES),
        _ => (200, ""),
    });
    let pool = KeyPool::new(["a", "b"]).unwrap();
    let service = keys(&pool).layer(InspectLayer::new().layer(client));
    for _ in 0..10 {
        assert_eq!(call(&service, list()).await, 200);
        assert_eq!(sent(&seen).last().unwrap(), "b");
        assert!(is_free(&pool));
        advance(Duration::from_secs(600)).await;
    }
    let waiting = keys(&pool).reject_when_exhausted();
    let (client, seen) = provider(|_, model_or_path| match model_or_path {
        "/v1/models" => (401, SCOPES),
        _ => (200, ""),
    });
    let service = waiting.layer(InspectLayer::new().layer(client));
    for _ in 0..10 {
        assert_eq!(call(&service, list()).await, 401, "no key has the scope");
        assert_eq!(sent(&seen).len(), 2);
        assert_eq!(call(&service, chat("m")).await, 200);
        assert_eq!(sent(&seen).len(), 1);
        advance(Duration::from_secs(600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn model_that_a_key_may_not_use_leaves_the_key_to_other_models() {
    let (client, seen) = provider(|key, model_or_path| match (key, model_or_path) {
        ("a", "m") => (401, MODEL),
        _ => (200, ""),
    });
    let grouped = |key: &str| tower_429::key_rotation::Key::new(key).group("one account");
    let pool = KeyPool::new([grouped("a"), grouped("b")]).unwrap();
    let service = keys(&pool).layer(InspectLayer::new().layer(client));
    assert_eq!(call(&service, chat("m")).await, 200);
    assert_eq!(
        sent(&seen),
        ["a", "b"],
        "the group's other key has the permission"
    );
    let limited: Vec<_> = pool
        .snapshot()
        .into_iter()
        .map(|key| (key.cooldown_reason, key.limited_models))
        .collect();
    assert_eq!(limited[0].0, None);
    assert_eq!(
        (&*limited[0].1[0].model, limited[0].1[0].reason),
        ("m", Reason::KeyRejected)
    );
    assert_eq!(limited[1], (None, vec![]));
    assert_eq!(call(&service, chat("m")).await, 200);
    assert_eq!(sent(&seen), ["b"], "the denial is known for this model");
    pool.remove("key-2").unwrap();
    assert_eq!(call(&service, chat("other")).await, 200);
    assert_eq!(sent(&seen), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn denial_by_every_key_returns_the_providers_response_without_a_wait() {
    for (answer, request) in [
        ((401, MODEL), chat as fn(&str) -> _),
        ((401, SCOPES), |_: &str| list()),
    ] {
        let (client, seen) = match answer.1 {
            MODEL => provider(|_, _| (401, MODEL)),
            _ => provider(|_, _| (401, SCOPES)),
        };
        let pool = KeyPool::new(["a", "b"]).unwrap();
        let start = Instant::now();
        let waits = keys(&pool).wait_when_exhausted(Duration::from_secs(300));
        let service = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(waits)
            .layer(InspectLayer::new())
            .service(client);
        assert_eq!(call(&service, request("m")).await, 401);
        assert_eq!(sent(&seen), ["a", "b"]);
        assert_eq!(
            call(&service, request("m")).await,
            401,
            "a later call gets it too"
        );
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn denied_call_waits_for_a_key_that_is_only_limited() {
    let (client, seen) = provider(|key, model_or_path| match (key, model_or_path) {
        ("a", "m") => (401, MODEL),
        _ => (200, ""),
    });
    let limited = Mutex::new(true);
    let limited = Arc::new(limited);
    let client = ServiceBuilder::new().service(service_fn({
        move |request: Request<Full<Bytes>>| {
            let (client, limited) = (client.clone(), limited.clone());
            async move {
                let is_b = request.headers()["authorization"] == "Bearer b";
                if is_b && std::mem::take(&mut *limited.lock().unwrap()) {
                    let response = Response::builder().status(429).header("retry-after", "2");
                    return Ok(response.body(Full::default()).unwrap());
                }
                client.oneshot(request).await
            }
        }
    }));
    let pool = KeyPool::new(["b", "a"]).unwrap();
    let waits = keys(&pool).wait_when_exhausted(Duration::from_secs(300));
    let service = waits.layer(InspectLayer::new().layer(client));
    let start = Instant::now();
    assert_eq!(call(&service, chat("m")).await, 200);
    assert_eq!(sent(&seen), ["a", "b"]);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn fallback_replaces_a_denied_model_and_returns_a_missing_scope() {
    let answer = |_: &str, model_or_path: &str| match model_or_path {
        "m" => (401, MODEL),
        "n" => (401, SCOPES),
        _ => (200, ""),
    };
    let targets = || FallbackLayer::new(["small"]);
    // Both orders. A target stays in use if one key is denied it.
    for outside in [true, false] {
        let (client, seen) = provider(answer);
        let pool = KeyPool::new(["a"]).unwrap();
        let inspected = InspectLayer::new().layer(client);
        for _ in 0..2 {
            let (first, second, third) = match outside {
                true => {
                    let service = targets().layer(keys(&pool).layer(inspected.clone()));
                    let first = call(&service, chat("m")).await;
                    let second = call(&service, chat("n")).await;
                    (first, second, models(&seen))
                }
                false => {
                    let service = keys(&pool).layer(targets().layer(inspected.clone()));
                    let first = call(&service, chat("m")).await;
                    let second = call(&service, chat("n")).await;
                    (first, second, models(&seen))
                }
            };
            assert_eq!((first, second), (200, 401), "fallback outside: {outside}");
            assert_eq!(third, ["m", "small", "n"], "fallback outside: {outside}");
        }
    }
}
