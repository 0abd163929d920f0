//! Adapters for HTTP clients that do not implement `Service<http::Request<_>>`.
//!
//! hyper-util's legacy client implements it and needs no adapter. `ReqwestClient` wraps reqwest's
//! `Client` (feature `reqwest`). `ReqwestService` turns a stack of layers into a service of reqwest's
//! types, for SDKs such as async-openai. The package `examples/async_openai` shows both.

#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "reqwest")]
mod reqwest_service;

#[cfg(feature = "reqwest")]
pub use self::{
    reqwest::{ReqwestClient, ReqwestClientFuture},
    reqwest_service::{ReqwestService, ReqwestServiceFuture},
};
