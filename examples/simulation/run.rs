//! One batch of calls through one stack, in virtual time.

use std::{io, time::Duration};

use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::{runtime, time::sleep_until};
use tower::ServiceExt;
use tower_429::key_rotation::Session;

use crate::{
    Error,
    orders::Order,
    provider::{Entry, Provider, now},
    scenarios::Scenario,
    stacks::{self, Client},
};

/// What became of a batch.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) failed: usize,
    pub(crate) took: Duration,
    /// How long each call took, the shortest first.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) log: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    /// Backoff over KeyRotation, which waits.
    Ours,
    /// Backoff alone, for one key.
    Backoff,
    /// Keys by turns, and a doubling delay.
    ByHand,
    /// The preferred model, and the other one after an error.
    ByHandFallback,
    Ordered(Order),
}

/// Runs a scenario in virtual time, which takes a moment.
pub(crate) fn simulate(scenario: &Scenario, stack: Stack, seed: u64) -> Result<Run, Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    // What the stacks draw is the same for each run of a seed.
    fastrand::seed(seed);
    runtime.block_on(async {
        let provider = Provider::new(scenario.plan.clone(), seed);
        let (client, pool) = stacks::build(stack, scenario.setup, provider.clone())?;
        let run = batch(scenario, seed, client, || provider.log()).await;
        let keys = pool.iter().flat_map(|pool| pool.snapshot());
        let leaked = keys.filter(|key| key.in_flight > 0).count();
        match leaked {
            0 => Ok(run),
            _ => Err(io::Error::other(format!("{leaked} keys were not given back")).into()),
        }
    })
}

/// Sends the batch, so many calls at once.
pub(crate) async fn batch(
    scenario: &Scenario,
    seed: u64,
    client: Client,
    log: impl FnOnce() -> Vec<Entry>,
) -> Run {
    let started = now();
    let calls = stream::iter(0..scenario.calls).map(|number| {
        let client = client.clone();
        let session = number.checked_rem(scenario.sessions);
        let named = session.filter(|_| scenario.names_sessions);
        let begins = started + scenario.apart * u32::try_from(number).unwrap_or(u32::MAX);
        async move {
            sleep_until(begins).await;
            let began = now();
            (call(client, session, named).await, now() - began)
        }
    });
    let calls = calls.buffer_unordered(scenario.workers);
    let outcomes: Vec<_> = calls.collect().await;
    let is_answer = |(status, _): &&(Option<StatusCode>, _)| *status == Some(StatusCode::OK);
    let answered = outcomes.iter().filter(is_answer).count();
    let mut latencies: Vec<_> = outcomes.iter().map(|(_, took)| *took).collect();
    latencies.sort();
    Run {
        seed,
        failed: outcomes.len() - answered,
        took: now() - started,
        latencies,
        log: log(),
    }
}

async fn call(client: Client, session: Option<usize>, named: Option<usize>) -> Option<StatusCode> {
    let mut request = Request::post("https://api.example/v1/chat/completions")
        .header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("session", session);
    }
    if let Some(named) = named {
        request = request.extension(Session::new(named));
    }
    let request = request.body(Full::from(r#"{"model":"large","messages":[]}"#));
    client.oneshot(request.ok()?).await.ok()
}

// === impl Run ===

impl Run {
    /// 429s of limits: requests that cost time and bring nothing.
    pub(crate) fn wasted(&self, scenario: &Scenario) -> usize {
        let limited = self.log.iter().filter(|entry| entry.status == 429);
        limited.filter(|entry| !is_dead(scenario, entry)).count()
    }

    /// Requests with keys that do not work.
    pub(crate) fn dead(&self, scenario: &Scenario) -> usize {
        let dead = self.log.iter().filter(|entry| is_dead(scenario, entry));
        dead.count()
    }

    /// Calls that were sent though an answer had told to wait longer.
    pub(crate) fn early(&self) -> usize {
        self.log.iter().filter(|entry| entry.early).count()
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let latency = self.latencies.get(last * percent / 100);
        latency.copied().unwrap_or_default()
    }

    pub(crate) fn over_ideal(&self, scenario: &Scenario) -> f64 {
        self.took.as_secs_f64() / scenario.ideal().as_secs_f64()
    }
}

fn is_dead(scenario: &Scenario, entry: &Entry) -> bool {
    entry.status == StatusCode::UNAUTHORIZED || scenario.plan.is_dead(&entry.key)
}
