//! The engine: one script for all.

use tower_429::share::{Engine, ExchangeRequest, ExchangeResponse, Name};

use crate::{
    command,
    error::{Error, ExchangeError},
    keys::PoolKeys,
    link::{Connect, Link},
    reply,
};

/// What one process has of the server.
#[derive(Debug)]
pub(crate) struct RedisEngine {
    keys: PoolKeys,
    link: Link,
    script: &'static str,
}

// === impl RedisEngine ===

impl RedisEngine {
    pub(crate) fn new(server: Box<dyn Connect>, name: &Name) -> Result<Self, Error> {
        Ok(Self {
            keys: PoolKeys::new(name)?,
            link: Link::new(server),
            script: command::script(),
        })
    }

    /// Sends another script.
    #[cfg(test)]
    pub(crate) fn script(self, script: &'static str) -> Self {
        Self { script, ..self }
    }
}

impl Engine for RedisEngine {
    type Error = ExchangeError;

    async fn exchange(&mut self, say: ExchangeRequest) -> Result<ExchangeResponse, ExchangeError> {
        let command = command::exchange(self.script, &self.keys, &say, fastrand::u64(..));
        reply::read(&self.link.send(&command).await?, say.replica)
    }
}
