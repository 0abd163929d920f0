//! Adapters to clients that are no `Service<http::Request<_>>` by themselves.
//!
//! hyper-util's legacy client is one, and needs none. `ReqwestClient` makes one of reqwest's `Client`
//! (feature `reqwest`), and `ReqwestService` makes a service of reqwest's types of a stack, for SDKs such
//! as async-openai that take one: the package `examples/async_openai` shows both around the layers.

#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "reqwest")]
mod reqwest_service;

#[cfg(feature = "reqwest")]
pub use self::{
    reqwest::{ReqwestClient, ReqwestClientFuture},
    reqwest_service::{ReqwestService, ReqwestServiceFuture},
};
