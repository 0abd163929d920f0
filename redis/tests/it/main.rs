//! Whole processes that share through a real server.

mod latency;
mod log;
mod outages;
mod processes;
mod provider;
mod secrets;
#[allow(dead_code)]
mod support;
#[cfg(feature = "tls")]
mod tls;
mod worker;
