//! Mock providers: one on loopback, one in the process, and one that limits as OpenAI does.

#![allow(clippy::disallowed_methods)] // A provider has a clock of its own.

mod limited;
mod script;
mod server;

pub use limited::{Entry, LimitedProvider, Model, json_response};
pub use script::{Answer, Provider, Seen, chat, limited, ok, rejected, secs, status};
pub use server::{Server, bearer, read};
