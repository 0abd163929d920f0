//! The three runs.

use std::{env, process::Stdio, time::Duration};

use indicatif::ProgressBar;
use tokio::{process::Command, task::JoinSet, time::sleep};
use tower_429::share::InMemory;

use crate::{
    Error,
    provider::{Entry, Provider},
    server::Server,
    work::{Mode, Work},
};

pub(crate) const PROCESSES: usize = 4;

pub(crate) const CALLS: u64 = 768;

/// One run, as the provider saw it.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) log: Vec<Entry>,
    /// How many calls have failed for their callers.
    pub(crate) failed: u64,
    /// From the first request to the last.
    pub(crate) took: Duration,
}

// === impl Run ===

impl Run {
    /// Returns how many requests have passed, and how many were rejected.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let rejected = self.log.iter().filter(|entry| entry.rejected).count();
        (self.log.len() - rejected, rejected)
    }
}

/// Makes all runs, one after the other.
pub(crate) async fn all(bar: &ProgressBar) -> Result<Vec<Run>, Error> {
    let server = Server::start().await?;
    let mut runs = vec![
        run("apart", Some(Mode::Apart), bar).await?,
        run("replicas(4)", Some(Mode::Counted), bar).await?,
    ];
    runs.push(match &server {
        Some(server) => run("shared", Some(Mode::Shared(server.url())), bar).await?,
        None => {
            let why =
                "No redis-server is installed: the third run has four pools in one process.\n";
            bar.suspend(|| println!("{why}"));
            run("shared in one process", None, bar).await?
        }
    });
    Ok(runs)
}

/// Lets all processes do their work; without a mode, this one does all of it.
async fn run(name: &'static str, mode: Option<Mode>, bar: &ProgressBar) -> Result<Run, Error> {
    bar.reset();
    bar.set_prefix(name);
    let provider = Provider::start().await?;
    let engine = InMemory::new();
    let mut processes = JoinSet::new();
    for process in 0..PROCESSES {
        let work = Work {
            process,
            origin: provider.origin().to_owned(),
            calls: CALLS / PROCESSES as u64,
            mode: mode.clone().unwrap_or(Mode::Apart),
        };
        match mode {
            Some(_) => processes.spawn(in_process(work)),
            None => {
                let engine = engine.clone();
                processes.spawn(async move { work.run_in_memory(engine).await })
            }
        };
    }
    let show = async {
        loop {
            let passed = provider
                .log()
                .iter()
                .filter(|entry| !entry.rejected)
                .count();
            bar.set_position(passed as u64);
            sleep(Duration::from_millis(50)).await;
        }
    };
    let failed = async {
        let mut failed = 0;
        while let Some(of_process) = processes.join_next().await {
            failed += of_process??;
        }
        Ok::<_, Error>(failed)
    };
    let failed = tokio::select! {
        failed = failed => failed?,
        () = show => 0,
    };
    let log = provider.log();
    let took = log.iter().map(|entry| entry.at).max();
    Ok(Run {
        name,
        log,
        failed,
        took: took.unwrap_or_default(),
    })
}

/// Starts this program again for one process. Returns how many of its calls have failed.
async fn in_process(work: Work) -> Result<u64, Error> {
    let (variable, value) = work.variable();
    let output = Command::new(env::current_exe()?)
        .env(variable, value)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    let failed = String::from_utf8_lossy(&output.stdout).trim().parse();
    Ok(failed.map_err(|_| format!("process {} has failed", work.process))?)
}
