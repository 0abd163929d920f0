//! The integration tests. Each topic is a module of one binary, because linking a binary takes time.

#![allow(clippy::disallowed_methods)] // A test may read a paused clock.

mod accounts;
mod backoff;
mod backoff_line;
mod clients;
mod compile_errors;
mod concurrent;
mod connections;
mod contract;
mod cost;
mod crate_page;
mod denied;
mod draining;
mod elsewhere;
mod errors;
mod events;
mod exhausted;
mod fallback;
mod hints;
mod http2;
mod inspect;
mod inspect_end_to_end;
mod key_rotation;
mod known_limits;
mod loopback;
mod on_attempt;
mod on_unavailable;
mod operators;
mod orders;
mod readiness;
mod rejection_facts;
mod rejection_hostile;
mod rejection_kinds;
mod rejection_numbers;
mod rejection_rows;
mod request_key;
#[cfg(feature = "reqwest")]
mod reqwest_service;
mod rounds;
mod rows;
mod scheduling;
mod script;
mod secrets;
mod serialize;
mod share;
mod sockets;
mod splice;
mod stacks;
mod structure;
mod subscriber;
mod timer;
mod types;
mod upload_waits;
mod uploads;
