//! One TOML file, in which keys are named by environment variables.
//!
//! [`source`] reads its text, [`rules`] checks it, and [`plan`] says what the gateway does with it. All mistakes
//! are reported together, each with its line.

mod error;
mod mistake;
mod plan;
mod rules;
mod source;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use serde::Deserialize;

use super::log::Log;
use crate::mock;
pub(crate) use error::ConfigError;
pub(crate) use mistake::{Mistake, Mistakes};
pub(crate) use plan::Plan;
pub(crate) use rules::{is_variable, setting};
pub(crate) use source::Places;

/// What the gateway does when it is given no file.
pub(crate) const WITHOUT_FILE: &str = include_str!("../../../mock.toml");

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the gateway listens.
    #[serde(default = "listen")]
    pub(crate) listen: SocketAddr,
    /// How long open answers may go on after it was told to stop.
    #[serde(default = "grace_ms")]
    pub(crate) grace_ms: u64,
    /// The most connections of callers that are open at once, above 0.
    #[serde(default = "max_connections")]
    pub(crate) max_connections: usize,
    /// The most bytes that the bodies of all requests take in memory.
    #[serde(default = "max_buffered_bytes")]
    pub(crate) max_buffered_bytes: u64,
    /// How much is logged.
    #[serde(default)]
    pub(crate) log: Log,
    /// The provider for upstreams that stand `at = "mock"`.
    #[serde(default)]
    pub(crate) mock: mock::Settings,
    /// Where requests go.
    #[serde(default, rename = "upstream")]
    pub(crate) upstreams: Vec<UpstreamConfig>,
    /// Where each setting is in the file.
    #[serde(skip)]
    pub(crate) places: Places,
}

/// One `[[upstream]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamConfig {
    // These three are required. They have defaults so that the rules report all that is missing.
    #[serde(default)]
    pub(crate) name: String,
    /// `https://host`, with a path if the provider has one, or `mock`.
    #[serde(default)]
    pub(crate) at: String,
    /// The starts of the paths that go there; over all upstreams the longest that fits wins.
    #[serde(default)]
    pub(crate) routes: Vec<String>,
    /// Those of them whose calls are in the background unless the caller says otherwise.
    #[serde(default)]
    pub(crate) background_routes: Vec<String>,
    /// The environment variables in which the keys are; their names are the keys' labels.
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    /// The organisation or project of a key, by the name of its variable.
    #[serde(default)]
    pub(crate) groups: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) key_in: KeyIn,
    #[serde(default)]
    pub(crate) order: Order,
    /// What is asked when the request's own model is limited, in this order.
    #[serde(default)]
    pub(crate) fallback: Vec<FallbackConfig>,
    /// The longest that a call waits for a key, or between two sends.
    #[serde(default = "max_wait_ms")]
    pub(crate) max_wait_ms: u64,
    /// The most sends that one call may take.
    #[serde(default = "max_sends")]
    pub(crate) max_sends: u32,
    /// The deadline of callers that name none, above 0; none unless set.
    pub(crate) deadline_ms: Option<u64>,
    /// The most of an upload that is kept to be sent again.
    #[serde(default = "replay_limit_bytes")]
    pub(crate) replay_limit_bytes: u64,
    /// How long the head of a stream waits for its first event, which may be a rejection.
    #[serde(default = "first_event_ms")]
    pub(crate) first_event_ms: u64,
}

/// Where on a request the key is: `"bearer"`, `{ header = "x-api-key" }` or `{ query = "key" }`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyIn {
    #[default]
    Bearer,
    Header(String),
    Query(String),
}

/// Which key is taken next.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    #[default]
    Sticky,
    RoundRobin,
    LeastLoaded,
}

/// One target of `fallback`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FallbackConfig {
    /// Required, but reported by the rules if it is missing.
    #[serde(default)]
    pub(crate) model: String,
    /// Elsewhere; it is asked with the keys of the upstream that stands there.
    pub(crate) at: Option<String>,
    /// Taken off the start of the path before it is appended to `at`.
    pub(crate) strip_prefix: Option<String>,
}

fn listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4290).into()
}

fn grace_ms() -> u64 {
    30_000
}

fn max_connections() -> usize {
    1_024
}

fn max_buffered_bytes() -> u64 {
    256 * 1024 * 1024
}

fn max_wait_ms() -> u64 {
    30_000
}

fn max_sends() -> u32 {
    8
}

fn replay_limit_bytes() -> u64 {
    2 * 1024 * 1024
}

fn first_event_ms() -> u64 {
    5_000
}

// === impl Config ===

impl Config {
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    /// The name of an upstream for people, or its number if it has none.
    pub(crate) fn name(&self, upstream: usize) -> String {
        match &*self.upstreams[upstream].name {
            "" => (upstream + 1).to_string(),
            name => name.into(),
        }
    }

    /// Whether an upstream or a target stands at the mock.
    pub(crate) fn needs_mock(&self) -> bool {
        let targets = |upstream: &UpstreamConfig| {
            let mut targets = upstream.fallback.iter();
            targets.any(|target| target.at.as_deref() == Some("mock"))
        };
        let mut upstreams = self.upstreams.iter();
        upstreams.any(|upstream| upstream.is_mock() || targets(upstream))
    }
}

impl UpstreamConfig {
    pub(crate) fn is_mock(&self) -> bool {
        self.at == "mock"
    }
}

/// How many bytes of a path the longest of these starts covers.
pub(crate) fn covered(routes: &[String], path: &str) -> Option<usize> {
    let covers = |route: &&String| match path.strip_prefix(route.trim_end_matches('/')) {
        // A route ends where a segment does: `/v1` does not cover `/v1beta`.
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    };
    routes.iter().filter(covers).map(String::len).max()
}
