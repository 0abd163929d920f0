//! Adapters for HTTP clients that do not implement `Service<http::Request<_>>`.
//!
//! hyper-util's legacy client implements it and needs no adapter. `ReqwestClient` wraps reqwest's
//! `Client` (feature `reqwest`). `ReqwestService` turns a stack of layers into a service of reqwest's
//! types, for SDKs such as async-openai. The package `examples/async_openai` shows both:
//! `cargo run -p example-async-openai`. The package `examples/octocrab` has the layers inside octocrab, GitHub's
//! client, because nothing in the layers is specific to language models: `cargo run -p example-octocrab`. The
//! package `examples/clients` has kube and tonic. The examples `hyper_client`, `reqwest_client` and
//! `axum_outbound` show one client each.
//!
//! If a stack does not compile, [this section](crate::retry#when-it-does-not-compile) helps.
//!
//! # Clients with a body type of their own
//!
//! Outside the layers each needs `MapRequestBodyLayer::new(ReplayBody::new)` of tower-http, and nothing else if
//! the layers are directly around hyper's client:
//!
//! | client | also | where |
//! |---|---|---|
//! | octocrab 0.54 | nothing | `OctocrabBuilder::with_service` |
//! | kube 5, over hyper's client | nothing | `Client::new` |
//! | kube 5, over its own transport | inside `.filter_async(whole)`, then `.buffer(1_024)` | `ClientBuilder::with_layer` |
//! | tonic 0.14, over its channel | inside `MapRequestBodyLayer::new(Body::new::<ReplayBody<Body>>)` | `Grpc::new`, or `new` of a generated client |
//! | AWS SDK for Rust | outside `MapResponseBodyLayer::new(SdkBody::from_body_1_x)` | an `HttpConnector`, after `try_into_http1x` |
//! | object_store 0.14 | nothing | an `HttpService` |
//!
//! `whole` is four lines in `examples/clients`: it reads the body to its end, because kube's body is built from
//! bytes only. The buffer makes kube's transport `Clone`. [`ReplayBody`](crate::replay::ReplayBody) has more
//! about the way back to a client's body.
//!
//! # reqwest
//!
//! async-openai 0.43 makes its requests by a factory, so `with_http_service` takes a service of factories. It is
//! four lines around `ReqwestService` in `examples/async_openai`.
//!
//! `ReqwestClient` also wraps `ClientWithMiddleware` of reqwest-middleware 0.5. It is for reqwest 0.13. For
//! another version, or any other client, a function is enough. This one is for reqwest 0.12 under the name
//! `reqwest_012`:
//!
//! ```
//! # #[cfg(feature = "reqwest")] mod with_reqwest {
//! # use reqwest as reqwest_012; // These lines are the same in both versions.
//! # use bytes::Bytes;
//! # use http_body_util::Full;
//! # use tower::{Service, ServiceBuilder, service_fn};
//! # use tower_429::BackoffLayer;
//! # pub fn client(client: reqwest_012::Client) -> impl Service<http::Request<Full<Bytes>>> + Clone {
//! let send = service_fn(move |request: http::Request<Full<Bytes>>| {
//!     let (client, request) = (client.clone(), request.map(reqwest_012::Body::wrap));
//!     async move { client.execute(request.try_into()?).await.map(http::Response::from) }
//! });
//! ServiceBuilder::new().layer(BackoffLayer::new()).service(send)
//! # }
//! # }
//! # #[cfg(feature = "reqwest")] with_reqwest::client(reqwest::Client::new());
//! ```

#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "reqwest")]
mod reqwest_service;

#[cfg(feature = "reqwest")]
pub use self::{
    reqwest::{ReqwestClient, ReqwestClientFuture},
    reqwest_service::{ReqwestService, ReqwestServiceFuture},
};
