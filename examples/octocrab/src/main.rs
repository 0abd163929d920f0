//! The layers inside octocrab, GitHub's client, because they are not specific to language models.
//!
//! ```sh
//! cargo run -p example-octocrab
//! ```
//!
//! The API is on loopback and limits requests as GitHub does. The first token has used up its hourly quota, so the
//! request is retried with the second one at once. That one has hit the secondary limit, so the call waits a second.
//!
//! The layers do not know the type of octocrab's request body, and its clones share one stream. `ReplayBody` makes
//! the body replayable: from memory in the first call, and streamed in the second.

mod provider;

use std::{convert::Infallible, error::Error, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use octocrab::{AuthState, OctoBody, OctocrabBuilder, service::middleware::base_uri::BaseUriLayer};
use tower::ServiceBuilder;
use tower_429::{
    BackoffLayer, KeyPool, KeyRotationLayer,
    key_rotation::Key,
    rejection::{Reason, Rejection},
    replay::ReplayBody,
    trail::Trail,
};
use tower_http::map_request_body::MapRequestBodyLayer;

use provider::Provider;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = Provider::default();
    let base = provider.start().await?;
    // Tokens of two installations, each with its own limits.
    let tokens = KeyPool::new([
        Key::new("ghp_one").label("one"),
        Key::new("ghp_two").label("two"),
    ])?;

    let stack = ServiceBuilder::new()
        .map_response(print_trail)
        .layer(MapRequestBodyLayer::new(ReplayBody::new))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(tokens))
        .map_response(name_secondary_limit)
        .service(Client::builder(TokioExecutor::new()).build_http::<ReplayBody<OctoBody>>());
    let Ok(github) = OctocrabBuilder::new_empty()
        .with_service(stack)
        .with_layer(&BaseUriLayer::new(base.parse()?))
        .with_auth(AuthState::None)
        .build();

    let issue = serde_json::json!({ "title": "429" });
    let created: serde_json::Value = github.post("/repos/o/r/issues", Some(&issue)).await?;
    assert_eq!(created["id"], 1);
    let log = provider.take_log();
    let expected = [
        r#"ghp_one {"title":"429"} 429"#,
        r#"ghp_two {"title":"429"} 403"#,
        r#"ghp_two {"title":"429"} 201"#,
    ];
    assert_eq!(
        log, expected,
        "another token, then a wait, and the complete body each time"
    );

    println!("and streamed:");
    let chunks = ["a ", "streamed ", "asset"].map(|chunk| Ok(Frame::data(Bytes::from(chunk))));
    let body = StreamBody::new(stream::iter(
        chunks.map(|chunk: Result<_, Infallible>| chunk),
    ));
    let upload = Request::post("/repos/o/r/releases/1/assets").body(OctoBody::new(body))?;
    let response = github.execute(upload).await?;
    assert_eq!(response.status(), StatusCode::CREATED);
    let log = provider.take_log();
    let expected = [
        "ghp_two a streamed asset 403",
        "ghp_two a streamed asset 201",
    ];
    assert_eq!(
        log, expected,
        "the first token is still on cooldown, and the stream was recorded"
    );
    Ok(())
}

/// Stores a rejection in the extensions of a response that reports GitHub's secondary limit. The layers cannot know
/// that its 403 means a rate limit.
fn name_secondary_limit<B>(mut response: Response<B>) -> Response<B> {
    let wait = response.headers().get(header::RETRY_AFTER);
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
    if let (StatusCode::FORBIDDEN, Some(wait)) = (response.status(), wait) {
        let mut rejection = Rejection::new(Reason::RateLimited);
        rejection.retry_after = Some(Duration::from_secs(wait));
        response.extensions_mut().insert(rejection);
    }
    response
}

/// Prints the status of a response, and the attempts of its call.
fn print_trail<B>(response: Response<B>) -> Response<B> {
    if let Some(trail) = response.extensions().get::<Trail>() {
        println!("{}\n{trail}", response.status());
    }
    response
}
