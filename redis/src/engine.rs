//! The engine: one script for all.

use tokio::time::Instant;
use tower_429::share::{Engine, ExchangeRequest, ExchangeResponse, Name};

use crate::{
    clock, command,
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
    /// When the last response came.
    responded: Option<Instant>,
}

// === impl RedisEngine ===

impl RedisEngine {
    pub(crate) fn new(server: Box<dyn Connect>, name: &Name) -> Result<Self, Error> {
        Ok(Self {
            keys: PoolKeys::new(name)?,
            link: Link::new(server),
            script: command::script(),
            responded: None,
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
        let silent = self.responded.map(|at| clock::now() - at);
        let more = (fastrand::u64(..), silent);
        let command = command::exchange(self.script, &self.keys, &say, more);
        let response = reply::read(&self.link.send(&command).await?, say.replica)?;
        self.responded = Some(clock::now());
        Ok(response)
    }
}
