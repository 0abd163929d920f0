//! Adapters to clients that are no `Service<http::Request<_>>` by themselves.
//!
//! hyper-util's legacy client is one, and needs none. `Reqwest` makes one of reqwest's `Client`
//! (feature `reqwest`).

#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "reqwest")]
pub use self::reqwest::{Reqwest, ReqwestFuture};
