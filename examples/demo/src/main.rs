//! What each layer is worth: one batch of calls, four times, against a provider that limits.
//!
//! ```sh
//! cargo run -p demo
//! cargo run -p demo -- --verbose   # logs every limit that is hit
//! ```
//!
//! It needs no key and no network, and ends by itself after some twenty seconds. The provider runs
//! on loopback; what the table and the picture say is what it counted. Over 50 runs:
//!
//! | stack | answered | 429s | seconds |
//! |---|---|---|---|
//! | no layer | 40 | 260 | 0.1-0.3 |
//! | Backoff | 300 | 3-11 | 14.2-14.3 |
//! | + KeyRotation | 300 | 52-70 | 4.3-4.4 |
//! | + Fallback | 300 | 3-27 | 0.5-0.9 |

mod picture;
mod runs;
#[path = "../../common/svg.rs"]
mod svg;
mod table;
#[cfg(test)]
mod tests;

use std::{env, fs, path::Path};

use indicatif::{ProgressBar, ProgressStyle};
use runs::{CALLS, MODELS, WINDOW, WORKERS};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let verbose = env::args().any(|arg| arg == "--verbose");
    let bar = match verbose {
        true => ProgressBar::hidden(),
        // It draws on stderr, and only if that is a terminal.
        false => ProgressBar::new(CALLS as u64).with_style(ProgressStyle::with_template(
            "{prefix:>14} {wide_bar} {pos}/{len}  {msg:<30}",
        )?),
    };
    if verbose {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_writer(std::io::stderr)
            .init();
    }

    let [large, small] = MODELS;
    println!(
        "{CALLS} calls by {WORKERS} workers, four times. {} s stand for a minute.",
        WINDOW.as_secs()
    );
    println!(
        "Each of three projects may send {} requests a minute to {}, {} to {}.\n",
        large.limit, large.name, small.limit, small.name
    );

    let runs = runs::all(&bar).await?;
    bar.finish_and_clear();
    println!("{}", table::Table(&runs));

    let path = target_folder(&env::current_exe()?).join("demo.svg");
    fs::write(&path, picture::Picture::of(&runs).to_string())?;
    // As short as it can be said from here.
    let here = env::current_dir()?;
    let shown = path.strip_prefix(here).unwrap_or(&path);
    println!("The runs over time: {}", shown.display());
    Ok(())
}

/// The folder in which cargo has put this program, wherever it was told to build.
fn target_folder(program: &Path) -> &Path {
    // Cargo marks the folder that it has made, and puts programs one or two folders below.
    let mut folders = program.ancestors().skip(1);
    let marked = folders.find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let above = || program.ancestors().nth(2).unwrap_or(Path::new("."));
    marked.unwrap_or_else(above)
}
