//! The gateway between a caller and a provider that are played byte by byte.

#![allow(clippy::disallowed_methods)]

mod admission;
mod answers;
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
mod refusals;
mod requests;
mod room;
mod streaming;
mod telling;
mod wire;

use crate::{mock, serve};
