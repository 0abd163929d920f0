//! The TOML file, which names keys by their environment variables.
//!
//! [`source`] reads its text, [`rules`] checks it, and [`plan`] prints what the gateway does with it. All mistakes
//! are reported together, each with its line.

mod error;
mod mistake;
mod plan;
mod rules;
mod share;
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
pub(crate) use rules::{is_share_name, is_variable, setting};
pub(crate) use share::ShareAt;
pub(crate) use source::Places;

/// The configuration that is used without a file.
pub(crate) const WITHOUT_FILE: &str = include_str!("../../../mock.toml");

/// The settings of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the gateway listens.
    #[serde(default = "listen")]
    pub(crate) listen: SocketAddr,
    /// How long open responses may go on after a stop.
    #[serde(default = "grace_ms")]
    pub(crate) grace_ms: u64,
    /// The most connections of callers that are open at once, above 0.
    #[serde(default = "max_connections")]
    pub(crate) max_connections: usize,
    /// The most bytes that the bodies of all requests take in memory.
    #[serde(default = "max_buffered_bytes")]
    pub(crate) max_buffered_bytes: u64,
    /// The server through which gateways with the same keys share their limits.
    pub(crate) share: Option<ShareAt>,
    /// The name by which these gateways find each other.
    #[serde(default = "share_name")]
    pub(crate) share_name: String,
    /// The environment variable that holds the secret of these gateways.
    pub(crate) share_secret: Option<String>,
    /// How many gateways send with the same keys, above 0.
    #[serde(default = "replicas")]
    pub(crate) replicas: u32,
    /// How much is logged.
    #[serde(default)]
    pub(crate) log: Log,
    /// The provider for upstreams with `at = "mock"`.
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
    // These three are required. They have defaults, so that the rules report all missing ones.
    #[serde(default)]
    pub(crate) name: String,
    /// `https://host`, with a path if the provider has one, or `mock`.
    #[serde(default)]
    pub(crate) at: String,
    /// The starts of the paths that go there. Over all upstreams the longest match wins.
    #[serde(default)]
    pub(crate) routes: Vec<String>,
    /// The starts of paths whose calls are in the background unless the caller sets a priority.
    #[serde(default)]
    pub(crate) background_routes: Vec<String>,
    /// The environment variables that hold the keys. Their names are the labels of the keys.
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    /// The organisation or project of a key, by the name of its variable.
    #[serde(default)]
    pub(crate) groups: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) key_in: KeyIn,
    #[serde(default)]
    pub(crate) order: Order,
    /// The targets if the requested model is limited, in order of preference.
    #[serde(default)]
    pub(crate) fallback: Vec<FallbackConfig>,
    /// The longest that a call waits for a key, or between two sends.
    #[serde(default = "max_wait_ms")]
    pub(crate) max_wait_ms: u64,
    /// The most sends that one call may take.
    #[serde(default = "max_sends")]
    pub(crate) max_sends: u32,
    /// The deadline of callers that set none, above 0. There is no deadline by default.
    pub(crate) deadline_ms: Option<u64>,
    /// The most bytes of an upload that are kept to be sent again.
    #[serde(default = "replay_limit_bytes")]
    pub(crate) replay_limit_bytes: u64,
    /// How long the head of a stream waits for its first event, which may be a rejection.
    #[serde(default = "first_event_ms")]
    pub(crate) first_event_ms: u64,
}

/// Where the key is in a request: `"bearer"`, `{ header = "x-api-key" }` or `{ query = "key" }`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyIn {
    #[default]
    Bearer,
    Header(String),
    Query(String),
}

/// Which key is used next.
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
    /// Another address. Requests to it have the keys of the upstream at this address.
    pub(crate) at: Option<String>,
    /// Removed from the start of the path before the path is appended to `at`.
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

fn share_name() -> String {
    "tower-429-gateway".into()
}

fn replicas() -> u32 {
    1
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

    /// Returns the name of an upstream for messages, or its number if it has none.
    pub(crate) fn name(&self, upstream: usize) -> String {
        match &*self.upstreams[upstream].name {
            "" => (upstream + 1).to_string(),
            name => name.into(),
        }
    }

    /// Returns whether an upstream or a target is at the mock.
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

/// Returns how many bytes of a path the longest matching route covers.
pub(crate) fn covered(routes: &[String], path: &str) -> Option<usize> {
    let covers = |route: &&String| match path.strip_prefix(route.trim_end_matches('/')) {
        // A route ends where a segment does: `/v1` does not cover `/v1beta`.
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    };
    routes.iter().filter(covers).map(String::len).max()
}
