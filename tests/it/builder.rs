//! The methods of the builder are the layers, by type and by what they do.

use crate::script::*;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, ServiceBuilderExt as _,
};

fn keys() -> KeyPool {
    KeyPool::new(["a", "b"]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stack_by_methods_does_what_the_same_stack_by_layers_does() {
    let answers = || {
        let hour = || limited(3600);
        Provider::script([limited(2), hour(), hour(), ok()])
    };
    let (one, other) = (answers(), answers());
    let by_methods = ServiceBuilder::new()
        .fall_back_to(["small"])
        .backoff()
        .rotate_keys(keys())
        .service(one.clone());
    let mut by_layers = by_methods.clone();
    // This compiles because the types are the same.
    by_layers.clone_from(
        &ServiceBuilder::new()
            .layer(FallbackLayer::new(["small"]))
            .layer(BackoffLayer::new())
            .layer(KeyRotationLayer::new(keys()))
            .service(other.clone()),
    );

    let by_methods = by_methods.oneshot(chat("large")).await.unwrap();
    let by_layers = by_layers.oneshot(chat("large")).await.unwrap();
    assert_eq!(by_methods.status(), 200);
    let names = |response| {
        let attempts = attempts(response);
        let name =
            |attempt: &tower_429::trail::Attempt| (attempt.key.clone(), attempt.model.clone());
        attempts.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&by_methods), names(&by_layers));
    assert_eq!(one.models(), ["large", "large", "large", "small"]);
    assert_eq!(other.models(), one.models());
    assert_eq!(other.keys(), one.keys());
}

#[tokio::test]
async fn inspect_limits_is_the_layer_that_reads_bodies() {
    let quota = service_fn(|_: http::Request<String>| async {
        let body = r#"{"error": {"code": "insufficient_quota", "message": "quota"}}"#;
        http::Response::builder().status(429).body(body.to_owned())
    });
    let by_method = ServiceBuilder::new().inspect_limits().service(quota);
    let by_layer = ServiceBuilder::new()
        .layer(InspectLayer::new())
        .service(quota);
    let mut reasons = Vec::new();
    for service in [by_method, by_layer] {
        let response = service.oneshot(chat("m")).await.unwrap();
        reasons.push(rejection(&response).reason);
    }
    assert_eq!(reasons, [tower_429::rejection::Reason::QuotaExhausted; 2]);
}
