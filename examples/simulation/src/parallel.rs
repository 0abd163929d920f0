//! Many runs in two threads.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::{
    Error,
    run::{Run, Stack, simulate},
    scenarios::Scenario,
};

/// The number of cores of the smallest machine that runs the tests.
const THREADS: usize = 2;

/// A scenario, a stack, and a seed.
pub(crate) type Job<'a> = (&'a Scenario, Stack, u64);

/// Runs the jobs, and returns the runs in the order of the jobs.
pub(crate) fn run_all(jobs: &[Job<'_>]) -> Result<Vec<Run>, Error> {
    let next = AtomicUsize::new(0);
    // Each run seeds the random numbers of its own thread.
    let work = || {
        let mut runs = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((scenario, stack, seed)) = jobs.get(index) else {
                return Ok(runs);
            };
            runs.push((index, simulate(scenario, *stack, *seed)?));
        }
    };
    let mut runs = Vec::new();
    thread::scope(|scope| {
        for thread in [(); THREADS].map(|()| scope.spawn(work)) {
            let result: Result<_, Error> = thread.join().map_err(|_| "a run panicked")?;
            runs.extend(result?);
        }
        Ok::<_, Error>(())
    })?;
    runs.sort_by_key(|(index, _)| *index);
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}
