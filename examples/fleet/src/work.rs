//! What each process does.

use std::{env, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::task::JoinSet;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, KeyPool, KeyRotationLayer,
    share::{Driver, InMemory, Name, Sharing, share},
};

use crate::{Error, provider::PROCESS, runs::PROCESSES};

pub(crate) const KEYS: [&str; 4] = ["sk-alpha", "sk-beta", "sk-gamma", "sk-delta"];

/// How many calls of a process are made at once.
pub(crate) const CALLERS: u64 = 16;

/// The variable that tells a process what to do.
const VARIABLE: &str = "TOWER_429_FLEET";

const NAME: &str = "fleet";

/// What one process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) process: usize,
    pub(crate) origin: String,
    pub(crate) calls: u64,
    pub(crate) mode: Mode,
}

/// What processes know of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Apart,
    /// How many they are.
    Counted,
    /// They share through the server at this URL.
    Shared(String),
}

// === impl Work ===

impl Work {
    /// Returns the work of this process, if another one has started it.
    pub(crate) fn from_env() -> Option<Self> {
        Self::parse(&env::var(VARIABLE).ok()?)
    }

    /// Returns the variable that tells another process of this work.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        let mode = match &self.mode {
            Mode::Apart => "apart",
            Mode::Counted => "counted",
            Mode::Shared(url) => url,
        };
        let (process, calls) = (self.process, self.calls);
        (
            VARIABLE,
            format!("{process} {calls} {} {mode}", self.origin),
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let [process, calls, origin, mode] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            process: process.parse().ok()?,
            origin: origin.to_owned(),
            calls: calls.parse().ok()?,
            mode: match mode {
                "apart" => Mode::Apart,
                "counted" => Mode::Counted,
                url => Mode::Shared(url.to_owned()),
            },
        })
    }

    /// Sends the calls. Returns how many have failed.
    pub(crate) async fn run(&self) -> Result<u64, Error> {
        let shared = match &self.mode {
            Mode::Shared(url) => Some(tower_429_redis::connect(url, Name::new(NAME))?),
            _ => None,
        };
        self.run_with(shared).await
    }

    /// Does the same as one of several pools of this process.
    pub(crate) async fn run_in_memory(&self, engine: InMemory) -> Result<u64, Error> {
        self.run_with(Some(share(engine, Name::new(NAME)))).await
    }

    async fn run_with(&self, shared: Option<(Sharing, Driver)>) -> Result<u64, Error> {
        let mut pool = KeyPool::builder(KEYS).for_origin(&self.origin);
        if self.mode == Mode::Counted {
            pool = pool.replicas(PROCESSES as u32);
        }
        if let Some((sharing, driver)) = shared {
            tokio::spawn(driver);
            sharing.ready().await;
            pool = pool.shared(sharing);
        }
        let keys = KeyRotationLayer::new(pool.build()?);
        let client = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(keys.wait_when_exhausted(Duration::from_secs(60)))
            .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (mut client, work) = (client.clone(), self.clone());
            callers.spawn(async move {
                let mut failed = 0;
                for _ in 0..work.calls / CALLERS {
                    let response = client.ready().await?.call(work.request()?).await;
                    let has_passed = response.is_ok_and(|it| it.status().is_success());
                    failed += u64::from(!has_passed);
                }
                Ok::<_, Error>(failed)
            });
        }
        let mut failed = 0;
        while let Some(of_caller) = callers.join_next().await {
            failed += of_caller??;
        }
        Ok(failed)
    }

    fn request(&self) -> http::Result<Request<Full<Bytes>>> {
        Request::post(format!("{}/v1/chat/completions", self.origin))
            .header(PROCESS, self.process)
            .body(Full::from(r#"{"model": "large"}"#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_reads_the_work_that_another_one_has_written() {
        let url = "redis://127.0.0.1:6379".to_owned();
        for mode in [Mode::Apart, Mode::Counted, Mode::Shared(url)] {
            let work = Work {
                process: 3,
                origin: "http://127.0.0.1:80".to_owned(),
                calls: 5,
                mode,
            };
            assert_eq!(Work::parse(&work.variable().1), Some(work));
        }
        assert_eq!(Work::parse("3 5 http://127.0.0.1:80"), None);
    }
}
