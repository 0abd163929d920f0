//! The stack: another key first, then a wait, then another model.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{Response, Uri, uri},
};
use tower::ServiceBuilder;
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, Priority,
    fallback::Target,
    inspect::InspectedBody,
    key_rotation::{Key, PoolError},
};

use super::{
    client::{Client, MAY_SPEAK_TLS},
    config::{FallbackConfig, KeyIn, Order, UpstreamConfig, covered},
    config_error::ConfigError,
    failure::Failure,
    headers,
    meter::Metered,
};
use crate::mock;

/// Where requests of some paths go.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) pool: KeyPool,
    pub(crate) stack: Client,
    pub(crate) deadline: Option<Duration>,
    pub(crate) replay_limit: u64,
    base: Uri,
    /// The most bytes that are put before a path or behind its query.
    added: usize,
    routes: Vec<String>,
    background_routes: Vec<String>,
}

/// `http` holds no longer address. Nor does it hold a longer path and query, to which the layers would add no key
/// and no path of a target.
const LONGEST: usize = 65_534;

/// An upstream before it knows the keys of the others.
pub(crate) struct Draft<'a> {
    config: &'a UpstreamConfig,
    base: Uri,
    pool: KeyPool,
    /// The most bytes that a key takes in the query.
    parameter: usize,
}

impl<'a> Draft<'a> {
    /// Reads the keys; `mock` is the address of the mock.
    pub(crate) fn new(
        config: &'a UpstreamConfig,
        mock: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let upstream = || config.name.clone();
        let address = if config.is_mock() { mock } else { &config.at };
        let base = address.parse::<Uri>().ok().filter(is_plain);
        let base = base.ok_or_else(|| ConfigError::Address {
            upstream: upstream(),
        })?;
        if base.scheme() == Some(&uri::Scheme::HTTPS) && !MAY_SPEAK_TLS {
            return Err(ConfigError::NeedsTls {
                upstream: upstream(),
            });
        }
        let keys = keys(config, variable)?;
        let pool = pool(config, keys, &base).map_err(|error| ConfigError::Pool {
            upstream: upstream(),
            error,
        })?;
        Ok(Self {
            config,
            base,
            pool,
            parameter: parameter(config, variable),
        })
    }

