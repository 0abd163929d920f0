//! A process that sends calls. The tests start themselves again with the name of its test.

use std::{
    env,
    error::Error,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{task::JoinSet, time::Instant};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, KeyPool, KeyRotationLayer, share::Name, trail::Trail};

use crate::log::SharingLog;

/// What a worker does: URL of the server or `-`, origin, keys, callers, calls of each, and the milliseconds between them.
const SETTINGS: &str = "TOWER_429_REDIS_WORKER";

pub(crate) const MODEL: &str = "a-model-of-nobody-else";
pub(crate) const SECRET: &str = "a-secret-of-the-hash";
pub(crate) const NAME: &str = "prod/openai";

/// What a worker does.
#[derive(Clone)]
pub(crate) struct Work {
    /// The URL; `None` if it shares nothing.
    pub(crate) server: Option<String>,
    pub(crate) origin: String,
    pub(crate) keys: Vec<String>,
    pub(crate) callers: u32,
    pub(crate) calls: u32,
    /// How long a caller waits after a call.
    pub(crate) pause: Duration,
}

/// The outcome of a worker.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many calls have failed.
    pub(crate) failed: u32,
    /// What it has logged about sharing, and when: milliseconds since 1970.
    pub(crate) log: Vec<(u64, String)>,
    pub(crate) times: Vec<CallTime>,
}

/// How long a call took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTime {
    /// When it began, since the first call of its caller.
    pub(crate) began: u64,
    /// How long the layers held it back, such as for a lease.
    pub(crate) waited: u64,
    pub(crate) took: u64,
}

impl CallTime {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map_while(|it| it.parse().ok());
        Some(Self {
            began: numbers.next()?,
            waited: numbers.next()?,
            took: numbers.next()?,
        })
    }
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
        let server = self.server.as_deref().unwrap_or("-");
        let pause = self.pause.as_millis();
        let settings = format!("{server} {} {keys} {callers} {calls} {pause}", self.origin);
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
        let [server, origin, keys, callers, calls, pause] =
            settings.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            server: (server != "-").then(|| server.to_owned()),
            origin: origin.to_owned(),
            keys: keys.split(',').map(str::to_owned).collect(),
            callers: callers.parse().ok()?,
            calls: calls.parse().ok()?,
            pause: Duration::from_millis(pause.parse().ok()?),
        })
    }

    /// Sends the calls. Returns how many have failed, and how long they took.
    pub(crate) async fn run(&self) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
        let keys = self.keys.iter().map(String::as_str);
        let mut pool = KeyPool::builder(keys).for_origin(&self.origin);
        let mut driver = None;
        if let Some(url) = &self.server {
            let name = Name::new(NAME).secret(SECRET);
            let (sharing, future) = tower_429_redis::connect(url, name)?;
            driver = Some(tokio::spawn(future));
            pool = pool.shared(sharing.clone());
            sharing.ready().await;
        }
        let layer = KeyRotationLayer::new(pool.build()?);
        let client = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(layer.wait_when_exhausted(Duration::from_secs(60)))
            .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            callers.spawn(self.clone().call_in_turn(client.clone()));
        }
        let mut outcome = Outcome::default();
        for (failed, times) in callers.join_all().await {
            outcome.failed += failed;
            outcome.times.extend(times);
        }
        drop(client);
        if let Some(driver) = driver {
            // The last exchange frees what this process holds.
            driver.await?;
        }
        Ok(outcome)
    }

    /// Sends the calls of one caller.
    async fn call_in_turn<S, B>(self, mut client: S) -> (u32, Vec<CallTime>)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    {
        let (mut failed, mut times) = (0, Vec::new());
        let started = now();
        for _ in 0..self.calls {
            let body = format!(r#"{{"model": "{MODEL}", "messages": []}}"#);
            let request = Request::post(format!("{}/v1/chat/completions", self.origin))
                .body(Full::from(body));
            let began = now();
            let response = match (client.ready().await, request) {
                (Ok(client), Ok(request)) => client.call(request).await,
                _ => return (self.calls, times),
            };
            let trail = response.as_ref().ok();
            let trail = trail.and_then(|it| it.extensions().get::<Trail>());
            times.push(CallTime {
                began: micros(began - started),
                waited: trail.map_or(0, |it| micros(it.waited())),
                took: micros(began.elapsed()),
            });
            let has_passed = response.is_ok_and(|it| it.status().is_success());
            failed += u32::from(!has_passed);
            tokio::time::sleep(self.pause).await;
        }
        (failed, times)
    }
}

#[allow(clippy::disallowed_methods)] // It measures.
fn now() -> Instant {
    Instant::now()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn line(text: &str) -> Option<(u64, String)> {
    let (millis, text) = text.split_once(' ')?;
    Some((millis.parse().ok()?, text.to_owned()))
}

/// Waits for a worker.
pub(crate) fn outcome(worker: Child) -> Outcome {
    let output = worker.wait_with_output().expect("the worker ends");
    let text = String::from_utf8_lossy(&output.stdout);
    let values = |name: &'static str| text.lines().filter_map(move |line| line.split(name).nth(1));
    let failed = values("failed=").find_map(|it| it.parse().ok());
    Outcome {
        failed: failed.unwrap_or_else(|| panic!("the worker has printed no outcome: {text}")),
        log: values("logged=").filter_map(line).collect(),
        times: values("micros=").filter_map(CallTime::parse).collect(),
    }
}

#[tokio::test]
#[ignore = "the other tests start it"]
async fn worker() -> Result<(), Box<dyn Error + Send + Sync>> {
    if let Some(work) = Work::from_env() {
        tracing::subscriber::set_global_default(SharingLog)?;
        let outcome = work.run().await?;
        println!("\nfailed={}", outcome.failed);
        for it in &outcome.times {
            println!("micros={} {} {}", it.began, it.waited, it.took);
        }
    }
    Ok(())
}
