//! A process that sends calls. The tests start themselves again with the name of its test.

use std::{
    env,
    error::Error,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::task::JoinSet;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, KeyPool, KeyRotationLayer, share::Name};

/// What a worker does: URL of the server, origin, keys, callers, and calls of each.
const SETTINGS: &str = "TOWER_429_REDIS_WORKER";

pub(crate) const MODEL: &str = "a-model-of-nobody-else";
pub(crate) const SECRET: &str = "a-secret-of-the-hash";
pub(crate) const NAME: &str = "prod/openai";

/// What a worker does.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) server: String,
    pub(crate) origin: String,
    pub(crate) keys: Vec<String>,
    pub(crate) callers: u32,
    pub(crate) calls: u32,
}

impl Work {
    /// Starts a process that does it.
    pub(crate) fn start(&self) -> Child {
        let child = self.command().spawn();
        child.expect("this program can be started")
    }

    /// Returns the command that starts it.
    pub(crate) fn command(&self) -> Command {
        let keys = self.keys.join(",");
        let (callers, calls) = (self.callers, self.calls);
        let settings = format!("{} {} {keys} {callers} {calls}", self.server, self.origin);
        let program = env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command
            .args(["--exact", "worker::worker", "--ignored", "--nocapture"])
            .env(SETTINGS, settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }

    fn from_env() -> Option<Self> {
        let settings = env::var(SETTINGS).ok()?;
        let [server, origin, keys, callers, calls] =
            settings.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            server: server.to_owned(),
            origin: origin.to_owned(),
            keys: keys.split(',').map(str::to_owned).collect(),
            callers: callers.parse().ok()?,
            calls: calls.parse().ok()?,
        })
    }

    /// Sends the calls. Returns how many have failed.
    pub(crate) async fn run(&self) -> Result<u32, Box<dyn Error + Send + Sync>> {
        let name = Name::new(NAME).secret(SECRET);
        let (sharing, driver) = tower_429_redis::connect(&self.server, name)?;
        let driver = tokio::spawn(driver);
        let pool = KeyPool::builder(self.keys.iter().map(String::as_str))
            .for_origin(&self.origin)
            .shared(sharing.clone())
            .build()?;
        sharing.ready().await;
        let layer = KeyRotationLayer::new(pool).wait_when_exhausted(Duration::from_secs(60));
        let client = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(layer)
            .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            let (mut client, work) = (client.clone(), self.clone());
            callers.spawn(async move {
                let mut failed = 0;
                for _ in 0..work.calls {
                    let body = format!(r#"{{"model": "{MODEL}", "messages": []}}"#);
                    let request = Request::post(format!("{}/v1/chat/completions", work.origin))
                        .body(Full::from(body));
                    let response = match (client.ready().await, request) {
                        (Ok(client), Ok(request)) => client.call(request).await,
                        _ => return work.calls,
                    };
                    let has_passed = response.is_ok_and(|it| it.status().is_success());
                    failed += u32::from(!has_passed);
                }
                failed
            });
        }
        let failed = callers.join_all().await.iter().sum();
        drop((client, sharing));
        // It tells the others that this process ends.
        driver.await?;
        Ok(failed)
    }
}

/// Waits for a worker. Returns how many of its calls have failed.
pub(crate) fn failed(worker: Child) -> u32 {
    let output = worker.wait_with_output().expect("the worker ends");
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text
        .lines()
        .find_map(|line| line.split("failed=").nth(1)?.parse().ok());
    failed.unwrap_or_else(|| panic!("the worker does not say how it ended: {text}"))
}

#[tokio::test]
#[ignore = "the other tests start it"]
async fn worker() -> Result<(), Box<dyn Error + Send + Sync>> {
    if let Some(work) = Work::from_env() {
        println!("\nfailed={}", work.run().await?);
    }
    Ok(())
}
