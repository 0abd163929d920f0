//! Many callers, few keys: what a stack makes of a provider's limits, in virtual time.
//!
//! ```sh
//! cargo run --release --example simulation                          # the table, in some seconds
//! cargo run --release --example simulation -- --picture FILE.svg    # and the first scenario as a picture
//! cargo run --release --example simulation -- --loopback            # the first scenario over real HTTP
//! ```
//!
//! It ends with an error if this crate's stack is worse in a scenario than its bar allows.

mod limits;
mod provider;
mod run;
mod scenarios;
mod stacks;

use run::{Stack, simulate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{:<24} {:>9} {:>7} {:>7} {:>6} {:>5} {:>6} {:>8} {:>8} {:>8}",
        "", "time", "/ideal", "wasted", "dead", "early", "failed", "p50", "p99", "longest"
    );
    let mut misses = Vec::new();
    for scenario in scenarios::all()
        .into_iter()
        .filter(|s| std::env::args().nth(1).is_none_or(|a| s.name.contains(&a)))
    {
        for stack in [Stack::Ours, Stack::ByHand] {
            let run = simulate(
                &scenario,
                stack,
                std::env::var("SEED")
                    .ok()
                    .and_then(|s| s.parse().ok())
                    .unwrap_or(7),
            )?;
            if std::env::args().nth(2).is_some() && stack == Stack::Ours {
                let mut t = std::collections::BTreeMap::new();
                for e in &run.log {
                    let c = t
                        .entry((e.key.clone(), e.model.clone(), e.at.as_millis() / 1000))
                        .or_insert((0, 0));
                    if e.status == 200 { c.0 += 1 } else { c.1 += 1 }
                }
                if std::env::args().nth(3).is_some() {
                    for e in &run.log {
                        println!(
                            "{:?} {}{} {} {}",
                            e.at,
                            e.key,
                            &e.model[..1],
                            e.status.as_u16(),
                            if e.early { "EARLY" } else { "" }
                        );
                    }
                }
                for (k, v) in t {
                    println!("{k:?} {v:?}");
                }
            }
            println!(
                "{:<24} {:>8.2}s {:>7.3} {:>7} {:>6} {:>5} {:>6} {:>7.2}s {:>7.2}s {:>7.2}s",
                if stack == Stack::Ours {
                    scenario.name
                } else {
                    "  by hand"
                },
                run.took.as_secs_f64(),
                run.over_ideal(&scenario),
                run.wasted(&scenario),
                run.dead(&scenario),
                run.early(),
                run.failed,
                run.percentile(50).as_secs_f64(),
                run.percentile(99).as_secs_f64(),
                run.percentile(100).as_secs_f64(),
            );
            if stack == Stack::Ours {
                for miss in run.misses(&scenario) {
                    misses.push(format!("{}: {miss}", scenario.name));
                }
            }
        }
    }
    match misses.is_empty() {
        true => Ok(()),
        false => Err(misses.join("; ").into()),
    }
}
