//! What it is worth that processes share: one batch of calls by four processes, three times.
//!
//! ```sh
//! cargo run -p fleet
//! cargo run -p fleet -- --help
//! ```
//!
//! It needs no key and no network, and ends by itself after some twenty seconds. The provider runs on loopback, and
//! what the table and the picture say is what it counted. If `redis-server` or `valkey-server` is installed, the
//! processes share through one that this program starts. Otherwise the third run has four pools in one process.

mod picture;
mod provider;
mod runs;
mod server;
#[path = "../../common/svg.rs"]
mod svg;
mod work;

use std::{env, fs, path::Path};

use indicatif::{ProgressBar, ProgressStyle};

use provider::{LIMIT, WINDOW};
use runs::{CALLS, PROCESSES, Run};
use work::{CALLERS, KEYS, Work};

type Error = Box<dyn std::error::Error + Send + Sync>;

const HELP: &str = "\
Sends a batch of calls with four processes, three times: each alone, each with
its part of what is left, and together. Prints how many requests the provider
rejected, and draws them. Starts everything that it needs, and ends by itself.

usage: cargo run -p fleet [-- --help]

The processes share through a server that this program starts: redis-server or
valkey-server from PATH, or what TOWER_429_REDIS_SERVER names. Without one, the
third run has four pools in one process.";

#[tokio::main]
async fn main() -> Result<(), Error> {
    if let Some(work) = Work::from_env() {
        println!("{}", work.run().await?);
        return Ok(());
    }
    match env::args().nth(1).as_deref() {
        None => show().await,
        Some("--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("{other} is not an option; see --help").into()),
    }
}

async fn show() -> Result<(), Error> {
    println!("{CALLS} calls by {PROCESSES} processes with {CALLERS} callers each, three times.");
    println!(
        "Each of {} keys may send {LIMIT} requests in {} s. Responses report what is left.\n",
        KEYS.len(),
        WINDOW.as_secs()
    );
    // It draws on stderr, and only if that is a terminal.
    let style = ProgressStyle::with_template("{prefix:>22} {wide_bar} {pos}/{len}")?;
    let bar = ProgressBar::new(CALLS).with_style(style);
    let runs = runs::all(&bar).await?;
    bar.finish_and_clear();
    print_table(&runs);

    let path = target_folder(&env::current_exe()?).join("fleet.svg");
    fs::write(&path, picture::Picture::of(&runs).to_string())?;
    // As short as it can be said from here.
    let here = env::current_dir()?;
    let shown = path.strip_prefix(here).unwrap_or(&path);
    println!("\nThe runs over time: {}", shown.display());
    Ok(())
}

fn print_table(runs: &[Run]) {
    println!("{:>22} answered failed  429s    time", "");
    for run in runs {
        let (passed, rejected) = run.counts();
        println!(
            "{:>22} {passed:>8} {:>6} {rejected:>5} {:>5.1} s",
            run.name,
            run.failed,
            run.took.as_secs_f64()
        );
    }
}

/// The folder in which cargo has put this program, also if it is not `target`.
fn target_folder(program: &Path) -> &Path {
    // Cargo marks the folder that it has made, and puts programs one or two folders below.
    let mut folders = program.ancestors().skip(1);
    let marked = folders.find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let above = || program.ancestors().nth(2).unwrap_or(Path::new("."));
    marked.unwrap_or_else(above)
}
