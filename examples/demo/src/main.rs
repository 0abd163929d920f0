//! Shows the effect of each layer: it sends one batch of calls four times to a provider with rate limits.
//!
//! ```sh
//! cargo run -p demo
//! cargo run -p demo -- --verbose   # logs every limit that is hit
//! ```
//!
//! It needs no key and no network, and ends after about twenty seconds. The provider is on loopback. The table and the
//! picture show what it counted. Over 50 runs:
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
        // The bar is drawn on stderr, if that is a terminal.
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
    // A path relative to the current folder is shorter.
    let here = env::current_dir()?;
    let shown = path.strip_prefix(here).unwrap_or(&path);
    println!("The runs over time: {}", shown.display());
    Ok(())
}

/// Returns the target folder in which cargo has built this program.
fn target_folder(program: &Path) -> &Path {
    // Cargo writes this file into the target folder, and puts programs one or two folders below it.
    let mut folders = program.ancestors().skip(1);
    let marked = folders.find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let above = || program.ancestors().nth(2).unwrap_or(Path::new("."));
    marked.unwrap_or_else(above)
}
