//! Builds the parts of a stack from an upstream's settings, and collects every mistake.

use axum::http::{Uri, uri};
use tower_429::{
    KeyPool,
    fallback::{Target, TargetError},
    key_rotation::{Key, KeyPoolBuilder},
    share::Sharing,
};

use super::config::{
    Config, ConfigError, FallbackConfig, KeyIn, Mistake, Order, UpstreamConfig, is_variable,
    setting,
};
use crate::mock;

/// Reads one upstream of a file.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Config,
    pub(super) index: usize,
    pub(super) mistakes: Vec<Mistake>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn config(&self) -> &'a UpstreamConfig {
        &self.file.upstreams[self.index]
    }

    fn name(&self) -> String {
        self.file.name(self.index)
    }

    fn add(&mut self, name: &str, error: ConfigError) {
        let place = setting(self.index, name);
        self.mistakes
            .extend(self.file.places.mistake(&place, error));
    }

    pub(super) fn base(&mut self, mock: &str) -> Option<Uri> {
        let config = self.config();
        let address = if config.is_mock() { mock } else { &config.at };
        let base = address.parse::<Uri>().ok().filter(is_plain);
        if base.is_none() {
            let upstream = self.name();
            self.add("at", ConfigError::Address { upstream });
        }
        base
    }

    pub(super) fn targets(&mut self, base: Option<&Uri>, mock: &str) -> Vec<Target> {
        let config = self.config();
        let mut targets = Vec::new();
        for (number, fallback) in config.fallback.iter().enumerate() {
            match target(fallback, base, mock) {
                Ok(target) => targets.push(target),
                Err(error) => {
                    let upstream = self.name();
                    let place = format!("fallback.{number}.at");
                    self.add(&place, ConfigError::Target { upstream, error });
                }
            }
        }
        targets
    }

    /// Returns the keys that are set and valid. The keys of the mock have no variables.
    pub(super) fn keys(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Vec<Key> {
        let config = self.config();
        if config.keys.is_empty() {
            let keys = mock::KEYS.into_iter();
            return keys
                .map(|(label, key)| Key::new(key).label(label))
                .collect();
        }
        let mut keys = Vec::new();
        for (number, name) in config.keys.iter().enumerate() {
            // The rules have reported these already. The name may be a key, so it is not repeated.
            if !is_variable(name) || config.keys[..number].contains(name) {
                continue;
            }
            let upstream = self.name();
            let place = format!("keys.{number}");
            let Some(value) = variable(name) else {
                let variable = name.clone();
                self.add(&place, ConfigError::VariableNotSet { upstream, variable });
                continue;
            };
            let key = Key::new(value).label(name.as_str());
            if let Err(error) = KeyPool::new([key.clone()]) {
                self.add(&place, ConfigError::Pool { upstream, error });
                continue;
            }
            keys.push(match config.groups.get(name) {
                Some(group) => key.group(group.as_str()),
                None => key,
            });
        }
        keys
    }

    /// Returns the pool, or `None` if it has a mistake.
    pub(super) fn pool(
        &mut self,
        keys: Vec<Key>,
        base: &Uri,
        sharing: Option<&Sharing>,
    ) -> Option<KeyPool> {
        let config = self.config();
        // With a valid key, only `key_in` can be wrong.
        let place = match pool(config, vec![Key::new("valid")], base).build() {
            Ok(_) if keys.is_empty() => return None,
            Ok(_) => "keys",
            Err(_) => "key_in",
        };
        let pool = pool(config, keys, base).replicas(self.file.replicas);
        let pool = match sharing {
            Some(sharing) => pool.shared(sharing.clone()),
            None => pool,
        };
        let pool = pool.build();
        pool.map_err(|error| {
            let upstream = self.name();
            self.add(place, ConfigError::Pool { upstream, error });
        })
        .ok()
    }
}

fn is_plain(uri: &Uri) -> bool {
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().map(uri::Authority::as_str);
    let anonymous = authority.is_some_and(|authority| !authority.contains('@'));
    scheme && anonymous && uri.query().is_none()
}

fn target(config: &FallbackConfig, base: Option<&Uri>, mock: &str) -> Result<Target, TargetError> {
    let mut target = Target::model(config.model.as_str());
    if let Some(at) = &config.at {
        target = target.at(if at == "mock" { mock } else { at })?;
    }
    // The path of the upstream's own address precedes that of the caller.
    let own = base.map_or("", Uri::path).trim_end_matches('/');
    let prefix = config.strip_prefix.as_deref().unwrap_or_default();
    Ok(target.strip_prefix(format!("{own}{prefix}")))
}

fn pool(config: &UpstreamConfig, keys: Vec<Key>, base: &Uri) -> KeyPoolBuilder {
    let builder = KeyPool::builder(keys);
    let builder = match &config.key_in {
        KeyIn::Bearer => builder.bearer(),
        KeyIn::Header(name) => builder.header(name),
        KeyIn::Query(name) => builder.query(name),
    };
    let builder = match config.order {
        Order::Sticky => builder,
        Order::RoundRobin => builder.round_robin(),
        Order::LeastLoaded => builder.least_loaded(),
    };
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", uri::Authority::as_str);
    builder.for_origin(format!("{scheme}://{authority}"))
}
