//! A good key that may not do this: not use this model, or not send this request. On a paused clock.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
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
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    rejection::{Reason, Rejection, Scope},
};

type Client = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, Infallible>;

const SCOPES: &str = r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read. Check that you have the correct role in your organization.","type":"invalid_request_error","param":null,"code":null}}"#;
const MODEL: &str = r#"{"error":{"message":"team not allowed to access model. This team can only access models=['other']. Tried to access m","type":"team_model_access_denied","param":"model","code":"401"}}"#;

/// What the provider saw: key and model, or key and path where there is no model.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// Answers by key and by model or path.
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
            let asked = model.unwrap_or_else(|| head.uri.path().to_owned());
            let key = head.headers["authorization"].to_str().unwrap();
            let key = key.trim_start_matches("Bearer ").to_owned();
            let (status, body) = answer(&key, &asked);
            log.lock().unwrap().push((key, asked));
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

/// The keys that were sent, in order, since the last look.
fn sent(seen: &Seen) -> Vec<String> {
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.into_iter().map(|(key, _)| key).collect()
}

fn models(seen: &Seen) -> Vec<String> {
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.into_iter().map(|(_, model)| model).collect()
}

fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Option<Rejection> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    Rejection::from_parts(&head, body.as_bytes(), SystemTime::UNIX_EPOCH)
}

fn message(text: &str) -> String {
    serde_json::json!({ "error": { "message": text } }).to_string()
}

#[test]
fn denial_names_the_model_or_the_request_and_a_dead_key_neither() {
    let coded = |code: &str, text: &str| {
        serde_json::json!({ "error": { "message": text, "code": code } }).to_string()
    };
    let anthropic = r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified model."}}"#;
    let of_model = [
        (401, MODEL.to_owned()),
        (
            403,
            message("You don't have access to the model with the specified model ID."),
        ),
        (
            401,
            message("Project `proj_a` does not have access to model `gpt-5`"),
        ),
        (
            403,
            coded(
                "model_not_found",
                "Project `proj_a` does not have access to model `gpt-5`",
            ),
        ),
        (403, anthropic.to_owned()),
        (
            401,
            coded(
                "auth_error",
                "Authentication Error, API Key not allowed to access model. This token can only access models=['a']. Tried to access b",
            ),
        ),
        (
            403,
            message(
                "User: arn:aws:iam::1:user/a is not authorized to perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/a",
            ),
        ),
        (
            403,
            r#"{"code":"Model.AccessDenied","message":"Model access denied."}"#.to_owned(),
        ),
    ];
    for (status, body) in of_model {
        let rejection = read(status, &[], &body).expect(&body);
        assert_eq!(rejection.reason, Reason::KeyRejected, "{body}");
        assert!(rejection.another_key_helps(), "{body}");
        assert!(rejection.another_model_helps(), "{body}");
        assert_ne!(rejection.scope, Some(Scope::Request), "{body}");
    }
    let of_request = [
        (403, r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/a/locations/b/publishers/google/models/c' (or it may not exist)."}}"#.to_owned()),
        (401, SCOPES.to_owned()),
        (401, coded("missing_scope", "Missing scopes: model.request")),
        (403, message("This authentication method does not have sufficient permissions to call Inference Providers")),
        (403, r#"{"error":{"code":403,"message":"Request had insufficient authentication scopes.","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT","domain":"googleapis.com"}]}}"#.to_owned()),
        (401, coded("PermissionDenied", "The principal `a` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST /openai/deployments/{deployment-id}/chat/completions` operation.")),
        (403, message("Resource not accessible by personal access token")),
    ];
    for (status, body) in of_request {
        let rejection = read(status, &[], &body).expect(&body);
        assert_eq!(rejection.reason, Reason::KeyRejected, "{body}");
        assert_eq!(rejection.scope, Some(Scope::Request), "{body}");
        assert!(rejection.another_key_helps(), "{body}");
        assert!(!rejection.another_model_helps(), "{body}");
    }
    let of_key = [
        (401, message("Incorrect API key provided: sk-a.")),
        (403, message("Your API key was reported as leaked.")),
        (401, String::new()),
    ];
    for (status, body) in of_key {
        let rejection = read(status, &[], &body).expect(&body);
        assert_ne!(rejection.scope, Some(Scope::Request), "{body}");
        assert!(!rejection.another_model_helps(), "{body}");
    }
    for (status, text) in [
        (
            404,
            "The model `a` does not exist or you do not have access to it.",
        ),
        (
            400,
            "The model `a` is invalid; you do not have access to this model",
        ),
    ] {
        assert_eq!(read(status, &[], &message(text)), None, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn missing_scope_of_one_endpoint_never_holds_back_other_requests() {
    let (client, seen) = provider(|key, asked| match (key, asked) {
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
    let (client, seen) = provider(|_, asked| match asked {
        "/v1/models" => (401, SCOPES),
        _ => (200, ""),
    });
    let service = waiting.layer(InspectLayer::new().layer(client));
    for _ in 0..10 {
        assert_eq!(call(&service, list()).await, 401, "no key may");
        assert_eq!(sent(&seen).len(), 2);
        assert_eq!(call(&service, chat("m")).await, 200);
        assert_eq!(sent(&seen).len(), 1);
        advance(Duration::from_secs(600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn model_that_a_key_may_not_use_leaves_the_key_to_other_models() {
    let (client, seen) = provider(|key, asked| match (key, asked) {
        ("a", "m") => (401, MODEL),
        _ => (200, ""),
    });
    let grouped = |key: &str| tower_429::key_rotation::Key::new(key).group("one account");
    let pool = KeyPool::new([grouped("a"), grouped("b")]).unwrap();
    let service = keys(&pool).layer(InspectLayer::new().layer(client));
    assert_eq!(call(&service, chat("m")).await, 200);
    assert_eq!(sent(&seen), ["a", "b"], "the group's other key may");
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
    assert_eq!(sent(&seen), ["b"], "it is known for this model");
    pool.remove("key-2").unwrap();
    assert_eq!(call(&service, chat("other")).await, 200);
    assert_eq!(sent(&seen), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn denial_by_every_key_returns_the_providers_answer_without_a_wait() {
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
        assert_eq!(call(&service, request("m")).await, 401, "and a later call");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn denied_call_waits_for_a_key_that_is_only_limited() {
    let (client, seen) = provider(|key, asked| match (key, asked) {
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
async fn fallback_goes_on_where_a_model_is_denied_and_returns_a_missing_scope() {
    let answer = |_: &str, asked: &str| match asked {
        "m" => (401, MODEL),
        "n" => (401, SCOPES),
        _ => (200, ""),
    };
    let targets = || FallbackLayer::new(["lesser"]);
    // Both orders; a target is not left alone for a key that may not use it.
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
            assert_eq!(third, ["m", "lesser", "n"], "fallback outside: {outside}");
        }
    }
}
