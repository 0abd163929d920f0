//! `FallbackLayer` with targets at other origins: where a request is sent, and what is removed from it.

use crate::script::*;
use http::{HeaderName, HeaderValue, Request, Response, Version, header};
use tower::{Layer as _, Service, ServiceExt};
use tower_429::{FallbackLayer, fallback::Target};

async fn call<S>(service: &S, request: Request<String>) -> Response<String>
where
    S: Service<Request<String>, Response = Response<String>, Error = std::io::Error> + Clone,
{
    service.clone().oneshot(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn target_with_the_same_model_accepts_a_request_without_a_model() {
    let provider = Provider::script([limited(20), ok(), ok()]);
    let elsewhere = Target::same_model_at("https://eu.example/proxy").unwrap();
    let service = FallbackLayer::new([elsewhere]).layer(provider.clone());
    let request = || {
        Request::post("https://us.example/v1/audio?a=1")
            .body("RIFF".to_owned())
            .unwrap()
    };
    call(&service, request()).await;
    call(&service, request()).await;
    let uris: Vec<_> = provider
        .seen()
        .iter()
        .map(|seen| seen.uri.to_string())
        .collect();
    let eu = "https://eu.example/proxy/v1/audio?a=1";
    assert_eq!(uris, ["https://us.example/v1/audio?a=1", eu, eu]);
    assert!(provider.seen().iter().all(|seen| seen.body == "RIFF"));
}

#[tokio::test(start_paused = true)]
async fn no_credential_of_the_caller_reaches_another_origin() {
    let provider = Provider::script([limited(20), status(529), ok()]);
    let service = FallbackLayer::new([
        Target::model("b")
            .at("https://other.example")
            .unwrap()
            .header(
                header::AUTHORIZATION,
                HeaderValue::from_static("Bearer other's"),
            ),
        Target::model("c").at("https://third.example").unwrap(),
    ])
    .layer(provider.clone());
    let mut request = chat("m");
    *request.uri_mut() = "https://api.example/v1/chat?key=SECRET&api-version=1"
        .parse()
        .unwrap();
    *request.version_mut() = Version::HTTP_2;
    let names = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-amz-security-token",
        "cf-access-client-id",
        "cf-access-client-secret",
    ];
    for name in names {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static("SECRET"));
    }
    let mut marked = HeaderValue::from_static("SECRET");
    marked.set_sensitive(true);
    let headers = request.headers_mut();
    headers.insert("x-of-two", HeaderValue::from_static("shown"));
    headers.append("x-of-two", marked.clone());
    headers.insert("x-own-name", marked);
    headers.insert("x-not-marked", HeaderValue::from_static("shown"));
    headers.insert("host", HeaderValue::from_static("api.example"));
    call(&service, request).await;
    let seen = provider.seen();
    assert_eq!(seen[0].header("x-own-name"), "SECRET");
    assert_eq!(seen[0].header("host"), "api.example");
    assert_eq!(seen[0].uri.query(), Some("key=SECRET&api-version=1"));
    for seen in &seen[1..] {
        assert!(!format!("{seen:?}").contains("SECRET"), "{seen:?}");
        assert_eq!(
            (seen.header("host"), seen.uri.query()),
            ("", Some("api-version=1"))
        );
        for name in ["x-of-two", "x-own-name"] {
            assert!(!seen.headers.contains_key(name), "{seen:?}");
        }
        assert_eq!(seen.header("x-not-marked"), "shown");
    }
    assert_eq!((seen[1].key(), seen[2].key()), ("other's", ""));
}

#[tokio::test(start_paused = true)]
async fn target_sets_its_parameters_and_removes_headers_of_the_caller() {
    let provider = Provider::script([limited(20), ok()]);
    let target = Target::model("b")
        .at("https://us.azure.example")
        .unwrap()
        .query("api-version", "2024-10-21")
        .query("key", "its own")
        .without_header(HeaderName::from_static("openai-organization"));
    let service = FallbackLayer::new([target]).layer(provider.clone());
    let mut request = chat("a");
    *request.uri_mut() = "https://api.example/chat?api-version=1&key=SECRET&user=2"
        .parse()
        .unwrap();
    for name in ["openai-organization", "openai-project"] {
        let value = HeaderValue::from_static("ours");
        request.headers_mut().insert(name, value);
    }
    assert_eq!(call(&service, request).await.status(), 200);
    let seen = provider.seen();
    assert_eq!(seen[0].header("openai-organization"), "ours");
    assert_eq!(
        seen[1].uri,
        "https://us.azure.example/chat?user=2&api-version=2024-10-21&key=its%20own"
    );
    assert!(!seen[1].headers.contains_key("openai-organization"));
    assert_eq!(seen[1].header("openai-project"), "ours");
}

#[tokio::test(start_paused = true)]
async fn target_that_changes_nothing_is_skipped() {
    let same = "https://api.example/chat?api-version=1%202&user=2";
    for (uri, sends) in [(same, 1), ("https://api.example/chat?user=2", 2)] {
        let provider = Provider::new(|_| limited(20));
        let target = Target::model("m")
            .query("api-version", "1 2")
            .without_header(HeaderName::from_static("openai-organization"));
        let service = FallbackLayer::new([target]).layer(provider.clone());
        let mut request = chat("m");
        *request.uri_mut() = uri.parse().unwrap();
        call(&service, request).await;
        assert_eq!(provider.seen().len(), sends);
    }
}

#[tokio::test(start_paused = true)]
async fn limit_of_an_organization_does_not_limit_a_target_without_it() {
    let provider = Provider::script([limited(20), ok()]);
    let name = HeaderName::from_static("openai-organization");
    let target = Target::model("m").without_header(name.clone());
    let service = FallbackLayer::new([target]).layer(provider.clone());
    let mut request = chat("m");
    let organization = HeaderValue::from_static("ours");
    request.headers_mut().insert(name, organization);
    assert_eq!(call(&service, request).await.status(), 200);
}
