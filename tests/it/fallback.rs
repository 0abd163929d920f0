//! `FallbackLayer` through the public API, with a paused clock.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::script::*;
use http::{HeaderValue, Request, Response, header};
use tower::{Layer as _, Service, ServiceExt};
use tower_429::{
    Call, FallbackLayer,
    fallback::Target,
    rejection::Reason,
    trail::{Action, LayerKind, StopReason},
};

async fn call<S>(service: &S, request: Request<String>) -> Response<String>
where
    S: Service<Request<String>, Response = Response<String>, Error = std::io::Error> + Clone,
{
    service.clone().oneshot(request).await.unwrap()
}

fn get(uri: &str) -> Request<String> {
    Request::get(uri).body(String::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_accounts_of_one_model_are_two_targets() {
    let account = |key: &'static str| {
        let target = Target::model("b").at("https://other.example").unwrap();
        target.header(header::AUTHORIZATION, HeaderValue::from_static(key))
    };
    let provider = Provider::new(|seen| match seen.key() {
        "two" => ok(),
        _ => limited(20),
    });
    let accounts = [account("Bearer one"), account("Bearer two")];
    let service = FallbackLayer::new(accounts).layer(provider.clone());
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(provider.keys(), ["", "one", "two"]);
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(
        provider.keys()[3..],
        ["two"],
        "the others are known to be limited"
    );
}

#[tokio::test(start_paused = true)]
async fn fallback_sends_the_request_unchanged_then_to_each_target_in_order() {
    let provider = Provider::script([limited(20), rejected(529, 9), status(402), rejected(429, 7)]);
    let service = FallbackLayer::new(["b", "m", "c", "b", "d"]).layer(provider.clone());
    let response = call(&service, chat("m")).await;
    assert_eq!(provider.models(), ["m", "b", "c", "d"]);
    assert_eq!(response.body(), "the provider's own 429");
    let last = vec![(
        LayerKind::Fallback,
        Action::Return(StopReason::NoFreeTarget),
    )];
    assert_eq!(steps(&response).last(), Some(&last));
    assert!(
        rejection(&response).retry_after.unwrap() <= secs(7),
        "when the first cooldown ends"
    );
    let targets: Vec<_> = attempts(&response)
        .into_iter()
        .map(|attempt| {
            (
                attempt.model.unwrap().to_string(),
                attempt.target.map(|target| target.to_string()),
            )
        })
        .collect();
    let other = |name: &str| (name.into(), Some(name.into()));
    assert_eq!(
        targets,
        [("m".into(), None), other("b"), other("c"), other("d")]
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_value_of_the_model_changes_and_the_length_is_correct() {
    let body = "{ \"messages\":[{\"model\":\"m\"}],\t\"model\" : \"m\", \"n\": 1.0e0 }\n";
    let provider = Provider::script([limited(20), ok()]);
    let service = FallbackLayer::new(["much longer"]).layer(provider.clone());
    let request = Request::post("https://api.example/v1/chat")
        .header("content-length", body.len())
        .header("content-digest", "sha-256=:x:")
        .body(body.to_owned());
    call(&service, request.unwrap()).await;
    let seen = provider.seen();
    assert_eq!(
        (seen[0].body.as_str(), seen[0].header("content-digest")),
        (body, "sha-256=:x:")
    );
    assert_eq!(
        seen[1].body,
        body.replace("\"model\" : \"m\"", "\"model\" : \"much longer\"")
    );
    assert_eq!(
        seen[1].header("content-length"),
        seen[1].body.len().to_string()
    );
    assert_eq!(
        seen[1].header("content-digest"),
        "",
        "it belonged to other bytes"
    );
}

#[tokio::test(start_paused = true)]
async fn limited_target_is_skipped_until_its_cooldown_ends() {
    let provider = Provider::script([limited(20), ok(), ok(), limited(5), ok(), ok()]);
    let layer = FallbackLayer::new(["b", "c"]);
    let (one, other) = (layer.layer(provider.clone()), layer.layer(provider.clone()));
    call(&one, chat("m")).await;
    call(&other, chat("m")).await;
    assert_eq!(
        provider.models(),
        ["m", "b", "b"],
        "all services of a layer share limits"
    );
    call(&one, chat("m")).await;
    assert_eq!(provider.models()[3..], ["b", "c"]);
    tokio::time::advance(secs(20)).await;
    call(&one, chat("m")).await;
    assert_eq!(provider.models()[5..], ["m"]);
}

#[tokio::test(start_paused = true)]
async fn fallback_uses_the_target_that_frees_first_if_all_are_limited() {
    let provider = Provider::script([limited(20), limited(10), limited(30), ok()]);
    let service = FallbackLayer::new(["b", "c"]).layer(provider.clone());
    assert_eq!(call(&service, chat("m")).await.status(), 429);
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(provider.models(), ["m", "b", "c", "b"]);
}

#[tokio::test(start_paused = true)]
async fn limit_of_one_model_does_not_limit_another() {
    let provider = Provider::script([limited(20), ok(), ok()]);
    let service = FallbackLayer::new(["b"]).layer(provider.clone());
    call(&service, chat("m")).await;
    call(&service, chat("n")).await;
    assert_eq!(provider.models(), ["m", "b", "n"]);
}

#[tokio::test(start_paused = true)]
async fn model_in_the_path_is_replaced_there() {
    let table = [
        (
            "https://g.example/v1beta/models/m:generateContent?alt=sse",
            "https://g.example/v1beta/models/b:generateContent?alt=sse",
        ),
        (
            "https://x.example/openai/deployments/m/chat/completions?api-version=1",
            "https://x.example/openai/deployments/b/chat/completions?api-version=1",
        ),
        (
            "https://bedrock.example/model/m%3A0/invoke",
            "https://bedrock.example/model/b/invoke",
        ),
    ];
    for (own, other) in table {
        let provider = Provider::script([limited(20), ok()]);
        let service = FallbackLayer::new(["b"]).layer(provider.clone());
        let response = call(&service, get(own)).await;
        assert_eq!(response.status(), 200);
        let uris: Vec<_> = provider
            .seen()
            .iter()
            .map(|seen| seen.uri.to_string())
            .collect();
        assert_eq!(uris, [own, other]);
    }
}

#[tokio::test(start_paused = true)]
async fn request_without_a_model_is_sent_unchanged_and_the_trail_says_so() {
    let json = r#"{"model":"m"}"#;
    let table = [
        ("application/json", "identity", "[1]"),
        ("application/json", "identity", r#"{"mdl":"m"}"#),
        ("application/json", "identity", r#"{"model":7}"#),
        ("application/json", "identity", ""),
        ("application/json", "gzip", json),
        ("multipart/form-data; boundary=x", "identity", json),
        ("text/plain", "identity", json),
    ];
    for (kind, coding, body) in table {
        let provider = Provider::script([limited(20)]);
        let service = FallbackLayer::new(["b"]).layer(provider.clone());
        let request = Request::post("https://api.example/v1/chat")
            .header("content-type", kind)
            .header("content-encoding", coding)
            .body(body.to_owned());
        let response = call(&service, request.unwrap()).await;
        assert_eq!(
            whys(&response),
            [(LayerKind::Fallback, StopReason::NoModel)],
            "{kind} {coding} {body}"
        );
        assert_eq!(provider.seen()[0].body, body);
    }
}

#[tokio::test(start_paused = true)]
async fn conditions_for_the_next_target_are_configurable() {
    for reason in [401, 403, 413, 500] {
        let provider = Provider::script([status(reason)]);
        let service = FallbackLayer::new(["b"]).layer(provider.clone());
        assert_eq!(call(&service, chat("m")).await.status(), reason);
    }
    let provider = Provider::script([
        Answer::Error(std::io::ErrorKind::ConnectionRefused),
        status(401),
        status(413),
        status(502),
        ok(),
    ]);
    let service = FallbackLayer::new(["b", "c", "d", "e"])
        .on([Reason::KeyRejected, Reason::TooLarge])
        .on_status(|status| status == 502)
        .on_error(|error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        .layer(provider.clone());
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(provider.models(), ["m", "b", "c", "d", "e"]);
}

#[tokio::test(start_paused = true)]
async fn closures_on_responses_and_errors_may_capture() {
    let (header, seen) = (String::from("x-try-again"), Arc::new(AtomicU32::new(0)));
    let count = seen.clone();
    let again = || Answer::Response(200, vec![("x-try-again", "1".into())]);
    let broken = || Answer::Error(std::io::ErrorKind::ConnectionReset);
    let provider = Provider::script([again(), broken(), broken()]);
    let service = FallbackLayer::new(["b", "c", "d"])
        .retry_if(move |response| response.headers.contains_key(&header))
        // Only the first error leads to the next model.
        .on_error(move |_: &std::io::Error| count.fetch_add(1, Ordering::Relaxed) == 0)
        .layer(provider.clone());
    let error = service.oneshot(chat("m")).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(provider.models(), ["m", "b", "c"]);
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn request_too_large_for_a_model_does_not_limit_it() {
    let provider = Provider::script([status(413), ok(), ok()]);
    let service = FallbackLayer::new(["b"])
        .on([Reason::TooLarge])
        .layer(provider.clone());
    call(&service, chat("m")).await;
    call(&service, chat("m")).await;
    assert_eq!(provider.models(), ["m", "b", "m"]);
}

#[tokio::test(start_paused = true)]
async fn request_can_opt_out_of_fallback() {
    let provider = Provider::script([limited(20), ok(), limited(20)]);
    let service = FallbackLayer::new(["b"]).layer(provider.clone());
    call(&service, chat("m")).await;
    let mut request = chat("m");
    request
        .extensions_mut()
        .insert(Call::new().without_fallback());
    let response = call(&service, request).await;
    assert_eq!(
        provider.models(),
        ["m", "b", "m"],
        "the third call is not sent to the target first"
    );
    assert_eq!(
        whys(&response),
        [(LayerKind::Fallback, StopReason::FallbackOff)]
    );
}

#[tokio::test(start_paused = true)]
async fn layer_without_targets_passes_everything_through() {
    let provider = Provider::script([limited(20)]);
    let none: [&str; 0] = [];
    let service = FallbackLayer::new(none).layer(provider.clone());
    let response = call(&service, chat("m")).await;
    assert_eq!(
        whys(&response),
        [(LayerKind::Fallback, StopReason::NoFreeTarget)]
    );
}
