//! The layers in an axum service that calls a provider on behalf of its own callers.
//!
//! ```sh
//! cargo run --example axum_outbound --features axum
//! ```
//!
//! Request and response bodies are streamed unchanged, because both sides use `axum::body::Body`. Each attempt has
//! its own timeout. The example sends three requests to its own service, and ends.

mod common;

use std::{net::Ipv4Addr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::post,
};
use common::{Error, keys, print_trail, provider};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_429::{BackoffLayer, FallbackLayer, KeyRotationLayer};
use tower_http::timeout::TimeoutLayer;

/// The type of the stack, so that a struct can hold it.
type Outbound = BoxCloneSyncService<Request, Response, ClientError>;

#[derive(Clone)]
struct App {
    outbound: Outbound,
    provider: Uri,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let provider = provider().await?;
    let app = App {
        outbound: outbound()?,
        provider: format!("{}/v1/chat/completions", provider.origin()).parse()?,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/chat", post(chat)).with_state(app);
    let server = tokio::spawn(async { axum::serve(listener, router).await });

    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    for _ in 0..3 {
        let request = Request::post(format!("http://{address}/chat"))
            .header("content-type", "application/json")
            .body(Body::from(r#"{"model":"large","messages":[]}"#))?;
        let body = client.request(request).await?.into_body().collect().await?;
        println!("  {}", String::from_utf8_lossy(&body.to_bytes()));
    }
    server.abort();
    Ok(())
}

fn outbound() -> Result<Outbound, Error> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let stack = ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]))
        .layer(
            BackoffLayer::new()
                .max_wait(Duration::from_millis(100))
                // The status of the timeout below. A chat completion may be sent twice.
                .on_status(|status| status == StatusCode::GATEWAY_TIMEOUT),
        )
        .layer(KeyRotationLayer::new(keys()?))
        // Inside the layers the timeout bounds each attempt. Outside it would bound the call.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(30),
        ))
        .map_response(IntoResponse::into_response)
        .service(client);
    Ok(BoxCloneSyncService::new(stack))
}

async fn chat(State(app): State<App>, mut request: Request) -> Result<Response, StatusCode> {
    *request.uri_mut() = app.provider;
    // The caller's `host` names this service, not the provider.
    request.headers_mut().remove("host");
    let mut outbound = app.outbound;
    let outbound = outbound
        .ready()
        .await
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    let response = outbound.call(request).await;
    let response = response.map_err(|_| StatusCode::BAD_GATEWAY)?;
    print_trail(&response);
    Ok(response)
}
