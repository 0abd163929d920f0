//! What a request executes: `cargo bench --bench hot_path`, on a machine with valgrind.
//!
//! Instructions, calls of the allocator and distinct 64-byte lines of code, each per request. They do not
//! depend on the machine's speed or load. Between two requests over HTTP, client and kernel fill the
//! processor's first cache, so each line of code is fetched anew: the lines are what a layer costs there.

mod callgrind;
#[path = "../provider/mod.rs"]
mod provider;
mod rows;
#[path = "../happy_path/stacks.rs"]
mod stacks;

use std::{env, process::ExitCode};

use callgrind::{Counted, count};
use rows::ROWS;

fn main() -> ExitCode {
    let runtime = provider::runtime();
    let _entered = runtime.enter();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [command, name] = &arguments[..] {
        if command == "row" {
            return run(name);
        }
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        // A test: each row works.
        for row in ROWS {
            (row.run)(2);
        }
        return ExitCode::SUCCESS;
    }
    let wanted = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    table(wanted.map_or("", String::as_str))
}

fn run(name: &str) -> ExitCode {
    let Some(row) = ROWS.iter().find(|row| row.name == name) else {
        eprintln!("there is no row {name:?}");
        return ExitCode::FAILURE;
    };
    (row.run)(callgrind::SENDS);
    ExitCode::SUCCESS
}

fn table(wanted: &str) -> ExitCode {
    println!("| | instructions | allocations | lines of code |\n|---|---|---|---|");
    for row in ROWS.iter().filter(|row| row.name.contains(wanted)) {
        let Counted {
            instructions,
            allocations,
            lines,
        } = match count(row.name) {
            Ok(counted) => counted,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        println!(
            "| {} | {instructions} | {allocations} | {lines} |",
            row.name
        );
    }
    ExitCode::SUCCESS
}
