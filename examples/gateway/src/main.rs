//! An OpenAI-compatible gateway: the layers for programs that are not written in Rust.
//!
//! ```sh
//! cargo run -p gateway                           # in front of a mock
//! cargo run -p gateway -- gateway.toml           # in front of providers
//! cargo run -p gateway -- --check gateway.toml   # only says what it would do
//! ```
//!
//! It forwards `/v1/*` and Gemini's `/v1beta/models/*` with a key of its own, and shows at `/` how
//! its keys fare. `examples/gateway.toml` explains every setting. Which programs may ask is
//! not its matter: it listens on loopback unless told otherwise. Web pages of other sites may not.

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
use serve::{Config, Gateway, LimitedListener, Mistakes, Plan, WITHOUT_FILE, log, metrics};

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

/// What the arguments may be. A wrong one may be a key, so it is not repeated.
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

/// Where nothing listens; for a mock that is not started.
const NO_MOCK: &str = "http://127.0.0.1:1";

/// Reads a file and its keys, or returns all that is wrong with them.
fn read(path: &Path) -> Result<Config, Mistakes> {
    let (config, mut mistakes) = Config::read(path)?;
    mistakes.extend(Gateway::mistakes(&config, NO_MOCK, &variable));
    Mistakes::none_of(mistakes)?;
    Ok(config)
}

/// Does everything but to start, and says what the gateway would do.
fn check(path: &Path) -> Result<(), Mistakes> {
    let config = read(path)?;
    config.log.targets(variable(log::VARIABLE).as_deref())?;
    let counts = PrometheusBuilder::new().build_recorder().handle();
    Gateway::new(&config, NO_MOCK, &variable, counts)?;
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
    let gateway = Gateway::new(config, &origin, &variable, counts)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        format!(
            "cannot listen at {}: {error}. Choose another `listen`",
            config.listen
        )
    })?;
    let address = listener.local_addr()?;
    let listener = LimitedListener::new(listener, config.max_connections);
    // Whoever reads the address may ask for a stop at once.
    let mut signals = Signals::new()?;
    println!("gateway at http://{address}");
    if mock.is_some() {
        println!("mock provider at {origin}");
    }

    let (stop, mut stopped) = watch::channel(false);
    let grace_ms = config.grace_ms;
    tokio::spawn(async move {
        signals.next().await;
        println!("stopping: open answers have {grace_ms} ms");
        stop.send_replace(true);
        // Who asks twice does not want to wait.
        signals.next().await;
        std::process::exit(1);
    });
    let mut told = stopped.clone();
    let served = serve::serve(listener, Arc::new(gateway).router(), async move {
        // An error means that nobody is left to tell, which is as good as being told.
        let _ = told.wait_for(|stop| *stop).await;
    });
    let grace = async {
        let _ = stopped.wait_for(|stop| *stop).await;
        tokio::time::sleep(Duration::from_millis(grace_ms)).await;
    };
    tokio::select! {
        () = served => Ok(()),
        () = grace => Err("some answers were not over when the time was, and were cut off".into()),
    }
}

/// Ctrl-C, or SIGTERM where there is one; on Unix they are caught from its making on.
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
