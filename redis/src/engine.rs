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

/// The keys and the connection of one process.
#[derive(Debug)]
pub(crate) struct RedisEngine {
    keys: PoolKeys,
    link: Link,
    script: &'static str,
    /// When the last response was received.
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

    async fn exchange(
        &mut self,
        request: ExchangeRequest,
    ) -> Result<ExchangeResponse, ExchangeError> {
        let since_last = self.responded.map(|at| clock::now() - at);
        let more = (fastrand::u64(..), since_last);
        let command = command::exchange(self.script, &self.keys, &request, more);
        let response = reply::read(&self.link.send(&command).await?, request.replica)?;
        self.responded = Some(clock::now());
        Ok(response)
    }
}
