//! One batch of calls through one stack, in virtual time.

use std::{cell::Cell, io, iter, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::{
    runtime,
    time::{Instant, sleep_until, timeout_at},
};
use tower::ServiceExt;
use tower_429::key_rotation::Session;

use crate::{
    Error,
    fleet::Processes,
    orders::Order,
    provider::{Entry, Provider, now},
    scenarios::Scenario,
    stacks::Client,
    work::Work,
};

/// The result of a batch.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) failed: usize,
    pub(crate) took: Duration,
    /// The times of the calls, the shortest first.
    pub(crate) latencies: Vec<Duration>,
    /// The times of the calls, in the order of the calls.
    pub(crate) by_number: Vec<Duration>,
    pub(crate) log: Vec<Entry>,
    /// How many exchanges the processes have made with an engine.
    pub(crate) exchanges: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    /// Backoff over KeyRotation, which waits.
    Ours,
    /// Backoff alone, for one key.
    Backoff,
    /// Keys in turn, and a doubling delay.
    ByHand,
    /// The preferred model, and the fallback model after an error.
    ByHandFallback,
    Ordered(Order),
    /// The stack of `examples/service.rs`.
    ServiceRecipe,
    /// The stack of `examples/batch.rs`.
    BatchRecipe,
}

/// Runs a scenario in virtual time.
pub(crate) fn simulate(scenario: &Scenario, stack: Stack, seed: u64) -> Result<Run, Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    // The stacks draw the same random numbers in each run of a seed.
    fastrand::seed(seed);
    runtime.block_on(async {
        let provider = Provider::new(scenario.plan.clone(), seed);
        let processes = Processes::new(stack, scenario.setup, provider.clone()).await?;
        let clients = processes.clients();
        let run = tokio::select! {
            run = batch(scenario, seed, &clients, || provider.log()) => run,
            result = processes.suffer() => match result? {},
        };
        let keys = processes.pools.iter().flat_map(|pool| pool.snapshot());
        let leaked = keys.filter(|key| key.in_flight > 0).count();
        match leaked {
            0 => Ok(Run {
                exchanges: processes.exchanges(),
                ..run
            }),
            _ => Err(io::Error::other(format!("{leaked} keys were not released")).into()),
        }
    })
}

/// Sends the batch with the workers of the scenario, and the background calls beside it. The workers are divided among
/// the processes, and each worker takes the next call.
pub(crate) async fn batch(
    scenario: &Scenario,
    seed: u64,
    clients: &[Client],
    log: impl FnOnce() -> Vec<Entry>,
) -> Run {
    let started = now();
    let next = Cell::new(0);
    let numbers = || {
        iter::from_fn(|| {
            let number = next.get();
            next.set(number + 1);
            (number < scenario.calls).then_some(number)
        })
    };
    let workers = scenario.workers.div_ceil(clients.len());
    let calls = clients.iter().map(|client| {
        let calls = stream::iter(numbers()).map(|number| {
            let client = client.clone();
            let begins = started + scenario.apart * u32::try_from(number).unwrap_or(u32::MAX);
            async move {
                sleep_until(begins).await;
                let began = now();
                let status = call(client, request(scenario, seed, number)).await;
                (number, status, now() - began)
            }
        });
        calls.buffer_unordered(workers).collect::<Vec<_>>()
    });
    let background = background(scenario, seed, clients, started);
    let (outcomes, failed) = tokio::join!(join_all(calls), background);
    let mut outcomes = outcomes.concat();
    let is_answer = |(_, status, _): &&(_, Option<StatusCode>, _)| *status == Some(StatusCode::OK);
    let answered = outcomes.iter().filter(is_answer).count();
    outcomes.sort_by_key(|(number, ..)| *number);
    let by_number: Vec<_> = outcomes.iter().map(|(.., took)| *took).collect();
    let mut latencies = by_number.clone();
    latencies.sort();
    Run {
        seed,
        failed: outcomes.len() - answered + failed,
        took: now() - started,
        latencies,
        by_number,
        log: log(),
        exchanges: 0,
    }
}

/// Sends background calls until their time is over, and returns how many failed.
///
/// Calls in flight are then dropped, as by a program that ends.
async fn background(scenario: &Scenario, seed: u64, clients: &[Client], started: Instant) -> usize {
    let (Some(background), Some(client)) = (scenario.background, clients.first()) else {
        return 0;
    };
    let calls = stream::iter(0..).map(|number| {
        let work = Work::of(background.draw, seed, number);
        let client = client.clone();
        async move { call(client, work.request()).await }
    });
    let mut calls = calls.buffer_unordered(background.workers);
    let mut failed = 0;
    let count = async {
        while let Some(status) = calls.next().await {
            failed += usize::from(status != Some(StatusCode::OK));
        }
    };
    // The end of the time is not an error.
    let _ = timeout_at(started + background.lasts, count).await;
    failed
}

/// Returns the request of a call.
fn request(scenario: &Scenario, seed: u64, number: usize) -> Option<Request<Full<Bytes>>> {
    if let Some(draw) = scenario.draw {
        return Work::of(draw, seed, number).request();
    }
    let session = number.checked_rem(scenario.sessions);
    let mut request = Request::post("https://api.example/v1/chat/completions")
        .header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("session", session);
    }
    if let Some(named) = session.filter(|_| scenario.names_sessions) {
        request = request.extension(Session::new(named));
    }
    let body = Full::from(r#"{"model":"large","messages":[]}"#);
    request.body(body).ok()
}

async fn call(client: Client, request: Option<Request<Full<Bytes>>>) -> Option<StatusCode> {
    client.oneshot(request?).await.ok()
}

// === impl Run ===

impl Run {
    /// Returns the number of 429s because of limits. Such requests cost time and are useless.
    pub(crate) fn wasted(&self, scenario: &Scenario) -> usize {
        let limited = self.log.iter().filter(|entry| entry.status == 429);
        limited.filter(|entry| !is_dead(scenario, entry)).count()
    }

    /// Returns the number of requests with keys that do not work.
    pub(crate) fn dead(&self, scenario: &Scenario) -> usize {
        let dead = self.log.iter().filter(|entry| is_dead(scenario, entry));
        dead.count()
    }

    /// Returns the number of requests that were sent before the end of a hint.
    pub(crate) fn early(&self) -> usize {
        self.log.iter().filter(|entry| entry.early).count()
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let latency = self.latencies.get(last * percent / 100);
        latency.copied().unwrap_or_default()
    }

    pub(crate) fn over_ideal(&self, scenario: &Scenario) -> f64 {
        self.took.as_secs_f64() / scenario.ideal(self.seed).as_secs_f64()
    }
}

fn is_dead(scenario: &Scenario, entry: &Entry) -> bool {
    entry.status == StatusCode::UNAUTHORIZED || scenario.plan.is_dead(&entry.key)
}
