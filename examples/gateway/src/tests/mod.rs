//! Tests of the gateway between a caller and a provider, whose bytes the tests send and read.

#![allow(clippy::disallowed_methods)]

mod admission;
mod capacity;
mod check;
mod config;
mod deadline;
mod forwarding;
mod harness;
mod limits;
mod many;
mod max_wait;
mod next_key;
mod priority;
mod providers;
mod rejections;
mod reporting;
mod requests;
mod responses;
#[path = "../../tests/redis/mod.rs"]
mod server;
mod share;
mod streaming;
mod wire;

use crate::{mock, serve};