    /// Builds the stack. A target elsewhere is asked with the keys of the upstream that stands there.
    pub(crate) fn finish(
        &self,
        all: &[Draft<'_>],
        mock: &str,
        client: Client,
    ) -> Result<Upstream, ConfigError> {
        let config = self.config;
        let targets = config
            .fallback
            .iter()
            .map(|target| self.target(target, mock));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let max_wait = Duration::from_millis(config.max_wait_ms);

        // Its own pool first: the first that is for an origin is asked.
        let rotation = KeyRotationLayer::new(self.pool.clone());
        let others = all.iter().filter(|other| other.config.name != config.name);
        let rotation = others.fold(rotation, |rotation, other| {
            rotation.pool(other.pool.clone())
        });

        let stack = ServiceBuilder::new()
            .layer(
                FallbackLayer::new(targets)
                    .max_sends(config.max_sends)
                    .replay_limit(config.replay_limit_bytes),
            )
            .layer(
                BackoffLayer::new()
                    .max_wait(max_wait)
                    .replay_limit(config.replay_limit_bytes),
            )
            .layer(
                rotation
                    .wait_when_exhausted(max_wait)
                    .replay_limit(config.replay_limit_bytes),
            )
            .layer_fn(Metered)
            .map_response(|response: Response<InspectedBody<Body>>| response.map(Body::new))
            .layer(InspectLayer::new().first_event(Duration::from_millis(config.first_event_ms)))
            .service(client);
        Ok(Upstream {
            name: config.name.as_str().into(),
            pool: self.pool.clone(),
            stack: Client::new(stack),
            deadline: config.deadline_ms.map(Duration::from_millis),
            replay_limit: config.replay_limit_bytes,
            base: self.base.clone(),
            added: self.added(all, mock),
            routes: config.routes.clone(),
            background_routes: config.background_routes.clone(),
        })
    }

    /// The most bytes that a request for this upstream gets around its path and query, here or at a target.
    fn added(&self, all: &[Draft<'_>], mock: &str) -> usize {
        let targets = self.config.fallback.iter();
        let targets = targets.filter_map(|target| target.at.as_deref());
        let targets = targets.map(|at| if at == "mock" { mock } else { at }.len());
        let own = self.base.to_string().trim_end_matches('/').len();
        let parameters = all.iter().map(|draft| draft.parameter);
        targets.fold(own, usize::max) + parameters.fold(0, usize::max)
    }

    fn target(&self, config: &FallbackConfig, mock: &str) -> Result<Target, ConfigError> {
        let mut target = Target::model(config.model.as_str());
        if let Some(at) = &config.at {
            let at = if at == "mock" { mock } else { at };
            target = target.at(at).map_err(|error| ConfigError::Target {
                upstream: self.config.name.clone(),
                error,
            })?;
        }
        // The path of the upstream's own address stands before that of the caller.
        let own = self.base.path().trim_end_matches('/');
        let prefix = config.strip_prefix.as_deref().unwrap_or_default();
        Ok(target.strip_prefix(format!("{own}{prefix}")))
    }
}

// === impl Upstream ===

impl Upstream {
    /// How many bytes of the path one of its routes covers.
    pub(crate) fn covers(&self, path: &str) -> Option<usize> {
        covered(&self.routes, path)
    }

    /// Whether somebody waits for the answers of a path, if the caller does not say it.
    pub(crate) fn priority(&self, path: &str) -> Priority {
        match covered(&self.background_routes, path) {
            Some(_) => Priority::Background,
            None => Priority::Interactive,
        }
    }

    /// A request to where the upstream stands.
    pub(crate) fn address(&self, mut request: Request) -> Result<Request, Failure> {
        let path_and_query = headers::path_and_query(request.uri());
        if self.added + path_and_query.len() > LONGEST {
            return Err(Failure::TooLong);
        }
        let base = self.base.to_string();
        let uri = format!("{}{path_and_query}", base.trim_end_matches('/'));
        *request.uri_mut() = uri.parse().map_err(|_| Failure::NoRoute)?;
        Ok(request)
    }
}

fn is_plain(uri: &Uri) -> bool {
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().map(uri::Authority::as_str);
    let anonymous = authority.is_some_and(|authority| !authority.contains('@'));
    scheme && anonymous && uri.query().is_none()
}

fn parameter(config: &UpstreamConfig, variable: &dyn Fn(&str) -> Option<String>) -> usize {
    let KeyIn::Query(name) = &config.key_in else {
        return 0;
    };
    let keys = config.keys.iter().filter_map(|key| variable(key));
    let mocks = mock::KEYS.into_iter().map(|(_, key)| key.to_owned());
    // A byte may be three once it is encoded.
    let longest = keys.chain(mocks).map(|key| 3 * key.len()).max();
    "?=".len() + name.len() + longest.unwrap_or_default()
}

fn keys(
    config: &UpstreamConfig,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Key>, ConfigError> {
    if config.keys.is_empty() {
        let keys = mock::KEYS.into_iter();
        return Ok(keys
            .map(|(label, key)| Key::new(key).label(label))
            .collect());
    }
    let key = |name: &String| {
        let value = variable(name).ok_or_else(|| ConfigError::VariableNotSet {
            upstream: config.name.clone(),
            variable: name.clone(),
        })?;
        let key = Key::new(value).label(name.as_str());
        Ok(match config.groups.get(name) {
            Some(group) => key.group(group.as_str()),
            None => key,
        })
    };
    config.keys.iter().map(key).collect()
}

fn pool(config: &UpstreamConfig, keys: Vec<Key>, base: &Uri) -> Result<KeyPool, PoolError> {
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
    builder
        .for_origin(format!("{scheme}://{authority}"))
        .build()
}
