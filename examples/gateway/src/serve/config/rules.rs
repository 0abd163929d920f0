//! The rules for a configuration that can be checked without its keys.

use std::collections::HashSet;

use super::{Config, ConfigError, Mistake, UpstreamConfig, covered};
use crate::serve::forward::MAX_JSON;

/// The longest name of a share, in bytes.
const MAX_SHARE_NAME: usize = 128;

/// Returns all mistakes.
pub(super) fn check(config: &Config) -> Vec<Mistake> {
    let mut found = Found {
        config,
        mistakes: Vec::new(),
    };
    if config.upstreams.is_empty() {
        found.add("upstream", ConfigError::NoUpstream);
    }
    if config.max_connections == 0 {
        found.add("max_connections", ConfigError::NoConnections);
    }
    found.check_share();
    let kept = config.upstreams.iter();
    let kept = kept.map(|upstream| upstream.replay_limit_bytes);
    // A body that exceeds the memory would never be accepted.
    let largest = kept.fold(MAX_JSON, u64::max);
    if config.max_buffered_bytes < largest {
        found.add("max_buffered_bytes", ConfigError::Buffers { largest });
    }
    let (mut names, mut routes) = (HashSet::new(), HashSet::new());
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if !is_name(&upstream.name) || !names.insert(&upstream.name) {
            let upstream = upstream.name.clone();
            found.add(&setting(index, "name"), ConfigError::Name { upstream });
        }
        for (number, route) in upstream.routes.iter().enumerate() {
            if !route.starts_with('/') || !routes.insert(route) {
                let (upstream, route) = (config.name(index), route.clone());
                let place = setting(index, &format!("routes.{number}"));
                found.add(&place, ConfigError::Route { upstream, route });
            }
        }
        found.check_upstream(index, upstream);
        found.check_keys(index, upstream);
    }
    found.mistakes
}

struct Found<'a> {
    config: &'a Config,
    mistakes: Vec<Mistake>,
}

// === impl Found ===

impl Found<'_> {
    fn add(&mut self, path: &str, error: ConfigError) {
        let mistake = self.config.places.mistake(path, error);
        self.mistakes.extend(mistake);
    }

    fn check_share(&mut self) {
        let config = self.config;
        if !is_share_name(&config.share_name) {
            self.add("share_name", ConfigError::ShareName);
        }
        let secret = config.share_secret.as_deref();
        if secret.is_some_and(|name| !is_variable(name)) {
            // It may be the secret by mistake, so it is not repeated.
            self.add("share_secret", ConfigError::ShareSecret);
        }
        for setting in ["share_name", "share_secret"] {
            if !config.places.has("share") && config.places.has(setting) {
                self.add(setting, ConfigError::NotShared { setting });
            }
        }
        if config.replicas == 0 {
            self.add("replicas", ConfigError::NoReplicas);
        }
    }

    fn check_upstream(&mut self, index: usize, config: &UpstreamConfig) {
        let file = self.config;
        let upstream = || file.name(index);
        if config.routes.is_empty() {
            let upstream = upstream();
            self.add(&setting(index, "routes"), ConfigError::NoRoute { upstream });
        }
        for (number, route) in config.background_routes.iter().enumerate() {
            if covered(&config.routes, route).is_none() {
                let (upstream, route) = (upstream(), route.clone());
                let place = setting(index, &format!("background_routes.{number}"));
                self.add(&place, ConfigError::BackgroundRoute { upstream, route });
            }
        }
        if config.deadline_ms == Some(0) {
            let upstream = upstream();
            let place = setting(index, "deadline_ms");
            self.add(&place, ConfigError::Deadline { upstream });
        }
        for (number, target) in config.fallback.iter().enumerate() {
            if target.model.is_empty() {
                let upstream = upstream();
                let place = format!("fallback.{number}.model");
                self.add(&setting(index, &place), ConfigError::NoModel { upstream });
            }
        }
    }

    fn check_keys(&mut self, index: usize, config: &UpstreamConfig) {
        let file = self.config;
        let upstream = || file.name(index);
        if config.keys.is_empty() && !config.is_mock() {
            let upstream = upstream();
            self.add(&setting(index, "keys"), ConfigError::NoKeys { upstream });
        }
        let mut names = HashSet::new();
        for (position, key) in config.keys.iter().enumerate() {
            let (upstream, number) = (upstream(), position + 1);
            let place = setting(index, &format!("keys.{position}"));
            if !is_variable(key) {
                // It may be a key by mistake, so it is not repeated.
                self.add(&place, ConfigError::NotAVariable { upstream, number });
            } else if !names.insert(key) {
                let variable = key.clone();
                self.add(&place, ConfigError::Twice { upstream, variable });
            }
        }
        for name in config.groups.keys() {
            if !config.keys.contains(name) {
                let upstream = upstream();
                let place = setting(index, &format!("groups.{name}"));
                self.add(&place, ConfigError::GroupOfNone { upstream });
            }
        }
    }
}

/// Returns the path of a setting of an upstream.
pub(crate) fn setting(upstream: usize, name: &str) -> String {
    format!("upstream.{upstream}.{name}")
}

/// Returns whether a name can be a label of the metrics and be shown in the page.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Returns whether gateways can share by this name.
pub(crate) fn is_share_name(name: &str) -> bool {
    (1..=MAX_SHARE_NAME).contains(&name.len())
}

/// Returns whether a text can be the name of an environment variable that holds a key.
pub(crate) fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let starts = name
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    starts && name.bytes().all(allowed)
}
