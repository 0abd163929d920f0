//! The layers inside async-openai, with its `with_http_service`.
//!
//! ```sh
//! cargo run -p example-async-openai
//! ```
//!
//! The provider on loopback allows each of two keys one request to the large model. The first call succeeds at once,
//! and the second with the other key. The fallback model serves the third call and a streamed one. async-openai does
//! not notice. Its own retries are a service too, which this stack replaces.

mod provider;

use std::error::Error;

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    middleware::HttpRequestFactory,
    types::chat::{
        ChatCompletionRequestUserMessage, CreateChatCompletionRequest,
        CreateChatCompletionRequestArgs,
    },
};
use futures::StreamExt;
use reqwest::redirect::Policy;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    client::{ReqwestClient, ReqwestService},
    trail::Trail,
};

use provider::Provider;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = Provider::default();
    let base = provider.start().await?;

    // A key must not follow a redirect to another origin.
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()?;
    let stack = ServiceBuilder::new()
        .map_response(print_trail)
        .layer(ReqwestService::layer())
        .layer(FallbackLayer::new(["small"]))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(KeyPool::new(["sk-one", "sk-two"])?))
        .layer(InspectLayer::new())
        .service(ReqwestClient::new(client));
    // async-openai passes a factory of requests. One request is enough, because the layers replay it.
    let service = service_fn(move |factory: HttpRequestFactory| {
        let stack = stack.clone();
        async move { Ok::<_, OpenAIError>(stack.oneshot(factory.build().await?).await?) }
    });
    // The layers replace this key.
    let config = OpenAIConfig::new().with_api_base(base).with_api_key("none");
    let client = Client::with_config(config).with_http_service(service);

    for served_by in ["large", "large", "small"] {
        let answer = client.chat().create(hello()?).await?;
        let content = answer.choices[0].message.content.clone();
        assert_eq!(answer.model, served_by);
        assert_eq!(
            content.as_deref(),
            Some(&*format!("{served_by} says hello"))
        );
    }

    let mut stream = client.chat().create_stream(hello()?).await?;
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.extend(chunk?.choices[0].delta.content.clone());
    }
    assert_eq!(chunks, ["small", " says", " hello"]);

    let log = provider.log();
    println!("\nthe provider saw:\n  {}", log.join("\n  "));
    let expected = [
        "sk-one large 200",
        "sk-one large 429",
        "sk-two large 200",
        "sk-two large 429",
        "sk-two small 200",
        "sk-two small 200",
    ];
    assert_eq!(
        log, expected,
        "another key, then another model, and limits are remembered"
    );
    Ok(())
}

fn hello() -> Result<CreateChatCompletionRequest, OpenAIError> {
    CreateChatCompletionRequestArgs::default()
        .model("large")
        .messages([ChatCompletionRequestUserMessage::from("hello").into()])
        .build()
}

/// Prints the status of a response, and the attempts of its call.
fn print_trail(response: reqwest::Response) -> reqwest::Response {
    if let Some(trail) = response.extensions().get::<Trail>() {
        println!("{}\n{trail}", response.status());
    }
    response
}
