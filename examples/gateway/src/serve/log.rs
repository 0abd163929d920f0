//! The log has a line for each attempt that a layer acted on, one for each call, and one for each response that the
//! gateway generates itself.

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

/// Overrides the setting of the file. It can set levels per target: `info,tower_429=debug`.
pub(crate) const VARIABLE: &str = "RUST_LOG";

/// The setting `log`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Log {
    Off,
    /// Events that reach callers or need a person.
    Warn,
    /// Each call, and each attempt that a layer acted on.
    #[default]
    Info,
    /// Each attempt.
    Debug,
}

impl Log {
    /// Returns what is logged, given the value of the variable.
    pub(crate) fn targets(self, variable: Option<&str>) -> Result<Targets, ConfigError> {
        let level = match self {
            Self::Off => LevelFilter::OFF,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        };
        match variable {
            // The layers log requests, so clients and servers log only warnings.
            None | Some("") => Ok(Targets::new()
                .with_default(level.min(LevelFilter::WARN))
                .with_target("tower_429", level)),
            Some(text) => text.parse().map_err(|_| ConfigError::Log),
        }
    }
}

/// Returns a subscriber that writes the enabled events. The line at the close of a call's span describes the call.
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
