//! What each layer is worth: one batch of calls, four times, against a provider that limits.
//!
//! ```sh
//! cargo run -p demo
//! cargo run -p demo -- --verbose   # logs every limit that is hit
//! ```
//!
//! It needs no key and no network, and ends by itself after some twenty seconds. The provider runs
//! on loopback; what the table and the picture say is what it counted.

mod picture;
mod runs;
#[path = "../../common/svg.rs"]
mod svg;
mod table;

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

    println!(
        "{CALLS} calls by {WORKERS} workers, four times. {} s stand for a minute, in which",
        WINDOW.as_secs()
    );
    let limits =
        MODELS.map(|model| format!("{} requests to the {} model", model.limit, model.name));
    println!(
        "each of three projects may send {}.\n",
        limits.join(" and ")
    );

    let runs = runs::all(&bar).await?;
    bar.finish_and_clear();
    println!("{}", table::Table(&runs));

    let path = Path::new("target").join("demo.svg");
    fs::create_dir_all("target")?;
    fs::write(&path, picture::Picture::of(&runs).to_string())?;
    println!("The runs over time: {}", path.display());
    Ok(())
}
