//! Adapters to clients that are no `Service<http::Request<_>>` by themselves.
//!
//! hyper-util's legacy client is one, and needs none. `Reqwest` makes one of reqwest's `Client`
//! (feature `reqwest`), and `AsReqwest` makes a service of reqwest's types of a stack, for SDKs such
//! as async-openai that take one: the package `examples/async_openai` shows both around the layers.

#[cfg(feature = "reqwest")]
mod as_reqwest;
#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "reqwest")]
pub use self::{
    as_reqwest::{AsReqwest, AsReqwestFuture},
    reqwest::{Reqwest, ReqwestFuture},
};
