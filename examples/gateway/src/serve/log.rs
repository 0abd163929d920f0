//! The log: a line for each attempt that was acted on, one for each call, and one for each answer in an
//! upstream's place.

use serde::Deserialize;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{self, MakeWriter, format::FmtSpan},
    layer::SubscriberExt,
    registry,
};

use super::config::ConfigError;

/// Goes before what the file says, and can tell targets apart: `info,tower_429=debug`.
pub(crate) const VARIABLE: &str = "RUST_LOG";

/// The setting `log`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Log {
    Off,
    /// What reaches callers or needs a person.
    Warn,
    /// Each call, and each attempt that was acted on.
    #[default]
    Info,
    /// Each attempt.
    Debug,
}

impl Log {
    /// What is logged, if the variable is as given.
    pub(crate) fn targets(self, variable: Option<&str>) -> Result<Targets, ConfigError> {
        let level = match self {
            Self::Off => LevelFilter::OFF,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        };
        match variable {
            // Of clients and servers only what goes wrong: the layers tell of requests.
            None | Some("") => Ok(Targets::new()
                .with_default(level.min(LevelFilter::WARN))
                .with_target("tower_429", level)),
            Some(text) => text.parse().map_err(|_| ConfigError::Log),
        }
    }
}

/// Writes what is let through. The line at the close of a call's span has all that is known of the call.
pub(crate) fn subscriber<W>(targets: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .with_span_events(FmtSpan::CLOSE);
    registry().with(lines.with_filter(targets))
}
