//! The layers in an axum service that asks a provider on behalf of its own callers.
//!
//! ```sh
//! cargo run --example axum_outbound --features axum
//! ```
//!
//! The body that came in goes out as it is, streamed, and so does the answer: `axum::body::Body` on
//! both sides. Each attempt has a timeout of its own. The example asks itself three times, and ends.

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
use common::{Error, keys, provider, tell};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_429::{BackoffLayer, FallbackLayer, KeyRotationLayer};
use tower_http::timeout::TimeoutLayer;

/// The whole stack, under a name that a struct can hold.
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
        let answer = client.request(request).await?.into_body().collect().await?;
        println!("  {}", String::from_utf8_lossy(&answer.to_bytes()));
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
                // What the timeout says; a chat completion may be asked for twice.
                .on_status(|status| status == StatusCode::GATEWAY_TIMEOUT),
        )
        .layer(KeyRotationLayer::new(keys()?))
        // Inside the layers it times each attempt; outside it would time the whole call.
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
    // What belonged to the connection of our caller.
    request.headers_mut().remove("host");
    let mut outbound = app.outbound;
    let outbound = outbound
        .ready()
        .await
        .map_err(|_| StatusCode::BAD_GATEWAY)?;
    let response = outbound.call(request).await;
    let response = response.map_err(|_| StatusCode::BAD_GATEWAY)?;
    tell(&response);
    Ok(response)
}
