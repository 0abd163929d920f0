//! A provider with rate limits on loopback, to try a program without a key.
//!
//! ```sh
//! cargo run --example provider
//! ```
//!
//! It prints its base URL, and serves until its standard input ends. A key such as `sk-alpha` may send one
//! request in ten minutes to `gpt-4o`, and 100 to `gpt-4o-mini`.

use std::{io, time::Duration};

use mock_provider::{LimitedProvider, Model};
use tokio::task;

#[tokio::main]
async fn main() -> io::Result<()> {
    let model = |name, limit| Model {
        name,
        limit,
        thinks: Duration::from_millis(10),
    };
    let models = [model("gpt-4o", 1), model("gpt-4o-mini", 100)];
    let provider = LimitedProvider::start(&models, Duration::from_secs(600)).await?;
    println!("{}/v1", provider.origin());
    task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}
