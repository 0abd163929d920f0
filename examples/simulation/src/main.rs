//! Many callers and few keys: how well a stack uses a provider's limits, in virtual time.
//!
//! ```sh
//! cargo run --release -p simulation                          # the table, in some seconds
//! cargo run --release -p simulation -- --seed 8              # with other random numbers
//! cargo run --release -p simulation -- --seeds 1..20         # the least and the most of many seeds
//! cargo run --release -p simulation -- --bars                # without the policy by hand
//! cargo run --release -p simulation -- --only silent         # the scenarios with this in their names
//! cargo run --release -p simulation -- --picture FILE.svg    # the first scenario as a picture
//! cargo run --release -p simulation -- --picture-tokens FILE.svg    # the first scenario of tokens
//! cargo run --release -p simulation -- --loopback            # five scenarios over real HTTP, in real time
//! cargo run --release -p simulation -- --orders              # the layers in each order
//! cargo run --release -p simulation -- --orders --loopback   # the same over real HTTP: minutes
//! cargo run --release -p simulation -- --shared              # one process with and without an engine
//! cargo run --release -p simulation -- --golden              # the rows of one seed, as golden.txt
//! ```
//!
//! Each scenario is run with this crate's stack, and with a policy for `tower::retry` written by hand. The simulation
//! fails if this crate's stack is worse than the bar of a scenario. `shortfalls.rs` lists the bars that the stack
//! misses, and how far it may miss them. A list at the end says how far it did. In names, `B` is Backoff, `K`
//! KeyRotation and `F` Fallback, from outer to inner, and `.w` waits for capacity.
//!
//! With `--shared` each scenario of one process whose stack can share is run twice: as it is, and with an engine 1 ms
//! away. The program fails if the second run is worse by more than `shared.rs` allows for `--seeds 1..4`.

mod arguments;
mod bar;
// The examples whose stacks are rows of the table. Their `main` is not called.
#[path = "../../batch.rs"]
#[allow(dead_code)]
mod batch;
mod by_hand;
mod fleet;
mod golden;
mod loopback;
mod oracle;
mod orders;
mod parallel;
mod picture;
mod picture_tokens;
mod preferred;
mod provider;
mod recipes;
mod run;
mod scenarios;
#[path = "../../service.rs"]
#[allow(dead_code)]
mod service;
mod shared;
mod shortfalls;
mod stacks;
#[path = "../../common/svg.rs"]
mod svg;
mod table;
mod usage;
mod verdict;
mod work;

use std::{fs, ops::RangeInclusive, process::ExitCode};

use arguments::Arguments;
use parallel::run_all;
use picture::Picture;
use picture_tokens::TokenPicture;
use run::{Run, Stack, simulate};
use scenarios::Scenario;
use verdict::Verdict;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match simulations() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn simulations() -> Result<(), Error> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let (seed, last) = (*arguments.seeds.start(), *arguments.seeds.end());
    let run = |scenario: &Scenario, stack| match arguments.loopback {
        true => loopback::run(scenario, stack, seed),
        false => simulate(scenario, stack, seed),
    };
    if arguments.golden {
        let (rows, verdict) = golden::rows()?;
        print!("{rows}");
        return verdict.result();
    }
    if arguments.orders {
        return compare_orders(run);
    }
    let mut scenarios = match arguments.loopback {
        true => scenarios::over_loopback(),
        false => scenarios::all(),
    };
    scenarios.retain(|scenario| scenario.name.contains(&arguments.only));
    if arguments.bars {
        scenarios.iter_mut().for_each(|it| it.by_hand = None);
    }
    if scenarios.is_empty() {
        return Err(format!("no scenario has {:?} in its name", arguments.only).into());
    }
    if arguments.shared {
        return shared::compare(&scenarios, arguments.seeds);
    }
    if last > seed {
        return compare_seeds(&scenarios, arguments.seeds);
    }
    let mut first: Option<[Run; 2]> = None;
    let mut first_of_tokens: Option<([Run; 2], u32)> = None;
    let mut verdict = Verdict::default();
    let mut heading = "";
    for scenario in &scenarios {
        print_new(&mut heading, table::heading(scenario));
        let ours = run(scenario, scenario.stack)?;
        println!("{}", table::Row(&scenario.name, scenario, &ours));
        verdict.add(&ours, scenario);
        if let Some(stack) = scenario.by_hand {
            let by_hand = run(scenario, stack)?;
            println!("{}", table::Row("  by hand", scenario, &by_hand));
            let runs = [ours, by_hand];
            if let (None, Some((_, limit))) = (&first_of_tokens, scenario.plan.tokens.first()) {
                first_of_tokens = Some((runs.clone(), limit.size()));
            }
            first.get_or_insert(runs);
        }
    }
    if let (Some(path), Some(runs)) = (arguments.picture, &first) {
        fs::write(&path, Picture(runs).to_string())?;
        println!("The first scenario over time: {}", path.display());
    }
    if let (Some(path), Some((runs, limit))) = (arguments.picture_tokens, &first_of_tokens) {
        fs::write(&path, TokenPicture(runs, *limit).to_string())?;
        println!("The first scenario of tokens: {}", path.display());
    }
    print!("{verdict}");
    verdict.result()
}

/// Runs each scenario with several seeds, and prints the least and the most.
fn compare_seeds(scenarios: &[Scenario], seeds: RangeInclusive<u64>) -> Result<(), Error> {
    let mut verdict = Verdict::default();
    let mut heading = "";
    for scenario in scenarios {
        let of_seeds = |stack| {
            let jobs = seeds.clone().map(|seed| (scenario, stack, seed));
            run_all(&jobs.collect::<Vec<_>>())
        };
        print_new(&mut heading, table::spread_heading(scenario));
        let ours = of_seeds(scenario.stack)?;
        println!("{}", table::Spread(&scenario.name, scenario, &ours));
        ours.iter().for_each(|run| verdict.add(run, scenario));
        if let Some(stack) = scenario.by_hand {
            println!(
                "{}",
                table::Spread("  by hand", scenario, &of_seeds(stack)?)
            );
        }
    }
    print!("{verdict}");
    verdict.result()
}

/// Runs the scenario of two models with the layers in each order. Most orders have no bar.
fn compare_orders(run: impl Fn(&Scenario, Stack) -> Result<Run, Error>) -> Result<(), Error> {
    let scenario = scenarios::model_fallback();
    println!("{}", table::heading(&scenario));
    for order in orders::all() {
        let outcome = run(&scenario, Stack::Ordered(order))?;
        let name = order.to_string();
        println!("{name}\n{}", table::Row("", &scenario, &outcome));
    }
    Ok(())
}

/// Prints a heading if it differs from that of the previous row.
fn print_new(last: &mut &'static str, heading: &'static str) {
    if *last != heading {
        println!("{heading}");
        *last = heading;
    }
}
