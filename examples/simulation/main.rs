//! Many callers, few keys: what a stack makes of a provider's limits, in virtual time.
//!
//! ```sh
//! cargo run --release --example simulation                          # the table, in some seconds
//! cargo run --release --example simulation -- --seed 8              # with other accidents
//! cargo run --release --example simulation -- --picture FILE.svg    # the first scenario as a picture
//! cargo run --release --example simulation -- --loopback            # the first over real HTTP, in real time
//! ```
//!
//! Each scenario is run by this crate's stack and by a policy for `tower::retry` written by hand. It
//! ends with an error if this crate's stack is worse than the bar of a scenario.

mod arguments;
mod limits;
mod loopback;
mod picture;
mod provider;
mod run;
mod scenarios;
mod stacks;
#[path = "../common/svg.rs"]
mod svg;
mod table;

use std::fs;

use arguments::Arguments;
use picture::Picture;
use run::{Run, Stack, simulate};
use scenarios::Scenario;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let mut scenarios = scenarios::all();
    if arguments.loopback {
        scenarios.truncate(1);
    }
    let mut first: Option<[Run; 2]> = None;
    let mut misses = Vec::new();
    println!("{}", table::HEADING);
    for scenario in &scenarios {
        let run = |stack| match arguments.loopback {
            true => loopback::run(scenario, stack, arguments.seed),
            false => simulate(scenario, stack, arguments.seed),
        };
        let runs = [run(Stack::Ours)?, run(Stack::ByHand)?];
        println!("{}", table::Row(scenario.name, scenario, &runs[0]));
        // The policy by hand knows no other model.
        if scenario.setup.fallback.is_none() {
            println!("{}", table::Row("  by hand", scenario, &runs[1]));
        }
        misses.extend(misses_of(scenario, &runs[0]));
        first.get_or_insert(runs);
    }
    if let (Some(path), Some(runs)) = (arguments.picture, &first) {
        fs::write(&path, Picture(runs).to_string())?;
        println!("The first scenario over time: {}", path.display());
    }
    match misses.is_empty() {
        true => Ok(()),
        false => Err(misses.join("; ").into()),
    }
}

fn misses_of(scenario: &Scenario, run: &Run) -> Vec<String> {
    let misses = run.misses(scenario).into_iter();
    misses
        .map(|miss| format!("{}: {miss}", scenario.name))
        .collect()
}
