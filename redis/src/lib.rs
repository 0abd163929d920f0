//! Shares the limits of [`tower_429`] between processes through Redis or Valkey.

mod clock;
mod codec;
mod command;
mod engine;
mod error;
mod keys;
mod link;
mod reply;
mod server;
#[cfg(test)]
mod tests;

use tower_429::share::{Driver, Name, Sharing, share};

pub use error::Error;

use engine::RedisEngine;
use server::OneServer;

/// Returns what pools share through, and the driver to spawn.
pub fn connect(url: &str, name: Name) -> Result<(Sharing, Driver), Error> {
    let engine = RedisEngine::new(Box::new(OneServer::new(url)?), &name)?;
    Ok(share(engine, name))
}
