//! What threads that share a pool cost one another: `cargo bench --bench threads` (Linux).
//!
//! It counts requests per second of CPU time, not of the clock, so that other load matters little. A thread that
//! waits for the pool's lock uses CPU time while it spins, and when it is woken.

mod provider;
#[allow(dead_code)]
#[path = "happy_path/stacks.rs"]
mod stacks;

use std::{env, fs, thread};

use http::StatusCode;
use tower::Layer;
use tower_429::{KeyPool, KeyRotationLayer};

use crate::{
    provider::{LIMITS, Provider, USUAL, send},
    stacks::{body, pool, request},
};

/// How often it is measured, because the kernel counts CPU time in hundredths of a second.
const ROUNDS: usize = 7;
const REQUESTS: usize = 200_000;

fn main() {
    let is_test = !env::args().any(|argument| argument == "--bench");
    let requests = if is_test { 10 } else { REQUESTS };
    println!("| threads | requests per CPU second, relative to one thread |\n|---|---|");
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let [one, two] = [1, 2].map(|threads| ticks(threads, requests));
            one / two
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("| 2 | {:.2} |", ratios[ROUNDS / 2]);
}

/// Returns the CPU time that so many requests take through one pool, divided among threads.
fn ticks(threads: usize, requests: usize) -> f64 {
    let pool = pool();
    let before = used();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run(&pool, requests / threads));
        }
    });
    (used() - before).max(1) as f64
}

fn run(pool: &KeyPool, requests: usize) {
    let runtime = provider::runtime();
    let _entered = runtime.enter();
    let provider = Provider::new(StatusCode::OK, &[USUAL, LIMITS]);
    let mut service = KeyRotationLayer::new(pool.clone()).layer(provider);
    let request = request("https://api.openai.com", body(3));
    for _ in 0..requests {
        send(&mut service, request.clone());
    }
}

/// Returns the CPU time of this process, in ticks of the kernel (proc_pid_stat(5), fields 14 and 15).
fn used() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let times = fields.split_whitespace().skip(11).take(2);
    times
        .map(|time| time.parse::<u64>().expect("a number"))
        .sum()
}
