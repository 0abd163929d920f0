//! The example `gateway` between a caller and a provider that are played byte by byte.

#![allow(clippy::disallowed_methods)]

#[allow(dead_code, reason = "the example uses all of it")]
#[path = "../../examples/gateway/mock/mod.rs"]
mod mock;
#[allow(dead_code, reason = "the example uses all of it")]
#[path = "../../examples/gateway/serve/mod.rs"]
mod serve;

mod admission;
mod answers;
mod config;
mod deadline;
mod forwarding;
mod harness;
mod limits;
mod many;
mod next_key;
mod patience;
mod providers;
mod requests;
mod streaming;
mod telling;
mod wire;
