//! An OpenAI-compatible gateway, which offers the layers to programs that are not written in Rust.
//!
//! ```sh
//! cargo run -p gateway                           # in front of a mock
//! cargo run -p gateway -- gateway.toml           # in front of providers
//! cargo run -p gateway -- --check gateway.toml   # only prints what it would do
//! ```
//!
//! It forwards `/v1/*` and Gemini's `/v1beta/models/*` with its own keys, and shows the state of these keys at `/`.
//! `examples/gateway.toml` explains every setting. It does not authenticate callers, so it listens on loopback by
//! default. It rejects requests by web pages of other sites.

mod mock;
mod serve;
#[cfg(test)]
mod tests;

use std::{env, ffi::OsString, io, path::Path, process::ExitCode, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusBuilder;
#[cfg(unix)]
use tokio::signal::unix;
use tokio::{net::TcpListener, sync::watch};

use mock::Mock;
use serve::{Config, Gateway, LimitedListener, Mistakes, Plan, WITHOUT_FILE, log, metrics, share};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(env::args_os().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The message for wrong arguments. It does not repeat them, because one may be a key.
const USAGE: &str = "the arguments are [--check] and the path of a TOML file; keys are read from the environment \
                     variables that it names";

async fn run(args: Vec<OsString>) -> Result<(), Error> {
    match args.as_slice() {
        [] => start(&Config::parse(WITHOUT_FILE)?).await,
        [flag, path] if flag == "--check" => Ok(check(Path::new(path))?),
        [path] if !path.as_encoded_bytes().starts_with(b"-") => {
            start(&read(Path::new(path))?).await
        }
        _ => Err(USAGE.into()),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// An address where nothing listens, in place of a mock that is not started.
const NO_MOCK: &str = "http://127.0.0.1:1";

/// Reads a file and its keys, or returns all their mistakes.
fn read(path: &Path) -> Result<Config, Mistakes> {
    let (config, mut mistakes) = Config::read(path)?;
    mistakes.extend(Gateway::mistakes(&config, NO_MOCK, &variable));
    Mistakes::none_of(mistakes)?;
    Ok(config)
}

/// Does everything except to start, and prints what the gateway would do.
fn check(path: &Path) -> Result<(), Mistakes> {
    let config = read(path)?;
    config.log.targets(variable(log::VARIABLE).as_deref())?;
    let counts = PrometheusBuilder::new().build_recorder().handle();
    Gateway::new(&config, NO_MOCK, &variable, counts, None)?;
    print!("{}", Plan(&config));
    Ok(())
}

async fn start(config: &Config) -> Result<(), Error> {
    let targets = config.log.targets(variable(log::VARIABLE).as_deref())?;
    tracing::subscriber::set_global_default(log::subscriber(targets, io::stderr))?;
    let recorder = metrics::recorder()?;
    let counts = recorder.handle();
    ::metrics::set_global_recorder(recorder)?;
    metrics::describe();
    tokio::spawn(metrics::tidy(counts.clone()));

    let mock = match config.needs_mock() {
        true => Some(Mock::start(&config.mock).await?),
        false => None,
    };
    let origin = mock.as_ref().map(Mock::origin).unwrap_or_default();
    let (sharing, driver) = share::connect(config, &variable)
        .map_err(Mistakes::from)?
        .unzip();
    let gateway = Gateway::new(config, &origin, &variable, counts, sharing)?;
    let driver = driver.map(tokio::spawn);
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        format!(
            "cannot listen at {}: {error}. Choose another `listen`",
            config.listen
        )
    })?;
    let address = listener.local_addr()?;
    let listener = LimitedListener::new(listener, config.max_connections);
    // The signals are caught before the address is printed, because a reader of the address may send one at once.
    let mut signals = Signals::new()?;
    println!("gateway at http://{address}");
    if mock.is_some() {
        println!("mock provider at {origin}");
    }

    let (stop, mut stopped) = watch::channel(false);
    let grace_ms = config.grace_ms;
    tokio::spawn(async move {
        signals.next().await;
        println!("stopping: open responses have {grace_ms} ms to complete");
        stop.send_replace(true);
        // A second signal ends the process at once.
        signals.next().await;
        std::process::exit(1);
    });
    let mut shutdown = stopped.clone();
    let served = serve::serve(listener, Arc::new(gateway).router(), async move {
        // An error means that the sender is gone, which is a stop too.
        let _ = shutdown.wait_for(|stop| *stop).await;
    });
    let grace = async {
        let _ = stopped.wait_for(|stop| *stop).await;
        tokio::time::sleep(Duration::from_millis(grace_ms)).await;
    };
    let stopped = tokio::select! {
        () = served => Ok(()),
        () = grace => Err("some responses did not complete within `grace_ms`, and were cut off".into()),
    };
    // The gateway is dropped, so the driver ends with an exchange that frees what was leased.
    if let Some(driver) = driver {
        share::leave(driver).await;
    }
    stopped
}

/// Ctrl-C, and SIGTERM on Unix. On Unix they are caught from [`new`](Self::new) on.
struct Signals {
    #[cfg(unix)]
    terminate: unix::Signal,
    #[cfg(unix)]
    interrupt: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: unix::signal(unix::SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
