//! Mock providers: a server on loopback, a scripted service in the process, and a server that limits as OpenAI does.

#![allow(clippy::disallowed_methods)] // The provider reads its own clock.

mod limited;
mod script;
mod server;

pub use limited::{Entry, LimitedProvider, Model, json_response};
pub use script::{Answer, Provider, Seen, chat, limited, ok, rejected, secs, status};
pub use server::{Server, bearer, read};
